//! `system key list`.

use clap::Args;
use coracle_native::key::Key;
use jiff::Timestamp;

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
    /// Show ids only
    #[arg(short = 'q', long)]
    quiet: bool,
}

const COLUMNS: [Column; 6] = [
    ("ID", "KEY ID"),
    ("Name", "NAME"),
    ("Scope", "SCOPE"),
    ("Created", "CREATED"),
    ("LastUsed", "LAST USED"),
    ("State", "STATE"),
];

const FURTHER: [Column; 1] = [("Expires", "EXPIRES")];

impl Run for LsArgs {
    async fn run(self, context: &Context) -> Result<u8> {
        let format = Format::parse(&self.format)?;
        let keys = context.client().await?.native().keys().await?;
        if self.quiet {
            let ids = keys.iter().map(|key| format!("{}\n", key.id));
            print(&ids.collect::<String>())?;
            return Ok(0);
        }
        format.show(&COLUMNS, &FURTHER, keys.iter().map(cells).collect())?;
        Ok(0)
    }
}

fn cells(key: &Key) -> Row {
    let time = |time: Option<Timestamp>| {
        time.map_or_else(
            || "never".to_owned(),
            |time| time.strftime("%F %T UTC").to_string(),
        )
    };
    let expired = key.expires_at.is_some_and(|end| end <= Timestamp::now());
    let state = match key.revoked_at {
        Some(_) => "revoked",
        None if expired => "expired",
        None => "valid",
    };
    row([
        ("ID", key.id.clone().into()),
        ("Name", key.name.clone().into()),
        ("Scope", key.scope.as_str().into()),
        ("Created", time(Some(key.created_at)).into()),
        ("LastUsed", time(key.last_used_at).into()),
        ("State", state.into()),
        ("Expires", time(key.expires_at).into()),
    ])
}
