//! `pull`.

use clap::Args;

use super::reference;
use crate::app::Run;
use crate::context::Context;
use crate::error::{Error, Result};
use crate::output::{Progress, print, warn};

#[derive(Args, Debug)]
pub(crate) struct PullArgs {
    /// Every tag of the repository
    #[arg(short = 'a', long)]
    all_tags: bool,
    /// Platform: OS/ARCH[/VARIANT]
    #[arg(
        long,
        value_name = "PLATFORM",
        env = "DOCKER_DEFAULT_PLATFORM",
        hide_env_values = true
    )]
    platform: Option<String>,
    /// Show no progress
    #[arg(short = 'q', long)]
    quiet: bool,
    /// Kept for Docker's sake; signatures are not checked
    #[arg(long, hide = true)]
    disable_content_trust: bool,
    /// Image: NAME[:TAG|@DIGEST]
    name: String,
}

impl Run for PullArgs {
    async fn run(self, context: &Context) -> Result<u8> {
        let name = reference::split(&self.name);
        if self.all_tags && !name.tag.is_empty() {
            return Err(Error::usage("tag can't be used with --all-tags/-a"));
        }
        if !self.all_tags && name.tag.is_empty() && !self.quiet {
            warn("Using default tag: latest");
        }
        let platform = self.platform.unwrap_or_default();
        pull(context, &self.name, self.all_tags, &platform, self.quiet).await?;
        let shown = if self.all_tags {
            name.repository.to_owned()
        } else {
            name.or_latest().to_string()
        };
        print(&format!("{}\n", full_name(&shown)))?;
        Ok(0)
    }
}

/// Pulls an image, with the credentials there are for its registry.
pub(super) async fn pull(
    context: &Context,
    name: &str,
    all_tags: bool,
    platform: &str,
    quiet: bool,
) -> Result<()> {
    let name = reference::split(name);
    let name = if all_tags { name } else { name.or_latest() };
    // No configuration is no reason not to pull.
    let auth = match context.config() {
        Ok(config) => config.credentials(name.repository).await?,
        Err(_) => None,
    };
    let client = context.client().await?;
    let mut lines = client
        .pull_image(name.repository, name.tag, platform, auth.as_ref())
        .await?;
    Progress::new(quiet).follow(&mut lines).await?;
    Ok(())
}

/// The name with its registry, as Docker shows what was pulled.
fn full_name(name: &str) -> String {
    match name.split_once('/') {
        Some((first, _)) if first.contains(['.', ':']) || first == "localhost" => name.to_owned(),
        Some(_) => format!("docker.io/{name}"),
        None => format!("docker.io/library/{name}"),
    }
}
