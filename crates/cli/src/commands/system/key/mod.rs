//! `system key`: keys to the API, for clients that come over TCP.

mod create;
mod ls;
mod revoke;

pub(crate) use create::CreateArgs;
pub(crate) use ls::LsArgs;
pub(crate) use revoke::RevokeArgs;
