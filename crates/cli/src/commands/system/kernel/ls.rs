//! `system kernel ls`.

use clap::Args;
use coracle_docker::human;
use coracle_native::kernel::Kernel;

use crate::app::Run;
use crate::context::Context;
use crate::error::Result;
use crate::output::{Column, Format, Row, print, row};

#[derive(Args, Debug)]
pub(crate) struct LsArgs {
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

const COLUMNS: [Column; 6] = [
    ("Name", "NAME"),
    ("Release", "RELEASE"),
    ("Architecture", "ARCHITECTURE"),
    ("Size", "SIZE"),
    ("Modules", "MODULES"),
    ("Default", "DEFAULT"),
];

const FURTHER: [Column; 3] = [
    ("Format", "FORMAT"),
    ("Digest", "DIGEST"),
    ("Source", "SOURCE"),
];

impl Run for LsArgs {
    async fn run(self, context: &Context) -> Result<u8> {
        let format = Format::parse(&self.format)?;
        let kernels = context.client().await?.native().kernels().await?;
        if self.quiet {
            let names = kernels.iter().map(|kernel| format!("{}\n", kernel.name));
            print(&names.collect::<String>())?;
            return Ok(0);
        }
        format.show(&COLUMNS, &FURTHER, kernels.iter().map(cells).collect())?;
        Ok(0)
    }
}

fn cells(kernel: &Kernel) -> Row {
    row([
        ("Name", kernel.name.clone().into()),
        ("Release", kernel.release.clone().into()),
        ("Architecture", kernel.architecture.clone().into()),
        ("Size", human::size(kernel.size).into()),
        ("Modules", kernel.modules.len().to_string().into()),
        ("Default", if kernel.default { "yes" } else { "" }.into()),
        ("Format", kernel.format.clone().into()),
        ("Digest", kernel.digest.clone().into()),
        ("Source", kernel.source.clone().into()),
    ])
}
