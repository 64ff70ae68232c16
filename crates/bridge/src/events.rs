//! The engine's events, on a bus of our own.
//!
//! One connection is followed; when it ends, the next one begins a little before where it ended, and
//! what is known already is left out. An operation's own events may come over that connection after
//! the operation's answer; so whoever changes something asks once more for what there is
//! ([`Events::catch_up`]), and what both ways bring counts once.

use std::collections::{HashSet, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use coracle_client::{Client, EventsQuery, Lines};
use coracle_docker::event::EventMessage;
use coracle_runtime::EventBus;
use coracle_runtime::event::EventKind;
use jiff::{SignedDuration, Timestamp};

use crate::convert::container::image_id;

/// Events that are remembered, to know them again.
const REMEMBERED: usize = 8192;
/// How far before the last known event a new connection begins: engines stamp events that come at
/// once, and then order them.
const OVERLAP: SignedDuration = SignedDuration::from_secs(1);
/// How long an operation waits for its own events at most. They come all the same, a little later.
const PATIENCE: Duration = Duration::from_secs(5);
/// Pauses between attempts to reach an engine that is away.
const PAUSES: [Duration; 2] = [Duration::from_millis(50), Duration::from_secs(2)];

/// The engine's events.
pub(crate) struct Events {
    client: Arc<Client>,
    bus: EventBus,
    ahead: SignedDuration,
    known: Mutex<Known>,
    /// Operations that asked for what there is.
    asked: AtomicU64,
    /// How many of them were served.
    served: tokio::sync::Mutex<u64>,
}

struct Known {
    /// Nothing older is told.
    from: Timestamp,
    last: Timestamp,
    identities: HashSet<u64>,
    order: VecDeque<u64>,
}

impl Known {
    /// Whether it is new; it is known then.
    fn is_new(&mut self, identity: u64) -> bool {
        if !self.identities.insert(identity) {
            return false;
        }
        self.order.push_back(identity);
        if self.order.len() > REMEMBERED
            && let Some(oldest) = self.order.pop_front()
        {
            self.identities.remove(&oldest);
        }
        true
    }
}

impl Events {
    /// Events from now on. `ahead` is how far the engine's clock is ahead of ours.
    pub(crate) fn new(client: Arc<Client>, ahead: SignedDuration) -> Self {
        let now = Timestamp::now()
            .saturating_add(ahead)
            .unwrap_or(Timestamp::MAX);
        Self {
            client,
            bus: EventBus::new(),
            ahead,
            known: Mutex::new(Known {
                from: now,
                last: now,
                identities: HashSet::new(),
                order: VecDeque::new(),
            }),
            asked: AtomicU64::new(0),
            served: tokio::sync::Mutex::new(0),
        }
    }

    pub(crate) fn bus(&self) -> &EventBus {
        &self.bus
    }

    /// Follows the engine for ever.
    pub(crate) async fn follow(self: Arc<Self>) {
        let [first, longest] = PAUSES;
        let mut pause = first;
        loop {
            match self.follow_once().await {
                Ok(told) => {
                    tracing::debug!("the engine's events ended");
                    if told {
                        pause = first;
                    }
                }
                Err(error) => tracing::debug!(%error, "the engine's events broke off"),
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(longest);
        }
    }

    /// Follows one connection to its end; gives whether it was one at all.
    async fn follow_once(&self) -> coracle_client::Result<bool> {
        let mut lines = self.lines(String::new()).await?;
        while let Some(event) = lines.next().await? {
            self.take(event);
        }
        Ok(true)
    }

    async fn lines(&self, until: String) -> coracle_client::Result<Lines<EventMessage>> {
        let query = EventsQuery {
            since: seconds(self.since()),
            until,
            ..EventsQuery::default()
        };
        self.client.events(&query).await
    }

    fn since(&self) -> Timestamp {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.last.saturating_sub(OVERLAP).unwrap_or(known.last)
    }

    /// Has all events on the bus that there are now. One question serves all who wait for it.
    pub(crate) async fn catch_up(&self) {
        let ticket = self.asked.fetch_add(1, Ordering::SeqCst) + 1;
        let asking = async {
            let mut served = self.served.lock().await;
            if *served >= ticket {
                return;
            }
            let serves = self.asked.load(Ordering::SeqCst);
            match self.ask().await {
                Ok(()) => *served = serves,
                Err(error) => tracing::debug!(%error, "events could not be asked for"),
            }
        };
        if tokio::time::timeout(PATIENCE, asking).await.is_err() {
            tracing::debug!("the engine is slow to tell its events");
        }
    }

    async fn ask(&self) -> coracle_client::Result<()> {
        let now = Timestamp::now();
        let until = now.saturating_add(self.ahead).unwrap_or(now);
        let mut lines = self.lines(seconds(until)).await?;
        while let Some(event) = lines.next().await? {
            self.take(event);
        }
        Ok(())
    }

    /// Puts an event on the bus that is not known yet.
    fn take(&self, message: EventMessage) {
        let time = match message.time_nano {
            0 => Timestamp::from_second(message.time),
            nanos => Timestamp::from_nanosecond(nanos.into()),
        };
        let Ok(time) = time else {
            tracing::debug!(action = message.action, "an event without a time");
            return;
        };
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if time < known.from || !known.is_new(identity(&message)) {
            return;
        }
        known.last = known.last.max(time);
        let Some(kind) = kind(&message.kind) else {
            tracing::debug!(
                kind = message.kind,
                "an event of a kind of the engine's own"
            );
            return;
        };
        let actor = message.actor;
        let id = match kind {
            EventKind::Image => image_id(actor.id),
            // Podman names volumes beside.
            _ if actor.id.is_empty() => actor.attributes.get("name").cloned().unwrap_or_default(),
            _ => actor.id,
        };
        let action = match (kind, message.action.as_str()) {
            // Podman's word.
            (EventKind::Container, "remove") => "destroy".to_owned(),
            _ => message.action,
        };
        // Under the lock, so that the order stays.
        self.bus
            .publish_at(time, kind, action, id, actor.attributes);
    }
}

fn identity(event: &EventMessage) -> u64 {
    let mut hasher = DefaultHasher::new();
    (event.time, event.time_nano, &event.kind, &event.action).hash(&mut hasher);
    (&event.actor.id, &event.actor.attributes).hash(&mut hasher);
    hasher.finish()
}

fn kind(word: &str) -> Option<EventKind> {
    [
        EventKind::Container,
        EventKind::Image,
        EventKind::Network,
        EventKind::Volume,
        EventKind::Secret,
        EventKind::Config,
        EventKind::Daemon,
    ]
    .into_iter()
    .find(|kind| kind.as_str() == word)
}

/// A time as queries have it.
pub(crate) fn seconds(time: Timestamp) -> String {
    let nanos = time.as_nanosecond();
    format!(
        "{}.{:09}",
        nanos.div_euclid(1_000_000_000),
        nanos.rem_euclid(1_000_000_000)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn events() -> Events {
        let client = Client::connect("unix:///nowhere").unwrap();
        Events::new(Arc::new(client), SignedDuration::ZERO)
    }

    fn message(time: Timestamp, action: &str) -> EventMessage {
        EventMessage {
            kind: "container".into(),
            action: action.into(),
            time_nano: i64::try_from(time.as_nanosecond()).unwrap(),
            ..EventMessage::default()
        }
    }

    #[tokio::test]
    async fn what_comes_twice_counts_once() {
        let events = events();
        let mut bus = events.bus().subscribe(None);
        let now = Timestamp::now();
        for action in ["create", "start", "create", "die", "start"] {
            events.take(message(now, action));
        }
        let told: Vec<_> = std::iter::from_fn(|| bus.try_next()).collect();
        let actions: Vec<_> = told.iter().map(|event| event.action.as_str()).collect();
        assert_eq!(actions, ["create", "start", "die"]);
        assert!(told.iter().all(|event| event.time == now));
        assert!(events.since() < now);
    }

    #[tokio::test]
    async fn what_is_older_than_we_or_unknown_is_left_out() {
        let events = events();
        events.take(message(Timestamp::UNIX_EPOCH, "create"));
        let mut other = message(Timestamp::now(), "create");
        other.kind = "plugin".into();
        events.take(other);
        let mut all = events.bus().subscribe(Some(Timestamp::UNIX_EPOCH));
        assert!(all.try_next().is_none());
    }

    #[test]
    fn memory_is_bounded() {
        let events = events();
        let mut known = events.known.lock().unwrap();
        for identity in 0..3 * REMEMBERED as u64 {
            assert!(known.is_new(identity));
        }
        assert_eq!(known.identities.len(), REMEMBERED);
        assert_eq!(known.order.len(), REMEMBERED);
    }

    #[test]
    fn times_have_nine_digits() {
        let time: Timestamp = "1970-01-01T00:00:01.5Z".parse().unwrap();
        assert_eq!(seconds(time), "1.500000000");
    }
}
