//! Events, as they happen.

use coracle_native::event::Event;
use coracle_native::query::EventsQuery;
use coracle_runtime::event as domain;
use futures_util::{StreamExt, stream};
use jiff::Timestamp;

use super::call::{Call, NoBody};
use super::error::{Answer, NativeError};
use super::reply::Lines;
use super::table::{Route, Table};
use crate::follow::Follow;

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
    let follow = Follow::new(call.api.runtime.events().subscribe(since), until);
    let events = stream::unfold((follow, query), async |(mut follow, query)| {
        loop {
            let event = follow.next().await?;
            if fits(&query, &event) {
                return Some((Ok(Event::from(&*event)), (follow, query)));
            }
        }
    });
    Ok(Lines::new(events.boxed()))
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
