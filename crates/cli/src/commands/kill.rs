//! `kill`.

use clap::Args;

use super::each::each_name;
use crate::app::Run;
use crate::context::Context;
use crate::error::Result;

#[derive(Args, Debug)]
pub(crate) struct KillArgs {
    /// Signal to send in place of SIGKILL
    #[arg(short = 's', long, value_name = "SIGNAL")]
    signal: Option<String>,
    /// Containers
    #[arg(value_name = "CONTAINER", required = true)]
    containers: Vec<String>,
}

impl Run for KillArgs {
    async fn run(self, context: &Context) -> Result<u8> {
        let client = context.client().await?;
        let signal = self.signal.as_deref().unwrap_or_default();
        each_name(&self.containers, |name| client.kill_container(name, signal)).await
    }
}
