//! `save`.

use std::path::PathBuf;

use clap::Args;

use super::download::{check_output, save};
use crate::app::Run;
use crate::context::Context;
use crate::error::Result;

#[derive(Args, Debug)]
pub(crate) struct SaveArgs {
    /// File to write to in place of standard output
    #[arg(short = 'o', long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Images
    #[arg(value_name = "IMAGE", required = true)]
    images: Vec<String>,
}

impl Run for SaveArgs {
    async fn run(self, context: &Context) -> Result<u8> {
        check_output(self.output.as_deref())?;
        let client = context.client().await?;
        let archive = client.save_images(&self.images).await?;
        save(archive, self.output.as_deref()).await?;
        Ok(0)
    }
}
