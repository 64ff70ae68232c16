//! `update`.

use clap::Args;
use coracle_runtime::spec::HostConfig;

use super::each::each;
use crate::app::Run;
use crate::context::Context;
use crate::error::{Error, Result};
use crate::options::{Limits, restart_policy};
use crate::output::warn;

#[derive(Args, Debug)]
pub(crate) struct UpdateArgs {
    #[command(flatten)]
    limits: Limits,
    /// When to restart: no, always, unless-stopped, on-failure[:MAX]
    #[arg(long, value_name = "POLICY")]
    restart: Option<String>,
    /// Containers
    #[arg(value_name = "CONTAINER", required = true)]
    containers: Vec<String>,
}

impl Run for UpdateArgs {
    async fn run(self, context: &Context) -> Result<u8> {
        let mut host = HostConfig::default();
        self.limits.apply(&mut host)?;
        if let Some(text) = &self.restart {
            host.restart_policy = restart_policy(text)?;
        }
        if host == HostConfig::default() {
            return Err(Error::advice(
                "you must provide one or more options when using this command",
                "`coracle update --help` lists them",
            ));
        }
        let client = context.client().await?;
        each(&self.containers, async |name| {
            let updated = client.update_container(name, &host).await?;
            for warning in &updated.warnings {
                warn(format_args!("WARNING: {warning}"));
            }
            Ok(Some(name.to_owned()))
        })
        .await
    }
}
