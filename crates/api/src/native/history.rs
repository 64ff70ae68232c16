//! What containers used in the last minutes, kept while somebody wants to know.
//!
//! Reading statistics costs the host something, so nothing is read unasked: the first question about a
//! container begins its history, which goes on until nobody has asked for ten minutes. With an
//! interval of the daemon's own (`--stats-interval`) all running containers are read, always.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use coracle_native::stats::{Sample, StatsHistory};
use coracle_runtime::{Runtime, Status};
use futures_util::{StreamExt, stream};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// How far back it goes.
const SPAN: Duration = Duration::from_secs(600);
/// Between two readings, where the daemon has no interval of its own.
const INTERVAL: Duration = Duration::from_secs(10);
/// Containers read at once.
const AT_ONCE: usize = 8;
/// Containers whose history is kept; further ones are not.
const MAX_CONTAINERS: usize = 1000;
/// How long one container may take to tell.
const LIMIT: Duration = Duration::from_secs(5);

/// The histories of all containers.
pub(crate) struct History {
    /// Where all running containers are read, always.
    always: Option<Duration>,
    state: Mutex<State>,
    stop: CancellationToken,
}

#[derive(Default)]
struct State {
    kept: BTreeMap<String, Kept>,
    collecting: bool,
}

struct Kept {
    asked: Instant,
    readings: VecDeque<Sample>,
}

impl Drop for History {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl History {
    pub(crate) fn new(always: Option<Duration>) -> Arc<Self> {
        Arc::new(Self {
            always,
            state: Mutex::default(),
            stop: CancellationToken::new(),
        })
    }

    /// Begins to read all containers, where that is asked for.
    pub(crate) fn begin(self: &Arc<Self>, runtime: &Arc<dyn Runtime>) {
        if self.always.is_some() {
            self.collect(runtime);
        }
    }

    fn interval(&self) -> Duration {
        self.always.unwrap_or(INTERVAL)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A container's history so far. Makes it go on.
    pub(crate) fn read(self: &Arc<Self>, runtime: &Arc<dyn Runtime>, id: &str) -> StatsHistory {
        let mut state = self.lock();
        let room = state.kept.len() < MAX_CONTAINERS;
        if room || state.kept.contains_key(id) {
            let kept = state.kept.entry(id.to_owned()).or_insert_with(|| Kept {
                asked: Instant::now(),
                readings: VecDeque::new(),
            });
            kept.asked = Instant::now();
        }
        let kept = state.kept.get(id);
        let history = StatsHistory {
            interval: self.interval().as_secs(),
            readings: kept
                .map(|kept| kept.readings.iter().cloned().collect())
                .unwrap_or_default(),
        };
        drop(state);
        self.collect(runtime);
        history
    }

    /// Starts the task that reads, unless it runs.
    fn collect(self: &Arc<Self>, runtime: &Arc<dyn Runtime>) {
        if std::mem::replace(&mut self.lock().collecting, true) {
            return;
        }
        // The task must keep neither alive.
        let (history, runtime) = (Arc::downgrade(self), Arc::downgrade(runtime));
        let (stop, interval) = (self.stop.clone(), self.interval());
        tokio::spawn(async move {
            let mut ticks = tokio::time::interval(interval);
            ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
            loop {
                tokio::select! {
                    () = stop.cancelled() => return,
                    _ = ticks.tick() => {}
                }
                let (Some(history), Some(runtime)) = (history.upgrade(), runtime.upgrade()) else {
                    return;
                };
                if !history.round(&*runtime).await {
                    return;
                }
            }
        });
    }

    /// Reads once what is to be read; whether to go on.
    async fn round(&self, runtime: &dyn Runtime) -> bool {
        let running: Vec<String> = match runtime.list_containers(false).await {
            Ok(containers) => containers
                .into_iter()
                .filter(|one| matches!(one.state.status, Status::Running | Status::Paused))
                .map(|one| one.id)
                .collect(),
            Err(error) => {
                tracing::info!(%error, "no statistics could be collected");
                return true;
            }
        };
        let wanted: Vec<String> = {
            let mut state = self.lock();
            let now = Instant::now();
            if self.always.is_none() {
                state
                    .kept
                    .retain(|_, kept| now.duration_since(kept.asked) < SPAN);
                if state.kept.is_empty() {
                    state.collecting = false;
                    return false;
                }
                let kept = &state.kept;
                running
                    .into_iter()
                    .filter(|id| kept.contains_key(id))
                    .collect()
            } else {
                state.kept.retain(|id, _| running.contains(id));
                running.into_iter().take(MAX_CONTAINERS).collect()
            }
        };
        let samples: Vec<(String, Sample)> = stream::iter(wanted)
            .map(|id| async move {
                let read = async {
                    let mut readings = runtime.container_stats(&id, false).await.ok()?;
                    readings.next().await?.ok()
                };
                let stats = tokio::time::timeout(LIMIT, read).await.ok()??;
                Some((id, Sample::from(&stats)))
            })
            .buffer_unordered(AT_ONCE)
            .filter_map(std::future::ready)
            .collect()
            .await;
        let most = usize::try_from(SPAN.as_secs() / self.interval().as_secs().max(1)).unwrap_or(1);
        let mut state = self.lock();
        for (id, sample) in samples {
            let kept = state.kept.entry(id).or_insert_with(|| Kept {
                asked: Instant::now(),
                readings: VecDeque::new(),
            });
            kept.readings.push_back(sample);
            while kept.readings.len() > most {
                kept.readings.pop_front();
            }
        }
        true
    }
}
