//! `stats`: a table that is drawn again and again, or once.

mod live;
mod reading;

use clap::Args;
use coracle_client::{Client, ListContainersQuery};
use futures_util::StreamExt;
use futures_util::stream::FuturesOrdered;

use crate::app::Run;
use crate::context::Context;
use crate::error::{FAILURE, Result};
use crate::output::{Column, Format};
use reading::cells;

#[derive(Args, Debug)]
pub(crate) struct StatsArgs {
    /// Those that don't run, too
    #[arg(short = 'a', long)]
    all: bool,
    /// table, json, yaml, or a template
    #[arg(
        long,
        value_name = "FORMAT",
        default_value = "",
        hide_default_value = true
    )]
    format: String,
    /// Once only
    #[arg(long)]
    no_stream: bool,
    /// Show everything in full length
    #[arg(long)]
    no_trunc: bool,
    /// Containers; all that run where none are named
    #[arg(value_name = "CONTAINER")]
    containers: Vec<String>,
}

const COLUMNS: [Column; 8] = [
    ("ID", "CONTAINER ID"),
    ("Name", "NAME"),
    ("CPUPerc", "CPU %"),
    ("MemUsage", "MEM USAGE / LIMIT"),
    ("MemPerc", "MEM %"),
    ("NetIO", "NET I/O"),
    ("BlockIO", "BLOCK I/O"),
    ("PIDs", "PIDS"),
];

impl Run for StatsArgs {
    async fn run(self, context: &Context) -> Result<u8> {
        let format = Format::parse(&self.format)?;
        let client = context.client().await?;
        if self.no_stream {
            return self.once(client, &format).await;
        }
        live::run(client, &self, &format).await
    }
}

impl StatsArgs {
    /// The containers to show now.
    async fn names(&self, client: &Client) -> Result<Vec<String>> {
        if !self.containers.is_empty() {
            return Ok(self.containers.clone());
        }
        let query = ListContainersQuery {
            all: self.all,
            ..ListContainersQuery::default()
        };
        let found = client.list_containers(&query).await?;
        Ok(found.into_iter().map(|container| container.id).collect())
    }

    async fn once(&self, client: &Client, format: &Format) -> Result<u8> {
        let names = self.names(client).await?;
        let mut readings: FuturesOrdered<_> = names
            .iter()
            .map(async |name| client.container_stats(name, true).await?.next().await)
            .collect();
        let mut rows = Vec::new();
        let mut code = 0;
        while let Some(reading) = readings.next().await {
            match reading {
                Ok(Some(reading)) => rows.push(cells(&reading, self.no_trunc)),
                Ok(None) => {}
                // One that has gone meanwhile was not asked for by name.
                Err(error) if self.containers.is_empty() && error.is_not_found() => {}
                Err(error) => {
                    crate::error::Error::from(error).report();
                    code = FAILURE;
                }
            }
        }
        format.show(&COLUMNS, &[("Container", "CONTAINER")], rows)?;
        Ok(code)
    }
}
