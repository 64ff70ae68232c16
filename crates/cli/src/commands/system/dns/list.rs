//! `system dns list`.

use clap::Args;
use coracle_client::Host;

use super::resolved::{Resolved, text};
use super::{Place, blocking};
use crate::app::Run;
use crate::context::Context;
use crate::error::Result;
use crate::output::{Column, Format, row, warn};

#[derive(Args, Debug)]
pub(crate) struct ListArgs {
    /// table, json, yaml, or a template
    #[arg(
        long,
        value_name = "FORMAT",
        default_value = "",
        hide_default_value = true
    )]
    format: String,
}

const COLUMNS: [Column; 4] = [
    ("Domain", "DOMAIN"),
    ("Address", "ADDRESS"),
    ("Answers", "ANSWERS"),
    ("Resolver", "RESOLVER"),
];

impl Run for ListArgs {
    async fn run(self, context: &Context) -> Result<u8> {
        let format = Format::parse(&self.format)?;
        let client = context.client().await?;
        let info = client.info().await?.host_dns;
        let place = Place::of(&info)?;
        let (told, active) = match client.host() {
            Host::Unix(_) => {
                blocking(|| {
                    let resolved = Resolved::default();
                    Ok((resolved.told()?, resolved.is_active()))
                })
                .await?
            }
            _ => (None, false),
        };
        let Some(place) = place else {
            format.show(&COLUMNS, &[], Vec::new())?;
            if told.is_some() {
                warn(
                    "systemd-resolved was told of names, and the daemon answers none: coracle system dns delete",
                );
            }
            return Ok(0);
        };
        let resolver = match (&told, active) {
            (None, _) => "not told",
            (Some(told), _) if *told != text(&place) => "told otherwise",
            (Some(_), true) => "systemd-resolved",
            (Some(_), false) => "systemd-resolved, not running",
        };
        let answers = match info.unavailable.as_str() {
            "" => "yes",
            why => why,
        };
        let row = row([
            ("Domain", place.domain.into()),
            ("Address", place.address.to_string().into()),
            ("Answers", answers.into()),
            ("Resolver", resolver.into()),
        ]);
        format.show(&COLUMNS, &[], vec![row])?;
        Ok(0)
    }
}
