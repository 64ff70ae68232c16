//! `/events`.

use axum::Router;
use axum::extract::State;
use axum::routing::get;
use coracle_runtime::Filters;
use coracle_runtime::event::{Event, EventKind};
use futures_util::stream;
use jiff::Timestamp;

use crate::Api;
use crate::connection::ClientGone;
use crate::convert::event::message;
use crate::error::{Answer, ApiError};
use crate::extract::Query;
use crate::follow::Follow;
use crate::matching::without_tag;
use crate::respond;

pub(super) fn routes() -> Router<Api> {
    Router::new().route("/events", get(events))
}

async fn events(State(api): State<Api>, query: Query, gone: ClientGone) -> Answer {
    let since = query.time("since")?;
    // `stream` is podman's: off, it ends with what has happened already.
    let until = match query.time("until")? {
        None if !query.flag_or("stream", true) => Some(Timestamp::now()),
        until => until,
    };
    if let (Some(first), Some(last)) = (since, until)
        && last < first
    {
        return Err(ApiError::bad_request(format!(
            "`since` time ({}) cannot be after `until` time ({})",
            query.text("since"),
            query.text("until")
        )));
    }
    // dockerd takes any key here.
    let filters = Filters::parse_any(query.text("filters"))?;
    // From here on nothing is missed; the headers are sent after.
    let follow = Follow::new(api.runtime.events().subscribe(since), until);
    let lines = stream::unfold((follow, filters), async |(mut follow, filters)| {
        loop {
            let event = follow.next().await?;
            if fits(&filters, &event) {
                let line = respond::line(&message(&event)).ok()?;
                return Some((line, (follow, filters)));
            }
        }
    });
    Ok(respond::stream(respond::JSON, Box::pin(lines), &gone))
}

/// Whether an event is one of those asked for, by dockerd's rules.
fn fits(filters: &Filters, event: &Event) -> bool {
    let attribute = |key: &str| event.attributes.get(key).map_or("", String::as_str);
    // By id or name, or the beginning of either.
    let object =
        |key: &str| filters.prefix(key, &event.actor) || filters.prefix(key, attribute("name"));
    action_fits(filters, &event.action)
        && filters.exact("type", event.kind.as_str())
        && filters.exact("scope", "local")
        && [
            "container",
            "daemon",
            "network",
            "volume",
            "secret",
            "config",
            "plugin",
        ]
        .into_iter()
        .all(object)
        && ["node", "service"].into_iter().all(|key| !filters.has(key))
        && image_fits(filters, event)
        && filters.labels(&event.attributes)
}

/// Exactly; but where one of the actions that carry details is asked for, by their beginning.
fn action_fits(filters: &Filters, action: &str) -> bool {
    let with_details = ["health_status", "exec_create", "exec_start"];
    if filters
        .get("event")
        .iter()
        .any(|wanted| with_details.contains(&wanted.as_str()))
    {
        filters.prefix("event", action)
    } else {
        filters.exact("event", action)
    }
}

fn image_fits(filters: &Filters, event: &Event) -> bool {
    let key = match event.kind {
        EventKind::Image => "name",
        _ => "image",
    };
    let name = event.attributes.get(key).map_or("", String::as_str);
    [
        event.actor.as_str(),
        name,
        without_tag(&event.actor),
        without_tag(name),
    ]
    .into_iter()
    .any(|name| filters.exact("image", name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(kind: EventKind, action: &str, actor: &str, attributes: &[(&str, &str)]) -> Event {
        Event {
            sequence: 1,
            time: Timestamp::now(),
            kind,
            action: action.to_owned(),
            actor: actor.to_owned(),
            attributes: attributes
                .iter()
                .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
                .collect(),
        }
    }

    #[test]
    fn filters_are_dockers() {
        let start = event(
            EventKind::Container,
            "start",
            "abcdef",
            &[("name", "web"), ("image", "busybox:latest"), ("a", "1")],
        );
        let health = event(
            EventKind::Container,
            "health_status: healthy",
            "abcdef",
            &[],
        );
        let pull = event(
            EventKind::Image,
            "pull",
            "busybox:latest",
            &[("name", "busybox")],
        );
        for (json, event, expected) in [
            ("{}", &start, true),
            (r#"{"container":["abc"]}"#, &start, true),
            (r#"{"container":["web"]}"#, &start, true),
            (r#"{"container":["eb"]}"#, &start, false),
            (r#"{"type":["image"]}"#, &start, false),
            (r#"{"type":["image"]}"#, &pull, true),
            (r#"{"image":["busybox"]}"#, &start, true),
            (r#"{"image":["busybox:latest"]}"#, &pull, true),
            (r#"{"image":["busy"]}"#, &pull, false),
            (r#"{"event":["start","stop"]}"#, &start, true),
            (r#"{"event":["health_status"]}"#, &health, true),
            (r#"{"event":["health"]}"#, &health, false),
            (r#"{"label":["a=1"]}"#, &start, true),
            (r#"{"label":["a=2"]}"#, &start, false),
            (r#"{"scope":["swarm"]}"#, &start, false),
            (r#"{"service":["x"]}"#, &start, false),
            (r#"{"nonsense":["x"]}"#, &start, true),
        ] {
            // dockerd takes any key here.
            let filters = Filters::parse_any(json).unwrap();
            assert_eq!(fits(&filters, event), expected, "{json}");
        }
    }
}
