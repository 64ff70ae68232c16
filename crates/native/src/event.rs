//! Events.

use std::collections::BTreeMap;

use coracle_runtime::event as domain;
use jiff::Timestamp;

use crate::wire::answer;

answer! {
    /// Something that happened.
    pub struct Event {
        /// One more than the event before; starts at 1 with each daemon.
        sequence: u64,
        /// When.
        time: Timestamp,
        /// To what kind of thing: `container`, `image`, `network`, `volume`, `daemon` …
        kind: String,
        /// What: `create`, `start`, `die` …
        action: String,
        /// The thing's id, or its name where it has none.
        actor: String,
        /// More about it: labels, `name`, `image`, `exitCode` …
        attributes: BTreeMap<String, String>,
    }
}

impl From<&domain::Event> for Event {
    fn from(event: &domain::Event) -> Self {
        Self {
            sequence: event.sequence,
            time: event.time,
            kind: event.kind.as_str().to_owned(),
            action: event.action.clone(),
            actor: event.actor.clone(),
            attributes: event.attributes.clone(),
        }
    }
}
