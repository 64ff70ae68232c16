//! `system kernel set`.

use clap::Args;

use crate::app::Run;
use crate::context::Context;
use crate::error::Result;
use crate::output::print;

#[derive(Args, Debug)]
pub(crate) struct SetArgs {
    /// The kernel that is to be the default
    #[arg(value_name = "KERNEL")]
    kernel: String,
}

impl Run for SetArgs {
    async fn run(self, context: &Context) -> Result<u8> {
        let client = context.client().await?.native();
        client.set_default_kernel(&self.kernel).await?;
        print(&format!("{}\n", self.kernel))?;
        Ok(0)
    }
}
