//! Children that nobody waits for: processes whose parents ended, and which became ours.
//!
//! Each sandbox waits for those that it started, by itself, as soon as they end. So what is still
//! there a long while after its end belongs to nobody. What ends in a container with a process
//! namespace of its own never comes here.

use std::collections::BTreeSet;
use std::fs;
use std::time::Duration;

use rustix::process::{Pid, WaitId, WaitIdOptions};

/// How long somebody may take to wait for an ended child.
const PATIENCE: Duration = Duration::from_secs(20);

/// Reaps, for ever.
pub(crate) async fn reap() {
    let mut before = BTreeSet::new();
    loop {
        tokio::time::sleep(PATIENCE).await;
        if !has_ended(WaitId::All) {
            before.clear();
            continue;
        }
        let ended: BTreeSet<i32> = children()
            .into_iter()
            .filter(|pid| Pid::from_raw(*pid).is_some_and(|pid| has_ended(WaitId::Pid(pid))))
            .collect();
        for pid in ended
            .intersection(&before)
            .copied()
            .filter_map(Pid::from_raw)
        {
            let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
            let _gone_already = rustix::process::waitid(WaitId::Pid(pid), options);
        }
        before = ended;
    }
}

/// Whether a child has ended, without taking its status.
fn has_ended(which: WaitId<'_>) -> bool {
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    matches!(rustix::process::waitid(which, options), Ok(Some(_)))
}

/// The children of all threads (proc(5): `/proc/pid/task/tid/children`).
fn children() -> Vec<i32> {
    let threads = fs::read_dir("/proc/self/task")
        .into_iter()
        .flatten()
        .flatten();
    let lists =
        threads.filter_map(|thread| fs::read_to_string(thread.path().join("children")).ok());
    lists
        .flat_map(|list| {
            let pids = list
                .split_ascii_whitespace()
                .filter_map(|pid| pid.parse().ok());
            pids.collect::<Vec<_>>()
        })
        .collect()
}
