//! Downloads into the store, each shared by everybody who wants the same blob.
//!
//! ```text
//! Starting ──▶ Downloading ◀──▶ Retrying
//!    │  ▲            │
//!    ▼  │            ▼
//!   Queued       Verifying ──▶ Done
//! ```
//! Each state can also go to Done with an error. A download runs as a task of its own, which is
//! aborted when the last one who waits for it is gone; what was written stays for the next try.

use std::collections::HashMap;
use std::fs::File;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::Weak;
use std::time::Duration;

use bytes::Bytes;
use coracle_oci::Descriptor;
use coracle_oci::Digest;
use coracle_store::Ingest;
use coracle_store::Lease;
use coracle_store::Store;
use coracle_store::StoreError;
use tokio::sync::Semaphore;
use tokio::sync::mpsc;
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio::task::JoinHandle;

use crate::blob::BlobNews;
use crate::blob::BlobReader;
use crate::blob::mismatch;
use crate::error::Error;
use crate::error::Result;
use crate::follow::Tail;
use crate::progress::Throttle;
use crate::progress::seconds;
use crate::repository::Repository;

/// Pieces between the network and the disk.
const QUEUE: usize = 4;
/// How often to look whether somebody else is done with a blob.
const BUSY: Duration = Duration::from_millis(200);

/// Where a download stands.
#[derive(Debug, Clone)]
pub(crate) enum State {
    Starting,
    /// Waits for a free slot.
    Queued,
    Downloading {
        current: u64,
        total: u64,
    },
    Retrying {
        seconds: u64,
    },
    Verifying,
    Done(Result<(), Error>),
}

/// What those who wait see.
#[derive(Debug, Clone)]
pub(crate) struct Shown {
    pub(crate) state: State,
    /// There once bytes come in; never for a second attempt.
    pub(crate) tail: Option<Arc<Tail>>,
}

/// A download under way.
pub(crate) struct Flight {
    shown: watch::Receiver<Shown>,
    task: AbortHandle,
}

impl Drop for Flight {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Flight {
    pub(crate) fn watch(&self) -> watch::Receiver<Shown> {
        self.shown.clone()
    }

    /// Whether it has come to an end; a task that panicked leaves its last state behind.
    fn is_over(&self) -> bool {
        self.shown.has_changed().is_err() || matches!(self.shown.borrow().state, State::Done(_))
    }
}

/// All downloads into one store.
pub(crate) struct Flights {
    store: Store,
    slots: Arc<Semaphore>,
    all: Mutex<HashMap<Digest, Weak<Flight>>>,
}

impl Flights {
    pub(crate) fn new(store: Store, at_once: usize) -> Self {
        Self {
            store,
            slots: Arc::new(Semaphore::new(at_once.max(1))),
            all: Mutex::default(),
        }
    }

    /// The download of a blob: the one under way, or a new one. Also says whether it is new.
    pub(crate) fn join(
        &self,
        repository: &Arc<Repository>,
        descriptor: &Descriptor,
        lease: &Lease,
    ) -> (Arc<Flight>, bool) {
        let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|_, flight| flight.strong_count() > 0);
        if let Some(flight) = all.get(&descriptor.digest).and_then(Weak::upgrade)
            && !flight.is_over()
        {
            return (flight, false);
        }
        let (show, shown) = watch::channel(Shown {
            state: State::Starting,
            tail: None,
        });
        let download = Download {
            store: self.store.clone(),
            slots: self.slots.clone(),
            repository: repository.clone(),
            descriptor: descriptor.clone(),
            lease: lease.clone(),
            show,
        };
        let task = tokio::spawn(download.run()).abort_handle();
        let flight = Arc::new(Flight { shown, task });
        all.insert(descriptor.digest.clone(), Arc::downgrade(&flight));
        (flight, true)
    }
}

struct Download {
    store: Store,
    slots: Arc<Semaphore>,
    repository: Arc<Repository>,
    descriptor: Descriptor,
    lease: Lease,
    show: watch::Sender<Shown>,
}

impl Download {
    async fn run(self) {
        let result = self.download().await;
        if let Err(error) = &result {
            tracing::debug!(digest = %self.descriptor.digest, %error, "download failed");
        }
        self.state(State::Done(result));
    }

    fn state(&self, state: State) {
        self.show.send_modify(|shown| shown.state = state);
    }

    async fn download(&self) -> Result<()> {
        let _slot = match self.slots.try_acquire() {
            Ok(slot) => slot,
            Err(_) => {
                self.state(State::Queued);
                let slot = self.slots.acquire().await;
                slot.map_err(|_| Error::store("the download queue is closed"))?
            }
        };
        let mut first = true;
        loop {
            let Some(ingest) = self.open().await? else {
                return Ok(());
            };
            let resumed = ingest.offset() > 0;
            match self.transfer(ingest, first).await {
                // What an earlier download left was bad: once more, from the start.
                Err(Error::DigestMismatch { .. }) if resumed && first => first = false,
                result => return result,
            }
        }
    }

    /// A place to write to; `None` when the blob has arrived meanwhile.
    async fn open(&self) -> Result<Option<Ingest>> {
        loop {
            let (store, lease) = (self.store.clone(), self.lease.clone());
            let descriptor = self.descriptor.clone();
            let opened = blocking(move || {
                if store.hold(&lease, &descriptor.digest)?.is_some() {
                    return Ok(None);
                }
                store.resume(&lease, &descriptor).map(Some)
            });
            match opened.await? {
                Ok(ingest) => return Ok(ingest),
                // Left by a download that was aborted a moment ago, or another store's client.
                Err(StoreError::Busy(_)) => tokio::time::sleep(BUSY).await,
                Err(error) => return Err(Error::store(error)),
            }
        }
    }

    async fn transfer(&self, ingest: Ingest, first: bool) -> Result<()> {
        let total = self.descriptor.size;
        let offset = ingest.offset();
        let tail = if first {
            self.tail(offset).await?
        } else {
            None
        };
        self.show.send_modify(|shown| {
            shown.state = State::Downloading {
                current: offset,
                total,
            };
            shown.tail = tail.clone();
        });
        let writer = Writer::start(ingest, tail);
        match self.receive(&writer, offset).await {
            Ok(()) => {
                self.state(State::Verifying);
                writer.commit().await
            }
            Err(error) => {
                // If it was the writer that failed, its error says more.
                writer.end().await?;
                Err(error)
            }
        }
    }

    async fn receive(&self, writer: &Writer, offset: u64) -> Result<()> {
        let total = self.descriptor.size;
        let mut reader = BlobReader::new(&self.repository, &self.descriptor, offset);
        let mut current = offset;
        let mut throttle = Throttle::default();
        loop {
            match reader.next().await? {
                BlobNews::Bytes(bytes) => {
                    current += bytes.len() as u64;
                    writer.write(bytes).await?;
                    if throttle.ready() {
                        self.state(State::Downloading { current, total });
                    }
                }
                BlobNews::Wait(wait) => {
                    self.state(State::Retrying {
                        seconds: seconds(wait),
                    });
                    tokio::time::sleep(wait).await;
                }
                BlobNews::End => {
                    self.state(State::Downloading { current, total });
                    return Ok(());
                }
            }
        }
    }

    /// Opens the ingest's file for those who follow it.
    async fn tail(&self, written: u64) -> Result<Option<Arc<Tail>>> {
        let digest = &self.descriptor.digest;
        let name = format!("{}-{}", digest.algorithm(), digest.hex());
        let path = self.store.root().join("ingest").join(name);
        let file = blocking(move || File::open(path)).await?;
        Ok(file.ok().map(|file| Arc::new(Tail::new(file, written))))
    }
}

/// Hashes and writes on a thread of its own, beside the network.
struct Writer {
    queue: mpsc::Sender<Order>,
    thread: JoinHandle<Result<()>>,
    tail: AbortOnDrop,
}

enum Order {
    Write(Bytes),
    Commit,
}

/// Tells those who follow when a download ends without a blob.
struct AbortOnDrop(Option<Arc<Tail>>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        if let Some(tail) = &self.0 {
            tail.abort();
        }
    }
}

impl Writer {
    fn start(mut ingest: Ingest, tail: Option<Arc<Tail>>) -> Self {
        let (queue, mut orders) = mpsc::channel(QUEUE);
        let theirs = tail.clone();
        let thread = tokio::task::spawn_blocking(move || {
            while let Some(order) = orders.blocking_recv() {
                match order {
                    Order::Write(bytes) => {
                        ingest.write(&bytes).map_err(store_error)?;
                        if let Some(tail) = &theirs {
                            tail.advance(bytes.len());
                        }
                    }
                    Order::Commit => {
                        ingest.commit().map_err(store_error)?;
                        if let Some(tail) = &theirs {
                            tail.stored();
                        }
                        return Ok(());
                    }
                }
            }
            // The download was dropped: the store keeps what is there.
            Ok(())
        });
        Self {
            queue,
            thread,
            tail: AbortOnDrop(tail),
        }
    }

    async fn write(&self, bytes: Bytes) -> Result<()> {
        let sent = self.queue.send(Order::Write(bytes)).await;
        sent.map_err(|_| Error::store("the writer is gone"))
    }

    async fn commit(self) -> Result<()> {
        // If the writer is gone, its result says why.
        let _ = self.queue.send(Order::Commit).await;
        self.end().await
    }

    /// Lets go of the ingest, and waits until that is done.
    async fn end(self) -> Result<()> {
        let Self {
            queue,
            thread,
            tail: _abort,
        } = self;
        drop(queue);
        thread.await.map_err(Error::store)?
    }
}

fn store_error(error: StoreError) -> Error {
    match error {
        StoreError::Verify(error) => mismatch(error),
        error => Error::store(error),
    }
}

/// Runs file work on a blocking thread.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(Error::store)
}
