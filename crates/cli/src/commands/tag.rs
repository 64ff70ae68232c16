//! `tag`.

use clap::Args;

use super::reference;
use crate::app::Run;
use crate::context::Context;
use crate::error::Result;

#[derive(Args, Debug)]
pub(crate) struct TagArgs {
    /// Image
    #[arg(value_name = "SOURCE_IMAGE[:TAG]")]
    source: String,
    /// Its further name
    #[arg(value_name = "TARGET_IMAGE[:TAG]")]
    target: String,
}

impl Run for TagArgs {
    async fn run(self, context: &Context) -> Result<u8> {
        let target = reference::split(&self.target).or_latest();
        let client = context.client().await?;
        client
            .tag_image(&self.source, target.repository, target.tag)
            .await?;
        Ok(0)
    }
}
