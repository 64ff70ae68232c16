//! Containers: their records, and the task that owns each one's state.

pub(crate) mod actor;
pub(crate) mod attach;
pub(crate) mod bundle;
pub(crate) mod connect;
pub(crate) mod create;
pub(crate) mod exec;
pub(crate) mod exit;
pub(crate) mod files;
pub(crate) mod handle;
pub(crate) mod health;
pub(crate) mod logs;
pub(crate) mod mounts;
pub(crate) mod names;
pub(crate) mod owner;
pub(crate) mod record;
pub(crate) mod recover;
pub(crate) mod remove;
mod sockets;
pub(crate) mod start;
pub(crate) mod stats;
pub(crate) mod stop;
pub(crate) mod top;
pub(crate) mod update;
pub(crate) mod wait;
