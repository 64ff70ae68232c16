//! `rename`.

use clap::Args;

use crate::app::Run;
use crate::context::Context;
use crate::error::Result;

#[derive(Args, Debug)]
pub(crate) struct RenameArgs {
    /// Container
    container: String,
    /// Its new name
    new_name: String,
}

impl Run for RenameArgs {
    async fn run(self, context: &Context) -> Result<u8> {
        let client = context.client().await?;
        client
            .rename_container(&self.container, &self.new_name)
            .await?;
        Ok(0)
    }
}
