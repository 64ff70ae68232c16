//! `system launch`, hidden: becomes the daemon in a session of its own.

use std::path::PathBuf;

use clap::Args;

use crate::app::Run;
use crate::context::Context;
use crate::daemon;
use crate::error::Result;

#[derive(Args, Debug)]
pub(crate) struct LaunchArgs {
    /// The daemon's program
    program: PathBuf,
    /// Its arguments
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<String>,
}

impl Run for LaunchArgs {
    async fn run(self, _: &Context) -> Result<u8> {
        Err(daemon::become_daemon(&self.program, &self.arguments))
    }
}
