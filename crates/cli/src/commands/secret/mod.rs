//! `secret` and `config`: the same verbs, for values that are kept and values that are shown.

mod create;
mod ls;
mod rm;
mod rotate;

pub(crate) use create::{CreateConfigArgs, CreateSecretArgs};
pub(crate) use ls::{LsConfigArgs, LsSecretArgs};
pub(crate) use rm::{RmConfigArgs, RmSecretArgs};
pub(crate) use rotate::RotateKeyArgs;
