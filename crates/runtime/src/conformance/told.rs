//! What the runtime tells by events.

use std::sync::Arc;

use super::support::soon;
use crate::Event;
use crate::event::Subscription;

/// The next event of a container with this action, passing over others.
pub(super) async fn event(listener: &mut Subscription, id: &str, action: &str) -> Arc<Event> {
    loop {
        let next = soon(&format!("event {action}"), listener.next())
            .await
            .expect("the bus lives");
        if next.actor == id && next.action == action {
            return next;
        }
    }
}

/// The actions on one actor so far, but for those that depend on how it was looked at.
pub(super) fn actions(listener: &mut Subscription, id: &str) -> Vec<String> {
    let mut actions = Vec::new();
    while let Some(event) = listener.try_next() {
        if event.actor == id && !matches!(event.action.as_str(), "attach" | "resize" | "top") {
            actions.push(event.action.clone());
        }
    }
    actions
}
