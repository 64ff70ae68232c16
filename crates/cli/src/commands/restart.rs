//! `restart`.

use clap::Args;

use super::each::each_name;
use crate::app::Run;
use crate::context::Context;
use crate::error::Result;

#[derive(Args, Debug)]
pub(crate) struct RestartArgs {
    /// Signal to send in place of the container's own
    #[arg(short = 's', long, value_name = "SIGNAL")]
    signal: Option<String>,
    /// Seconds to wait before SIGKILL; -1 for ever
    #[arg(short = 't', long, value_name = "SECONDS", alias = "time")]
    timeout: Option<i64>,
    /// Containers
    #[arg(value_name = "CONTAINER", required = true)]
    containers: Vec<String>,
}

impl Run for RestartArgs {
    async fn run(self, context: &Context) -> Result<u8> {
        let client = context.client().await?;
        let signal = self.signal.as_deref().unwrap_or_default();
        each_name(&self.containers, |name| {
            client.restart_container(name, signal, self.timeout)
        })
        .await
    }
}
