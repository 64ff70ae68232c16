//! `system`.

mod launch;

pub(crate) use launch::LaunchArgs;
