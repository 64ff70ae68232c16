//! Events: what happened, in order, pushed to whoever listens and replayed to whoever comes late.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;
use tokio::sync::watch;

/// Events kept for replay.
pub const HISTORY: usize = 4_096;

/// What an event is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum EventKind {
    /// A container, or an exec in one.
    Container,
    /// An image.
    Image,
    /// A network.
    Network,
    /// A volume.
    Volume,
    /// A secret.
    Secret,
    /// A config.
    Config,
    /// The daemon.
    Daemon,
}

impl EventKind {
    /// Docker's word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Container => "container",
            Self::Image => "image",
            Self::Network => "network",
            Self::Volume => "volume",
            Self::Secret => "secret",
            Self::Config => "config",
            Self::Daemon => "daemon",
        }
    }
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// One more than the event before; starts at 1 with each daemon.
    pub sequence: u64,
    /// When.
    pub time: Timestamp,
    /// To what kind of thing.
    pub kind: EventKind,
    /// What, in Docker's words: `create`, `start`, `die`, `exec_create: ls` …
    pub action: String,
    /// The thing's id, or name where it has none.
    pub actor: String,
    /// More about it: labels, `name`, `image`, `exitCode` …
    pub attributes: BTreeMap<String, String>,
}

/// Where events are published. Cheap to clone; all clones are one bus.
#[derive(Clone)]
pub struct EventBus {
    shared: Arc<Shared>,
}

struct Shared {
    history: Mutex<VecDeque<Arc<Event>>>,
    latest: watch::Sender<u64>,
}

impl Default for EventBus {
    fn default() -> Self {
        Self::new()
    }
}

impl EventBus {
    /// A bus without events.
    pub fn new() -> Self {
        Self {
            shared: Arc::new(Shared {
                history: Mutex::new(VecDeque::new()),
                latest: watch::Sender::new(0),
            }),
        }
    }

    /// Publishes an event, and gives it the next number and the time.
    pub fn publish(
        &self,
        kind: EventKind,
        action: impl Into<String>,
        actor: impl Into<String>,
        attributes: BTreeMap<String, String>,
    ) {
        self.push(None, kind, action.into(), actor.into(), attributes);
    }

    /// Publishes an event that happened at a time, as another engine told it. Times never go back:
    /// one that is told late gets the time of the event before.
    pub fn publish_at(
        &self,
        time: Timestamp,
        kind: EventKind,
        action: impl Into<String>,
        actor: impl Into<String>,
        attributes: BTreeMap<String, String>,
    ) {
        self.push(Some(time), kind, action.into(), actor.into(), attributes);
    }

    fn push(
        &self,
        time: Option<Timestamp>,
        kind: EventKind,
        action: String,
        actor: String,
        attributes: BTreeMap<String, String>,
    ) {
        // A poisoned lock only means that another publisher died between two pushes.
        let mut history = self
            .shared
            .history
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let sequence = *self.shared.latest.borrow() + 1;
        let time = time.map_or_else(Timestamp::now, |time| {
            history.back().map_or(time, |last| time.max(last.time))
        });
        history.push_back(Arc::new(Event {
            sequence,
            time,
            kind,
            action,
            actor,
            attributes,
        }));
        if history.len() > HISTORY {
            history.pop_front();
        }
        // Sent under the lock, so that numbers are announced in order.
        self.shared.latest.send_replace(sequence);
    }

    /// The number of the last event; 0 before the first.
    pub fn latest(&self) -> u64 {
        *self.shared.latest.borrow()
    }

    /// Listens from now on; with `since`, first replays what is kept from that time on.
    pub fn subscribe(&self, since: Option<Timestamp>) -> Subscription {
        let history = self
            .shared
            .history
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let latest = self.shared.latest.subscribe();
        let seen = match since {
            None => *latest.borrow(),
            Some(since) => history
                .iter()
                .find(|event| event.time >= since)
                .map_or(*latest.borrow(), |event| event.sequence - 1),
        };
        drop(history);
        Subscription {
            bus: self.clone(),
            latest,
            seen,
        }
    }

    fn after(&self, seen: u64) -> Option<Arc<Event>> {
        let history = self
            .shared
            .history
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let first = history.front()?.sequence;
        // A listener that fell behind the history goes on with the oldest that is kept.
        let index = (seen + 1).saturating_sub(first);
        history.get(usize::try_from(index).ok()?).cloned()
    }
}

/// A listener's place in the bus.
pub struct Subscription {
    bus: EventBus,
    latest: watch::Receiver<u64>,
    seen: u64,
}

impl Subscription {
    /// The next event that is already there, without waiting.
    pub fn try_next(&mut self) -> Option<Arc<Event>> {
        let event = self.bus.after(self.seen)?;
        self.seen = event.sequence;
        Some(event)
    }

    /// The next event. Never ends while a bus exists; `None` after.
    pub async fn next(&mut self) -> Option<Arc<Event>> {
        loop {
            // Marked as seen before looking, so that one published in between wakes us at once.
            self.latest.borrow_and_update();
            if let Some(event) = self.try_next() {
                return Some(event);
            }
            self.latest.changed().await.ok()?;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn publish(bus: &EventBus, action: &str) {
        bus.publish(EventKind::Container, action, "id", BTreeMap::new());
    }

    #[tokio::test]
    async fn a_listener_sees_every_event_once_and_in_order() {
        let bus = EventBus::new();
        publish(&bus, "before");
        let mut listener = bus.subscribe(None);
        let publisher = bus.clone();
        let task = tokio::spawn(async move {
            for n in 0..1000 {
                publish(&publisher, &n.to_string());
                if n % 7 == 0 {
                    tokio::task::yield_now().await;
                }
            }
        });
        for n in 0..1000_u64 {
            let event = listener.next().await.unwrap();
            assert_eq!(event.action, n.to_string());
            assert_eq!(event.sequence, n + 2);
        }
        task.await.unwrap();
        assert!(listener.try_next().is_none());
    }

    #[tokio::test]
    async fn since_replays_what_is_kept() {
        let bus = EventBus::new();
        publish(&bus, "one");
        let time = Timestamp::now();
        publish(&bus, "two");
        let mut all = bus.subscribe(Some(Timestamp::UNIX_EPOCH));
        assert_eq!(all.try_next().unwrap().action, "one");
        let mut late = bus.subscribe(Some(time));
        assert_eq!(late.try_next().unwrap().action, "two");
        assert!(late.try_next().is_none());
    }

    #[tokio::test]
    async fn times_told_never_go_back() {
        let bus = EventBus::new();
        let at = |second| Timestamp::from_second(second).unwrap();
        for second in [10, 20, 15] {
            let kind = EventKind::Image;
            bus.publish_at(at(second), kind, "pull", "id", BTreeMap::new());
        }
        let mut all = bus.subscribe(Some(Timestamp::UNIX_EPOCH));
        let times: Vec<_> = std::iter::from_fn(|| all.try_next().map(|event| event.time)).collect();
        assert_eq!(times, [at(10), at(20), at(20)]);
    }

    #[tokio::test]
    async fn a_slow_listener_goes_on_with_the_oldest_kept() {
        let bus = EventBus::new();
        let mut slow = bus.subscribe(None);
        for n in 0..HISTORY + 10 {
            publish(&bus, &n.to_string());
        }
        assert_eq!(slow.next().await.unwrap().action, "10");
    }
}
