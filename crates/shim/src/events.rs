//! Tells subscribers what happens.

use std::sync::Mutex;
use std::sync::PoisonError;

use coracle_task::Event;
use tokio::sync::mpsc;

/// How many events may wait for a subscriber; one that lags more is disconnected.
const BACKLOG: usize = 256;

/// Those who subscribed.
#[derive(Default)]
pub(crate) struct Subscribers {
    senders: Mutex<Vec<mpsc::Sender<Event>>>,
}

impl Subscribers {
    /// All events from now on.
    pub(crate) fn subscribe(&self) -> mpsc::Receiver<Event> {
        let (sender, receiver) = mpsc::channel(BACKLOG);
        self.lock().push(sender);
        receiver
    }

    /// Tells everybody.
    pub(crate) fn publish(&self, event: &Event) {
        self.lock()
            .retain(|sender| sender.try_send(event.clone()).is_ok());
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<mpsc::Sender<Event>>> {
        self.senders.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
