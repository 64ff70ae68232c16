//! Events, as they happen.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use coracle_native::event::Event;
use coracle_native::query::EventsQuery;
use coracle_runtime::event::{self as domain, Subscription};
use futures_util::{StreamExt, stream};
use jiff::Timestamp;

use super::call::{Call, NoBody};
use super::describe::{Route, Table};
use super::error::{Answer, NativeError};
use super::reply::Lines;

pub(super) fn declare(table: &mut Table) {
    table.route(Route::get("/events", "Follows what happens"), follow);
}

async fn follow(call: Call<EventsQuery, NoBody>) -> Answer<Lines<Event>> {
    let query = call.query;
    let until = match query.until {
        None if query.follow == Some(false) => Some(Timestamp::now()),
        until => until,
    };
    let since = match (query.since, query.after) {
        (Some(_), Some(_)) => {
            return Err(NativeError::invalid("since and after can't both be given"));
        }
        // All that are kept; which of them are wanted is told by their numbers.
        (None, Some(_)) => Some(Timestamp::MIN),
        (since, None) => since,
    };
    if let (Some(since), Some(until)) = (query.since, until)
        && until < since
    {
        return Err(NativeError::invalid("since can't be after until"));
    }
    // From here on nothing is missed; the headers are sent after.
    let listener = Listener {
        subscription: call.api.runtime.events().subscribe(since),
        deadline: until.map(deadline),
        query: EventsQuery { until, ..query },
    };
    let events = stream::unfold(listener, async |mut listener| {
        let event = listener.next().await?;
        Some((Ok(event), listener))
    });
    Ok(Lines::new(events.boxed()))
}

fn deadline(until: Timestamp) -> Pin<Box<tokio::time::Sleep>> {
    let left = Duration::try_from(until.duration_since(Timestamp::now())).unwrap_or_default();
    Box::pin(tokio::time::sleep(left))
}

struct Listener {
    subscription: Subscription,
    query: EventsQuery,
    deadline: Option<Pin<Box<tokio::time::Sleep>>>,
}

impl Listener {
    async fn next(&mut self) -> Option<Event> {
        loop {
            // What is there already comes before the deadline is looked at.
            let event = match self.subscription.try_next() {
                Some(event) => event,
                None => self.wait().await?,
            };
            if self.query.until.is_some_and(|until| event.time > until) {
                return None;
            }
            if fits(&self.query, &event) {
                return Some(Event::from(&*event));
            }
        }
    }

    async fn wait(&mut self) -> Option<Arc<domain::Event>> {
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

fn fits(query: &EventsQuery, event: &domain::Event) -> bool {
    let one_of = |wanted: &[String], word: &str| {
        wanted.is_empty() || wanted.iter().any(|wanted| wanted == word)
    };
    // `exec_create: ls` is an `exec_create`.
    let action = event.action.split(':').next().unwrap_or_default();
    let name = event.attributes.get("name");
    one_of(&query.kind, event.kind.as_str())
        && (one_of(&query.action, &event.action) || one_of(&query.action, action))
        && query.after.is_none_or(|after| event.sequence > after)
        && query
            .actor
            .as_ref()
            .is_none_or(|wanted| event.actor == *wanted || name == Some(wanted))
}
