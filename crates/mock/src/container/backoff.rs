//! Restart policies, with Docker's back-off.

use std::time::Duration;

use coracle_runtime::spec::RestartPolicy;

/// The first pause before a restart; each further one is twice as long.
const FIRST: Duration = Duration::from_millis(100);
/// The longest pause.
const LONGEST: Duration = Duration::from_secs(60);
/// A run of this length makes the next pause the first again.
const STABLE: Duration = Duration::from_secs(10);

/// How long to wait before the next restart.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Backoff {
    previous: Option<Duration>,
}

impl Backoff {
    /// The next pause, after a run of this length.
    pub(crate) fn next(&mut self, ran: Duration) -> Duration {
        let pause = match self.previous {
            Some(previous) if ran < STABLE => (previous * 2).min(LONGEST),
            _ => FIRST,
        };
        self.previous = Some(pause);
        pause
    }
}

/// Whether the policy starts a container again that ended with this code, and was started again so
/// often since the user's start.
pub(crate) fn wanted(policy: &RestartPolicy, code: i32, restarts: u32, stopped: bool) -> bool {
    if stopped {
        return false;
    }
    match policy.name.as_str() {
        "always" | "unless-stopped" => true,
        "on-failure" => {
            let most = policy.maximum_retry_count;
            code != 0 && (most <= 0 || i64::from(restarts) < most)
        }
        _ => false,
    }
}
