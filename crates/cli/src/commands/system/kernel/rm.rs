//! `system kernel rm`.

use clap::Args;

use crate::app::Run;
use crate::commands::each::each_name;
use crate::context::Context;
use crate::error::Result;

#[derive(Args, Debug)]
pub(crate) struct RmArgs {
    /// Kernels
    #[arg(value_name = "KERNEL", required = true)]
    kernels: Vec<String>,
}

impl Run for RmArgs {
    async fn run(self, context: &Context) -> Result<u8> {
        let client = context.client().await?.native();
        let mut code = 0;
        // One after the other: whether the default one can go depends on whether others are there.
        for name in &self.kernels {
            let one = std::slice::from_ref(name);
            code = code.max(each_name(one, |name| client.remove_kernel(name)).await?);
        }
        Ok(code)
    }
}
