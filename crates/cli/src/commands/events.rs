//! `events`.

use clap::Args;
use coracle_client::EventsQuery;
use coracle_docker::event::EventMessage;
use jiff::Timestamp;

use super::filters;
use super::time::time;
use crate::app::Run;
use crate::context::Context;
use crate::error::{Error, Result};
use crate::output::{Format, local, print};

#[derive(Args, Debug)]
pub(crate) struct EventsArgs {
    /// Filter: KEY=VALUE
    #[arg(short = 'f', long, value_name = "KEY=VALUE")]
    filter: Vec<String>,
    /// json, or a template
    #[arg(
        long,
        value_name = "FORMAT",
        default_value = "",
        hide_default_value = true
    )]
    format: String,
    /// From this time on: 2026-01-02T13:23:37Z, or 42m for that long ago
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// To this time
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
}

impl Run for EventsArgs {
    async fn run(self, context: &Context) -> Result<u8> {
        let format = Format::parse(&self.format)?;
        let query = EventsQuery {
            since: time("--since", self.since.as_deref())?,
            until: time("--until", self.until.as_deref())?,
            filters: filters(&self.filter)?,
        };
        let client = context.client().await?;
        let mut events = client.events(&query).await?;
        while let Some(event) = events.next().await? {
            let value = serde_json::to_value(&event)
                .map_err(|error| Error::usage(format!("an event makes no sense: {error}")))?;
            match &format {
                Format::Table => print(&line(&event))?,
                Format::Yaml => print(&format!("---\n{}", crate::output::yaml(&value)))?,
                format => format.show_value(&value, String::new)?,
            }
        }
        Ok(0)
    }
}

/// An event as Docker shows it.
fn line(event: &EventMessage) -> String {
    let time = Timestamp::from_nanosecond(event.time_nano.into())
        .or_else(|_| Timestamp::from_second(event.time))
        .unwrap_or_default();
    let attributes = event.actor.attributes.iter();
    let attributes: Vec<String> = attributes
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    let attributes = if attributes.is_empty() {
        String::new()
    } else {
        format!(" ({})", attributes.join(", "))
    };
    let (kind, action, id) = (&event.kind, &event.action, &event.actor.id);
    format!("{} {kind} {action} {id}{attributes}\n", local(time))
}
