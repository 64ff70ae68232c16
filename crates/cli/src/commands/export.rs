//! `export`.

use std::path::PathBuf;

use clap::Args;

use super::download::{check_output, save};
use crate::app::Run;
use crate::context::Context;
use crate::error::Result;

#[derive(Args, Debug)]
pub(crate) struct ExportArgs {
    /// File to write to in place of standard output
    #[arg(short = 'o', long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Container
    container: String,
}

impl Run for ExportArgs {
    async fn run(self, context: &Context) -> Result<u8> {
        check_output(self.output.as_deref())?;
        let client = context.client().await?;
        let archive = client.export_container(&self.container).await?;
        save(archive, self.output.as_deref()).await?;
        Ok(0)
    }
}
