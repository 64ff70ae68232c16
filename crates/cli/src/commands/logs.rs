//! `logs`.

use clap::Args;
use coracle_client::LogsQuery;
use coracle_docker::frame::FrameKind;

use super::time::time;
use crate::app::Run;
use crate::context::Context;
use crate::error::{Error, Result};
use crate::output::Output;

#[derive(Args, Debug)]
pub(crate) struct LogsArgs {
    /// Extra attributes given to the log driver
    #[arg(long)]
    details: bool,
    /// Go on as more is written
    #[arg(short = 'f', long)]
    follow: bool,
    /// From this time on: 2026-01-02T13:23:37Z, or 42m for that long ago
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// To this time
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
    /// So many of the last lines
    #[arg(short = 'n', long, value_name = "LINES", default_value = "all")]
    tail: String,
    /// With times
    #[arg(short = 't', long)]
    timestamps: bool,
    /// What the container's virtual machine wrote to its console, in place of the log
    #[arg(long, conflicts_with_all = ["details", "since", "until", "timestamps"])]
    boot: bool,
    /// Container
    container: String,
}

impl Run for LogsArgs {
    async fn run(self, context: &Context) -> Result<u8> {
        if self.tail != "all" && self.tail.parse::<i64>().is_err() {
            return Err(Error::option(
                "-n, --tail",
                &self.tail,
                "want a number, or all",
            ));
        }
        let query = LogsQuery {
            follow: self.follow,
            timestamps: self.timestamps,
            details: self.details,
            since: time("--since", self.since.as_deref())?,
            until: time("--until", self.until.as_deref())?,
            tail: self.tail,
            boot: self.boot,
        };
        let client = context.client().await?;
        let mut log = client.container_logs(&self.container, &query).await?;
        while let Some(item) = log.next().await? {
            match item.kind {
                FrameKind::Stderr => Output::Stderr.write(&item.bytes).await?,
                FrameKind::SystemError => {
                    let text = String::from_utf8_lossy(&item.bytes);
                    return Err(Error::usage(text.trim().to_owned()));
                }
                _ => Output::Stdout.write(&item.bytes).await?,
            }
        }
        Ok(0)
    }
}
