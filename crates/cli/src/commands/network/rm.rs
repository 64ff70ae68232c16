//! `network rm`.

use clap::Args;

use crate::app::Run;
use crate::commands::each::each;
use crate::context::Context;
use crate::error::Result;
use crate::output::warn;

#[derive(Args, Debug)]
pub(crate) struct RmArgs {
    /// Don't mind those that aren't there
    #[arg(short = 'f', long)]
    force: bool,
    /// Networks
    #[arg(value_name = "NETWORK", required = true)]
    networks: Vec<String>,
}

impl Run for RmArgs {
    async fn run(self, context: &Context) -> Result<u8> {
        let client = context.client().await?;
        each(&self.networks, async |name| {
            match client.remove_network(name).await {
                Err(error) if self.force && error.is_not_found() => {
                    warn(format_args!("coracle: {error}"));
                    Ok(None)
                }
                Err(error) => Err(error.into()),
                Ok(()) => Ok(Some(name.to_owned())),
            }
        })
        .await
    }
}
