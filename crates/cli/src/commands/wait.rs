//! `wait`.

use clap::Args;
use coracle_client::WaitCondition;

use super::each::each;
use crate::app::Run;
use crate::context::Context;
use crate::error::{Error, Result};

#[derive(Args, Debug)]
pub(crate) struct WaitArgs {
    /// Containers
    #[arg(value_name = "CONTAINER", required = true)]
    containers: Vec<String>,
}

impl Run for WaitArgs {
    async fn run(self, context: &Context) -> Result<u8> {
        let client = context.client().await?;
        each(&self.containers, async |name| {
            let mut exit = client
                .wait_container(name, WaitCondition::NotRunning)
                .await?;
            let Some(status) = exit.next().await? else {
                return Err(Error::usage(format!(
                    "the daemon went away before container {name} ended"
                )));
            };
            match status.error {
                Some(error) if !error.message.is_empty() => Err(Error::usage(error.message)),
                _ => Ok(Some(status.status_code.to_string())),
            }
        })
        .await
    }
}
