//! `system dns delete`.

use clap::Args;

use super::blocking;
use super::resolved::Resolved;
use crate::app::Run;
use crate::context::Context;
use crate::error::{Error, Result};

#[derive(Args, Debug)]
pub(crate) struct DeleteArgs {}

impl Run for DeleteArgs {
    async fn run(self, _: &Context) -> Result<u8> {
        if blocking(|| Resolved::default().forget()).await? {
            return Ok(0);
        }
        Err(Error::usage(
            "systemd-resolved has not been told of names of containers",
        ))
    }
}
