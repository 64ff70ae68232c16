//! `push`.

use clap::Args;
use serde_json::json;

use super::reference;
use crate::app::Run;
use crate::context::Context;
use crate::error::{Error, Result};
use crate::output::{Progress, print, warn};

#[derive(Args, Debug)]
pub(crate) struct PushArgs {
    /// Every tag of the repository
    #[arg(short = 'a', long)]
    all_tags: bool,
    /// Only this platform of it: OS/ARCH[/VARIANT]
    #[arg(long, value_name = "PLATFORM")]
    platform: Option<String>,
    /// Show no progress
    #[arg(short = 'q', long)]
    quiet: bool,
    /// Kept for Docker's sake; images are not signed
    #[arg(long, hide = true)]
    disable_content_trust: bool,
    /// Image: NAME[:TAG]
    name: String,
}

impl Run for PushArgs {
    async fn run(self, context: &Context) -> Result<u8> {
        let mut name = reference::split(&self.name);
        if self.all_tags && !name.tag.is_empty() {
            return Err(Error::usage("tag can't be used with --all-tags/-a"));
        }
        if !self.all_tags && name.tag.is_empty() {
            name = name.or_latest();
            if !self.quiet {
                warn("Using default tag: latest");
            }
        }
        let platform = match &self.platform {
            Some(text) => platform(text)?,
            None => String::new(),
        };
        let auth = match context.config() {
            Ok(config) => config.credentials(name.repository).await?,
            Err(_) => None,
        };
        let client = context.client().await?;
        let mut lines = client
            .push_image(
                name.repository,
                name.tag,
                &platform,
                &auth.unwrap_or_default(),
            )
            .await?;
        Progress::new(self.quiet).follow(&mut lines).await?;
        if self.quiet {
            print(&format!("{name}\n"))?;
        }
        Ok(0)
    }
}

/// `OS/ARCH[/VARIANT]` as OCI's JSON.
fn platform(text: &str) -> Result<String> {
    let parts: Vec<&str> = text.split('/').collect();
    match *parts.as_slice() {
        [os, architecture] if !os.is_empty() && !architecture.is_empty() => {
            Ok(json!({"os": os, "architecture": architecture}).to_string())
        }
        [os, architecture, variant] if !os.is_empty() && !architecture.is_empty() => {
            let platform = json!({"os": os, "architecture": architecture, "variant": variant});
            Ok(platform.to_string())
        }
        _ => Err(Error::option("--platform", text, "want OS/ARCH[/VARIANT]")),
    }
}
