//! Processes that lost their parent and became ours, which happens where the container has no
//! process namespace of its own: nobody else would take their exit status.

use std::collections::BTreeSet;
use std::fs;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;

use rustix::process::Pid;
use rustix::process::WaitId;
use rustix::process::WaitIdOptions;
use tokio::signal::unix::SignalKind;
use tokio::signal::unix::signal;

/// Knows which children are awaited by somebody.
#[derive(Debug, Default)]
pub(crate) struct Orphans {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    awaited: BTreeSet<i32>,
    /// Launches under way: their helpers are children that aren't in `awaited`.
    launches: usize,
}

/// A launch under way.
pub(crate) struct Launching<'a>(&'a Orphans);

impl Orphans {
    /// Until this is dropped nothing is reaped.
    pub(crate) fn launching(&self) -> Launching<'_> {
        self.lock().launches += 1;
        Launching(self)
    }

    /// Somebody awaits this child.
    pub(crate) fn awaited(&self, pid: i32) {
        self.lock().awaited.insert(pid);
    }

    /// It is being reaped.
    pub(crate) fn done(&self, pid: i32) {
        self.lock().awaited.remove(&pid);
    }

    /// Reaps orphans as they end, for ever.
    pub(crate) async fn reap(&self) {
        let Ok(mut children) = signal(SignalKind::child()) else {
            return;
        };
        while children.recv().await.is_some() {
            self.reap_ended();
        }
    }

    fn reap_ended(&self) {
        let state = self.lock();
        if state.launches > 0 {
            // The next signal will do.
            return;
        }
        let orphans = children().filter(|pid| !state.awaited.contains(pid));
        for pid in orphans.filter_map(Pid::from_raw) {
            // One that lives is passed over.
            let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
            let _ = rustix::process::waitid(WaitId::Pid(pid), options);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Launching<'_> {
    fn drop(&mut self) {
        self.0.lock().launches -= 1;
    }
}

/// The children of all threads of this process (proc(5): `/proc/pid/task/tid/children`).
fn children() -> impl Iterator<Item = i32> {
    let threads = fs::read_dir("/proc/self/task")
        .into_iter()
        .flatten()
        .flatten();
    let lists =
        threads.filter_map(|thread| fs::read_to_string(thread.path().join("children")).ok());
    let pids = lists.flat_map(|list| {
        list.split_ascii_whitespace()
            .filter_map(|pid| pid.parse().ok())
            .collect::<Vec<_>>()
    });
    pids.collect::<Vec<_>>().into_iter()
}
