//! `cp`: files between here and a container, by Docker's rules for paths.

mod from;
mod path;
mod pipe;
mod rebase;
mod to;

use clap::Args;

use crate::app::Run;
use crate::context::Context;
use crate::error::{Error, Result};
use crate::output::warn;
use path::End;

#[derive(Args, Debug)]
pub(crate) struct CpArgs {
    /// Keep owners
    #[arg(short = 'a', long)]
    archive: bool,
    /// Follow a symbolic link that the source is
    #[arg(short = 'L', long)]
    follow_link: bool,
    /// Say nothing
    #[arg(short = 'q', long)]
    quiet: bool,
    /// CONTAINER:PATH, PATH, or - for a tar archive on standard input
    #[arg(allow_hyphen_values = true)]
    source: String,
    /// CONTAINER:PATH, PATH, or - for a tar archive on standard output
    #[arg(allow_hyphen_values = true)]
    target: String,
}

impl Run for CpArgs {
    const OPERANDS: &'static str =
        "CONTAINER:PATH PATH|-\n       coracle cp [OPTIONS] PATH|- CONTAINER:PATH";

    async fn run(self, context: &Context) -> Result<u8> {
        if self.source.is_empty() {
            return Err(Error::usage("source can not be empty"));
        }
        if self.target.is_empty() {
            return Err(Error::usage("destination can not be empty"));
        }
        let client = context.client().await?;
        match (End::parse(&self.source), End::parse(&self.target)) {
            (End::Container(container, path), End::Here(target)) => {
                let copy = from::From {
                    client,
                    container,
                    path,
                    keep_owner: self.archive,
                    follow: self.follow_link,
                };
                copy.run(target).await?;
                if target != "-" && !self.quiet {
                    warn(format_args!("Successfully copied to {target}"));
                }
            }
            (End::Here(source), End::Container(container, path)) => {
                let copy = to::To {
                    client,
                    container,
                    path,
                    keep_owner: self.archive,
                    follow: self.follow_link,
                };
                copy.run(source).await?;
                if source != "-" && !self.quiet {
                    warn(format_args!("Successfully copied to {container}:{path}"));
                }
            }
            (End::Container(..), End::Container(..)) => {
                return Err(Error::advice(
                    "copying between containers is not supported",
                    format!(
                        "coracle cp {} - | coracle cp - {}",
                        self.source, self.target
                    ),
                ));
            }
            (End::Here(_), End::Here(_)) => {
                return Err(Error::usage(
                    "must specify at least one container source: CONTAINER:PATH",
                ));
            }
        }
        Ok(0)
    }
}
