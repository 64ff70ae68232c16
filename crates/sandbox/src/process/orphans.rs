//! Processes that lost their parent and became ours, which happens where a container has no
//! process namespace of its own: nobody else would take their exit status.
//!
//! They are this process' affair, not one container's: what one container leaves behind ends while
//! the next one is launched.

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

/// Which children of this process are awaited by somebody.
static STATE: Mutex<State> = Mutex::new(State {
    awaited: BTreeSet::new(),
    launches: 0,
    reaps: false,
});

#[derive(Debug)]
struct State {
    awaited: BTreeSet<i32>,
    /// Launches under way, of all containers: their helpers are children that aren't in `awaited`.
    launches: usize,
    /// Whether orphans are reaped already.
    reaps: bool,
}

/// A launch under way.
pub(crate) struct Launching(());

/// Until this is dropped nothing is reaped.
pub(crate) fn launching() -> Launching {
    lock().launches += 1;
    Launching(())
}

/// Somebody awaits this child.
pub(crate) fn awaited(pid: i32) {
    lock().awaited.insert(pid);
}

/// It is being reaped.
pub(crate) fn done(pid: i32) {
    lock().awaited.remove(&pid);
}

/// Reaps orphans as they end, for ever; nothing if that is done already.
pub(crate) async fn reap() {
    if std::mem::replace(&mut lock().reaps, true) {
        return;
    }
    // With the event loop this may end, and another begin.
    let _over = Reaping;
    let Ok(mut children) = signal(SignalKind::child()) else {
        return;
    };
    while children.recv().await.is_some() {
        reap_ended();
    }
}

struct Reaping;

impl Drop for Reaping {
    fn drop(&mut self) {
        lock().reaps = false;
    }
}

fn reap_ended() {
    let state = lock();
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

fn lock() -> MutexGuard<'static, State> {
    STATE.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Drop for Launching {
    fn drop(&mut self) {
        lock().launches -= 1;
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
