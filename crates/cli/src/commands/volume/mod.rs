//! `volume`.

mod create;
mod ls;
mod rm;

pub(crate) use create::CreateArgs;
pub(crate) use ls::LsArgs;
pub(crate) use rm::RmArgs;
