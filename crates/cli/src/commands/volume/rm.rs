//! `volume rm`.

use clap::Args;

use crate::app::Run;
use crate::commands::each::each_name;
use crate::context::Context;
use crate::error::Result;

#[derive(Args, Debug)]
pub(crate) struct RmArgs {
    /// Even where the driver fails, and don't mind those that aren't there
    #[arg(short = 'f', long)]
    force: bool,
    /// Volumes
    #[arg(value_name = "VOLUME", required = true)]
    volumes: Vec<String>,
}

impl Run for RmArgs {
    async fn run(self, context: &Context) -> Result<u8> {
        let client = context.client().await?;
        each_name(&self.volumes, |name| client.remove_volume(name, self.force)).await
    }
}
