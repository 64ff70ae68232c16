//! `volume ls`.

use clap::Args;
use coracle_docker::volume::VolumeInspect;

use crate::app::Run;
use crate::commands::filters;
use crate::context::Context;
use crate::error::Result;
use crate::output::{Column, Format, Row, print, row, warn};

#[derive(Args, Debug)]
pub(crate) struct LsArgs {
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
    /// Show names only
    #[arg(short = 'q', long)]
    quiet: bool,
}

const COLUMNS: [Column; 2] = [("Driver", "DRIVER"), ("Name", "VOLUME NAME")];

const FURTHER: [Column; 5] = [
    ("Scope", "SCOPE"),
    ("Mountpoint", "MOUNTPOINT"),
    ("Labels", "LABELS"),
    ("Links", "LINKS"),
    ("Size", "SIZE"),
];

impl Run for LsArgs {
    async fn run(self, context: &Context) -> Result<u8> {
        let format = Format::parse(&self.format)?;
        let filters = filters(&self.filter)?;
        let mut list = context.client().await?.list_volumes(&filters).await?;
        list.volumes.sort_by(|a, b| a.name.cmp(&b.name));
        for warning in &list.warnings {
            warn(format_args!("WARNING: {warning}"));
        }
        if self.quiet {
            let names = list
                .volumes
                .iter()
                .map(|volume| format!("{}\n", volume.name));
            print(&names.collect::<String>())?;
            return Ok(0);
        }
        let rows = list.volumes.iter().map(cells).collect();
        format.show(&COLUMNS, &FURTHER, rows)?;
        Ok(0)
    }
}

fn cells(volume: &VolumeInspect) -> Row {
    let labels = volume.labels.iter();
    let labels: Vec<String> = labels
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    row([
        ("Driver", volume.driver.clone().into()),
        ("Name", volume.name.clone().into()),
        ("Scope", volume.scope.clone().into()),
        ("Mountpoint", volume.mountpoint.clone().into()),
        ("Labels", labels.join(",").into()),
        ("Links", "N/A".into()),
        ("Size", "N/A".into()),
        ("Availability", "N/A".into()),
        ("Group", "N/A".into()),
        ("Status", "N/A".into()),
    ])
}
