//! `network ls`.

use clap::Args;
use coracle_docker::network::NetworkInspect;

use crate::app::Run;
use crate::commands::filters;
use crate::context::Context;
use crate::error::Result;
use crate::output::{Column, Format, Row, created_at, print, row, short_id};

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
    /// Show everything in full length
    #[arg(long)]
    no_trunc: bool,
    /// Show ids only
    #[arg(short = 'q', long)]
    quiet: bool,
}

const COLUMNS: [Column; 4] = [
    ("ID", "NETWORK ID"),
    ("Name", "NAME"),
    ("Driver", "DRIVER"),
    ("Scope", "SCOPE"),
];

const FURTHER: [Column; 5] = [
    ("IPv4", "IPV4"),
    ("IPv6", "IPV6"),
    ("Internal", "INTERNAL"),
    ("Labels", "LABELS"),
    ("CreatedAt", "CREATED AT"),
];

impl Run for LsArgs {
    async fn run(self, context: &Context) -> Result<u8> {
        let format = Format::parse(&self.format)?;
        let filters = filters(&self.filter)?;
        let mut networks = context.client().await?.list_networks(&filters).await?;
        networks.sort_by(|a, b| a.name.cmp(&b.name));
        if self.quiet {
            let ids = networks
                .iter()
                .map(|network| format!("{}\n", self.id(network)));
            print(&ids.collect::<String>())?;
            return Ok(0);
        }
        let rows = networks.iter().map(|network| self.row(network)).collect();
        format.show(&COLUMNS, &FURTHER, rows)?;
        Ok(0)
    }
}

impl LsArgs {
    fn id<'a>(&self, network: &'a NetworkInspect) -> &'a str {
        if self.no_trunc {
            &network.id
        } else {
            short_id(&network.id)
        }
    }

    fn row(&self, network: &NetworkInspect) -> Row {
        let labels = network.labels.iter();
        let labels: Vec<String> = labels
            .map(|(key, value)| format!("{key}={value}"))
            .collect();
        row([
            ("ID", self.id(network).into()),
            ("Name", network.name.clone().into()),
            ("Driver", network.driver.clone().into()),
            ("Scope", network.scope.clone().into()),
            (
                "IPv4",
                network.enable_ipv4.unwrap_or(true).to_string().into(),
            ),
            ("IPv6", network.enable_ipv6.to_string().into()),
            ("Internal", network.internal.to_string().into()),
            ("Labels", labels.join(",").into()),
            ("CreatedAt", created_at(network.created.0).into()),
        ])
    }
}
