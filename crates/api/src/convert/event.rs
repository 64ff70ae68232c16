//! Events.

use coracle_docker::event::{Actor, EventMessage};
use coracle_runtime::event::{Event, EventKind};

/// An event's line.
pub(crate) fn message(event: &Event) -> EventMessage {
    let attribute = |key: &str| event.attributes.get(key).cloned().unwrap_or_default();
    // The three oldest fields exist for what they were invented for only.
    let (status, id, from) = match event.kind {
        EventKind::Container => (
            event.action.clone(),
            event.actor.clone(),
            attribute("image"),
        ),
        EventKind::Image => (event.action.clone(), event.actor.clone(), String::new()),
        _ => Default::default(),
    };
    EventMessage {
        status,
        id,
        from,
        kind: event.kind.as_str().to_owned(),
        action: event.action.clone(),
        actor: Actor {
            id: event.actor.clone(),
            attributes: event.attributes.clone(),
        },
        scope: "local".to_owned(),
        time: event.time.as_second(),
        time_nano: i64::try_from(event.time.as_nanosecond()).unwrap_or(i64::MAX),
    }
}
