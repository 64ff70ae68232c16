//! `rm`.

use clap::Args;
use coracle_client::RemoveContainerQuery;

use super::each::each;
use crate::app::Run;
use crate::context::Context;
use crate::error::Result;

#[derive(Args, Debug)]
pub(crate) struct RmArgs {
    /// Kill those that run, and don't mind those that aren't there
    #[arg(short = 'f', long)]
    force: bool,
    /// Remove the link, not the container
    #[arg(short = 'l', long)]
    link: bool,
    /// Their anonymous volumes, too
    #[arg(short = 'v', long)]
    volumes: bool,
    /// Containers
    #[arg(value_name = "CONTAINER", required = true)]
    containers: Vec<String>,
}

impl Run for RmArgs {
    async fn run(self, context: &Context) -> Result<u8> {
        let client = context.client().await?;
        let query = RemoveContainerQuery {
            force: self.force,
            volumes: self.volumes,
            link: self.link,
        };
        each(&self.containers, async |name| {
            // A slash in front is how inspect shows names.
            let bare = name.trim_matches('/');
            match client.remove_container(bare, query).await {
                Err(error) if self.force && error.is_not_found() => {
                    crate::output::warn(format_args!("coracle: {error}"));
                    Ok(None)
                }
                Err(error) => Err(error.into()),
                Ok(()) => Ok(Some(name.to_owned())),
            }
        })
        .await
    }
}
