//! Restart policies, with Docker's back-off.

use std::time::Duration;

use crate::spec::RestartPolicy;

/// The first pause before a restart; each further one is twice as long.
const FIRST: Duration = Duration::from_millis(100);
/// The longest pause.
const LONGEST: Duration = Duration::from_secs(60);
/// A run of this length makes the next pause the first again.
const STABLE: Duration = Duration::from_secs(10);

/// How long to wait before the next restart.
#[derive(Clone, Copy, Debug, Default)]
pub struct Backoff {
    previous: Option<Duration>,
}

impl Backoff {
    /// The next pause, after a run of this length.
    pub fn next(&mut self, ran: Duration) -> Duration {
        let pause = match self.previous {
            Some(previous) if ran < STABLE => (previous * 2).min(LONGEST),
            _ => FIRST,
        };
        self.previous = Some(pause);
        pause
    }
}

/// Whether the policy starts a container again that ended with this code.
///
/// `restarts` is how often it did so since the user's start; `stopped` whether the user ended it.
pub fn wanted(policy: &RestartPolicy, code: i32, restarts: u32, stopped: bool) -> bool {
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

/// Whether the policy starts a container that does not run when the daemon starts.
pub fn wanted_at_boot(
    policy: &RestartPolicy,
    code: i32,
    restarts: u32,
    stopped: bool,
    ever_started: bool,
) -> bool {
    match policy.name.as_str() {
        // Even one that the user had stopped: that is what sets it apart from `unless-stopped`.
        "always" => ever_started,
        _ => ever_started && wanted(policy, code, restarts, stopped),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn policy(name: &str, most: i64) -> RestartPolicy {
        RestartPolicy {
            name: name.into(),
            maximum_retry_count: most,
        }
    }

    #[test]
    fn policies_are_dockers() {
        assert!(!wanted(&policy("", 0), 1, 0, false));
        assert!(!wanted(&policy("no", 0), 1, 0, false));
        assert!(wanted(&policy("always", 0), 0, 9, false));
        assert!(!wanted(&policy("always", 0), 0, 9, true));
        assert!(wanted(&policy("on-failure", 0), 1, 1000, false));
        assert!(!wanted(&policy("on-failure", 0), 0, 0, false));
        assert!(wanted(&policy("on-failure", 3), 1, 2, false));
        assert!(!wanted(&policy("on-failure", 3), 1, 3, false));
        assert!(wanted_at_boot(&policy("always", 0), 0, 0, true, true));
        assert!(!wanted_at_boot(&policy("always", 0), 0, 0, false, false));
        assert!(!wanted_at_boot(
            &policy("unless-stopped", 0),
            0,
            0,
            true,
            true
        ));
    }

    #[test]
    fn the_pause_doubles_up_to_a_minute_and_a_long_run_resets_it() {
        let mut backoff = Backoff::default();
        let short = Duration::from_secs(1);
        let pauses: Vec<_> = (0..12).map(|_| backoff.next(short).as_millis()).collect();
        assert_eq!(pauses[..4], [100, 200, 400, 800]);
        assert_eq!(pauses[11], 60_000);
        assert_eq!(backoff.next(Duration::from_secs(10)), FIRST);
    }
}
