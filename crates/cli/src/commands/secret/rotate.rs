//! `secret rotate-key`.

use clap::Args;

use crate::app::Run;
use crate::context::Context;
use crate::error::Result;
use crate::output::print;

#[derive(Args, Debug)]
pub(crate) struct RotateKeyArgs {}

impl Run for RotateKeyArgs {
    async fn run(self, context: &Context) -> Result<u8> {
        let Self {} = self;
        let count = context.client().await?.native().rotate_secret_key().await?;
        print(&format!(
            "{count} secrets and configs are under a new key\n"
        ))?;
        Ok(0)
    }
}
