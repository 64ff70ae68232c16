//! Events as they happen, up to a time.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use coracle_runtime::event::{Event, Subscription};
use jiff::Timestamp;
use tokio::time::Sleep;

/// What happens from a subscription's begin up to a time, or for ever.
pub(crate) struct Follow {
    subscription: Subscription,
    until: Option<Timestamp>,
    deadline: Option<Pin<Box<Sleep>>>,
}

impl Follow {
    /// What is kept already comes first, so that a time in the past gives all up to it.
    pub(crate) fn new(subscription: Subscription, until: Option<Timestamp>) -> Self {
        let deadline = until.map(|until| {
            let left = until.duration_since(Timestamp::now());
            Box::pin(tokio::time::sleep(
                Duration::try_from(left).unwrap_or_default(),
            ))
        });
        Self {
            subscription,
            until,
            deadline,
        }
    }

    /// The next event; none at the end.
    pub(crate) async fn next(&mut self) -> Option<Arc<Event>> {
        // The deadline is looked at when there is nothing else.
        let event = match self.subscription.try_next() {
            Some(event) => event,
            None => self.wait().await?,
        };
        (self.until.is_none_or(|until| event.time <= until)).then_some(event)
    }

    async fn wait(&mut self) -> Option<Arc<Event>> {
        match &mut self.deadline {
            None => self.subscription.next().await,
            Some(deadline) => tokio::select! {
                biased;
                event = self.subscription.next() => event,
                () = deadline => None,
            },
        }
    }
}
