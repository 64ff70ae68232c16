//! Keeps an idle daemon small: the C library's allocator makes an arena for each of many short-lived
//! threads, and keeps what a burst of work has freed. (mimalloc was tried and keeps more.)
//!
//! With another C library than glibc there is nothing to do.

#![allow(unsafe_code)]

use std::time::Duration;

use coracle_runtime::EventBus;
use tokio::time::timeout;

/// Arenas: one would make threads wait for each other, more are not missed.
#[cfg(target_env = "gnu")]
const ARENAS: libc::c_int = 2;
/// Time without an event after which memory is given back.
const QUIET: Duration = Duration::from_secs(5);
/// Requests that change nothing make no event, and free memory all the same: so often it is given back
/// without one.
const BETWEEN: Duration = Duration::from_secs(60);

/// To be called before there is a second thread.
pub(crate) fn limit_arenas() {
    #[cfg(target_env = "gnu")]
    // SAFETY: mallopt(3) only changes a setting of the allocator, and no other thread exists yet
    // that could be allocating.
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, ARENAS);
    }
}

/// Gives memory back whenever things have become quiet. Never ends.
pub(crate) async fn trim_when_quiet(events: EventBus) {
    let mut events = events.subscribe(None);
    loop {
        match timeout(BETWEEN, events.next()).await {
            Ok(None) => return,
            Ok(Some(_)) => while timeout(QUIET, events.next()).await.is_ok() {},
            Err(_) => {}
        }
        trim();
    }
}

fn trim() {
    #[cfg(target_env = "gnu")]
    // SAFETY: malloc_trim(3) is thread-safe, takes the arenas' own locks, and touches only memory
    // that is free.
    unsafe {
        libc::malloc_trim(0);
    }
}
