//! `secret ls` and `config ls`.

use clap::Args;
use coracle_client::SecretKind;
use coracle_docker::secret::SecretInspect;

use crate::app::Run;
use crate::commands::filters;
use crate::context::Context;
use crate::error::Result;
use crate::output::{Column, Format, Row, ago, print, row};

/// The verb for one kind.
macro_rules! list {
    ($name:ident, $kind:expr) => {
        #[derive(Args, Debug)]
        pub(crate) struct $name {
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
            /// Show ids only
            #[arg(short = 'q', long)]
            quiet: bool,
        }

        impl Run for $name {
            async fn run(self, context: &Context) -> Result<u8> {
                list(context, $kind, &self.filter, &self.format, self.quiet).await
            }
        }
    };
}

list!(LsSecretArgs, SecretKind::Secret);
list!(LsConfigArgs, SecretKind::Config);

const COLUMNS: [Column; 4] = [
    ("ID", "ID"),
    ("Name", "NAME"),
    ("CreatedAt", "CREATED"),
    ("UpdatedAt", "UPDATED"),
];

const FURTHER: [Column; 1] = [("Labels", "LABELS")];

async fn list(
    context: &Context,
    kind: SecretKind,
    given: &[String],
    format: &str,
    quiet: bool,
) -> Result<u8> {
    let format = Format::parse(format)?;
    let filters = filters(given)?;
    let mut list = context.client().await?.list_secrets(kind, &filters).await?;
    list.sort_by(|a, b| a.spec.name.cmp(&b.spec.name));
    if quiet {
        let ids = list.iter().map(|secret| format!("{}\n", secret.id));
        print(&ids.collect::<String>())?;
        return Ok(0);
    }
    format.show(&COLUMNS, &FURTHER, list.iter().map(cells).collect())?;
    Ok(0)
}

fn cells(secret: &SecretInspect) -> Row {
    let labels = secret.spec.labels.iter();
    let labels: Vec<String> = labels
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    row([
        ("ID", secret.id.clone().into()),
        ("Name", secret.spec.name.clone().into()),
        ("CreatedAt", ago(secret.created_at.0).into()),
        ("UpdatedAt", ago(secret.updated_at.0).into()),
        ("Labels", labels.join(",").into()),
    ])
}
