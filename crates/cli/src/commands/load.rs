//! `load`.

use std::path::PathBuf;

use clap::Args;

use super::upload;
use crate::app::Run;
use crate::context::Context;
use crate::error::Result;
use crate::output::{Progress, print};

#[derive(Args, Debug)]
pub(crate) struct LoadArgs {
    /// File to read in place of standard input
    #[arg(short = 'i', long, value_name = "FILE")]
    input: Option<PathBuf>,
    /// Show no progress
    #[arg(short = 'q', long)]
    quiet: bool,
}

impl Run for LoadArgs {
    async fn run(self, context: &Context) -> Result<u8> {
        let archive = match &self.input {
            Some(path) => upload::from_file(path).await?,
            None => upload::from_stdin()?,
        };
        let client = context.client().await?;
        let mut lines = client.load_images(archive, self.quiet).await?;
        let shown = Progress::new(self.quiet).follow(&mut lines).await?;
        print(&shown.results.concat())?;
        Ok(0)
    }
}
