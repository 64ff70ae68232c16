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
/// Bytes from which a buffer is mapped by itself, and unmapped as soon as it is freed. Left to itself the
/// library raises this to 32 MiB when a kernel or an initial RAM disk was read whole, and keeps twice that.
#[cfg(target_env = "gnu")]
const LARGE: libc::c_int = 1 << 20;
/// Time without an event after which memory is given back.
const QUIET: Duration = Duration::from_secs(5);
/// Requests that change nothing make no event, and free memory all the same: so often it is given back
/// without one.
const BETWEEN: Duration = Duration::from_secs(60);

/// To be called before there is a second thread.
pub(crate) fn keep_little() {
    #[cfg(target_env = "gnu")]
    for (setting, value) in [
        (libc::M_ARENA_MAX, ARENAS),
        (libc::M_MMAP_THRESHOLD, LARGE),
        (libc::M_TRIM_THRESHOLD, LARGE),
    ] {
        // SAFETY: mallopt(3) only changes a setting of the allocator, and no other thread exists yet
        // that could be allocating.
        unsafe { libc::mallopt(setting, value) };
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
