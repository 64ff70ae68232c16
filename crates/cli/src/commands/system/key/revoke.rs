//! `system key revoke`.

use clap::Args;

use crate::app::Run;
use crate::commands::each::each_name;
use crate::context::Context;
use crate::error::Result;

#[derive(Args, Debug)]
pub(crate) struct RevokeArgs {
    /// Ids
    #[arg(value_name = "ID", required = true)]
    ids: Vec<String>,
}

impl Run for RevokeArgs {
    async fn run(self, context: &Context) -> Result<u8> {
        let native = context.client().await?.native();
        each_name(&self.ids, |id| native.revoke_key(id)).await
    }
}
