//! `diff`.

use clap::Args;

use crate::app::Run;
use crate::context::Context;
use crate::error::Result;
use crate::output::{Format, print, row};

#[derive(Args, Debug)]
pub(crate) struct DiffArgs {
    /// table, json, yaml, or a template
    #[arg(
        long,
        value_name = "FORMAT",
        default_value = "",
        hide_default_value = true
    )]
    format: String,
    /// Container
    container: String,
}

impl Run for DiffArgs {
    async fn run(self, context: &Context) -> Result<u8> {
        let format = Format::parse(&self.format)?;
        let client = context.client().await?;
        let changes = client.container_changes(&self.container).await?;
        let kind = |kind| match kind {
            0 => "C",
            1 => "A",
            _ => "D",
        };
        if self.format.is_empty() {
            let lines = changes
                .iter()
                .map(|change| format!("{} {}\n", kind(change.kind), change.path));
            print(&lines.collect::<String>())?;
            return Ok(0);
        }
        let rows = changes.into_iter().map(|change| {
            row([
                ("Type", kind(change.kind).into()),
                ("Path", change.path.into()),
            ])
        });
        let columns = [("Type", "CHANGE TYPE"), ("Path", "PATH")];
        format.show(&columns, &[], rows.collect())?;
        Ok(0)
    }
}
