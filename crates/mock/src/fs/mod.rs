//! A file system in memory: trees of nodes, put together by mounts.

pub(crate) mod changes;
pub(crate) mod tar;
pub(crate) mod tree;
pub(crate) mod view;

pub(crate) use tree::{Kind, Node, Tree};
pub(crate) use view::{Fs, FsError, Mount};
