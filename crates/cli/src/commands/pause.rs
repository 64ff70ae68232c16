//! `pause` and `unpause`.

use clap::Args;

use super::each::each_name;
use crate::app::Run;
use crate::context::Context;
use crate::error::Result;

#[derive(Args, Debug)]
pub(crate) struct PauseArgs {
    /// Containers
    #[arg(value_name = "CONTAINER", required = true)]
    containers: Vec<String>,
}

#[derive(Args, Debug)]
pub(crate) struct UnpauseArgs {
    /// Containers
    #[arg(value_name = "CONTAINER", required = true)]
    containers: Vec<String>,
}

impl Run for PauseArgs {
    async fn run(self, context: &Context) -> Result<u8> {
        let client = context.client().await?;
        each_name(&self.containers, |name| client.pause_container(name)).await
    }
}

impl Run for UnpauseArgs {
    async fn run(self, context: &Context) -> Result<u8> {
        let client = context.client().await?;
        each_name(&self.containers, |name| client.unpause_container(name)).await
    }
}
