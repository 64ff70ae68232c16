//! `rmi`.

use clap::Args;

use super::each::each;
use super::prune::removal;
use crate::app::Run;
use crate::context::Context;
use crate::error::Result;
use crate::output::warn;

#[derive(Args, Debug)]
pub(crate) struct RmiArgs {
    /// Even where stopped containers use them, or several names point to them
    #[arg(short = 'f', long)]
    force: bool,
    /// Keep untagged parents
    #[arg(long)]
    no_prune: bool,
    /// Images
    #[arg(value_name = "IMAGE", required = true)]
    images: Vec<String>,
}

impl Run for RmiArgs {
    async fn run(self, context: &Context) -> Result<u8> {
        let client = context.client().await?;
        each(&self.images, async |name| {
            match client.remove_image(name, self.force, self.no_prune).await {
                Err(error) if self.force && error.is_not_found() => {
                    warn(format_args!("coracle: {error}"));
                    Ok(None)
                }
                Err(error) => Err(error.into()),
                Ok(removed) => {
                    let lines: Vec<String> = removed.iter().map(removal).collect();
                    Ok(Some(lines.join("\n")))
                }
            }
        })
        .await
    }
}
