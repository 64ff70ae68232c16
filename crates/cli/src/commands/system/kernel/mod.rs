//! `system kernel`: what virtual machines boot.

mod install;
mod ls;
mod rm;
mod set;

pub(crate) use install::InstallArgs;
pub(crate) use install::install_file;
pub(crate) use ls::LsArgs;
pub(crate) use rm::RmArgs;
pub(crate) use set::SetArgs;
