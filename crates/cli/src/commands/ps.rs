//! `ps`.

use clap::Args;
use coracle_client::ListContainersQuery;

use super::containers::cells;
use super::filters;
use crate::app::Run;
use crate::context::Context;
use crate::error::Result;
use crate::output::{Column, Format, print, short_id};

#[derive(Args, Debug)]
pub(crate) struct PsArgs {
    /// Those that don't run, too
    #[arg(short = 'a', long)]
    all: bool,
    /// Filter: KEY=VALUE
    #[arg(short = 'f', long, value_name = "KEY=VALUE")]
    filter: Vec<String>,
    /// table, json, yaml, or a template
    #[arg(
        long,
        value_name = "FORMAT",
        default_value = "",
        hide_default_value = true
    )]
    format: String,
    /// So many of the newest, running or not
    #[arg(short = 'n', long, value_name = "NUMBER", default_value_t = -1, hide_default_value = true)]
    last: i64,
    /// The newest, running or not
    #[arg(short = 'l', long)]
    latest: bool,
    /// Show everything in full length
    #[arg(long)]
    no_trunc: bool,
    /// Show ids only
    #[arg(short = 'q', long)]
    quiet: bool,
    /// With sizes
    #[arg(short = 's', long)]
    size: bool,
}

const COLUMNS: [Column; 7] = [
    ("ID", "CONTAINER ID"),
    ("Image", "IMAGE"),
    ("Command", "COMMAND"),
    ("RunningFor", "CREATED"),
    ("Status", "STATUS"),
    ("Ports", "PORTS"),
    ("Names", "NAMES"),
];

const FURTHER: [Column; 7] = [
    ("CreatedAt", "CREATED AT"),
    ("State", "STATE"),
    ("Size", "SIZE"),
    ("Labels", "LABELS"),
    ("Mounts", "MOUNTS"),
    ("LocalVolumes", "LOCAL VOLUMES"),
    ("Networks", "NETWORKS"),
];

impl Run for PsArgs {
    async fn run(self, context: &Context) -> Result<u8> {
        let format = Format::parse(&self.format)?;
        let query = ListContainersQuery {
            all: self.all,
            limit: if self.latest { 1 } else { self.last.max(0) },
            size: self.size || self.format.contains(".Size"),
            filters: filters(&self.filter)?,
        };
        let containers = context.client().await?.list_containers(&query).await?;
        if self.quiet {
            let ids = containers.iter().map(|container| {
                let id = &container.id;
                format!("{}\n", if self.no_trunc { id } else { short_id(id) })
            });
            print(&ids.collect::<String>())?;
            return Ok(0);
        }
        let rows = containers
            .iter()
            .map(|container| cells(container, self.no_trunc))
            .collect();
        let mut columns = COLUMNS.to_vec();
        if self.size {
            columns.push(("Size", "SIZE"));
        }
        format.show(&columns, &FURTHER, rows)?;
        Ok(0)
    }
}
