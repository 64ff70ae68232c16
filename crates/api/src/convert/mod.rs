//! From the runtime's types to Docker's.

pub(crate) mod container;
pub(crate) mod event;
pub(crate) mod image;
pub(crate) mod inspect;
pub(crate) mod network;
pub(crate) mod secret;
pub(crate) mod stats;
pub(crate) mod system;
pub(crate) mod volume;
