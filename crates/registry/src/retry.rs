//! When to try again, and after how long.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::hash::Hasher;
use std::time::Duration;

use http::HeaderMap;
use http::header::RETRY_AFTER;

use crate::error::Error;

/// How often and how patiently transient failures are tried again.
#[derive(Debug, Clone)]
pub struct RetryPolicy {
    /// Tries in a row without any progress, the first one included. At least 1.
    pub attempts: u32,
    /// The wait before the second try; it doubles with each further one.
    pub base: Duration,
    /// The longest wait. A registry that asks for more is not asked again.
    pub longest: Duration,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            attempts: 5,
            base: Duration::from_millis(500),
            longest: Duration::from_secs(60),
        }
    }
}

impl RetryPolicy {
    /// One try only.
    pub fn never() -> Self {
        Self {
            attempts: 1,
            ..Self::default()
        }
    }

    /// The wait after try number `attempt` (from 1) failed with `error`; `None`: give up.
    pub(crate) fn wait(&self, attempt: u32, error: &Error) -> Option<Duration> {
        if attempt >= self.attempts || !error.is_transient() {
            return None;
        }
        if let Some(asked) = error.retry_after() {
            return (asked <= self.longest).then_some(asked);
        }
        let doubled = self
            .base
            .saturating_mul(1 << (attempt.saturating_sub(1)).min(16));
        Some(jitter(doubled.min(self.longest)))
    }
}

/// Something between half and all of `full`, so that clients who failed together come back apart.
fn jitter(full: Duration) -> Duration {
    let random = RandomState::new().build_hasher().finish() % 512;
    full.mul_f64(0.5 + random as f64 / 1024.0)
}

/// `Retry-After` in seconds (RFC 9110 section 10.2.3). Dates are not honoured: they would need
/// both clocks to agree.
pub(crate) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds: u32 = headers
        .get(RETRY_AFTER)?
        .to_str()
        .ok()?
        .trim()
        .parse()
        .ok()?;
    Some(Duration::from_secs(seconds.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lost() -> Error {
        Error::Disconnected {
            host: "h".into(),
            reason: "r".into(),
        }
    }

    #[test]
    fn waits_grow_and_end() {
        let policy = RetryPolicy {
            attempts: 4,
            ..RetryPolicy::default()
        };
        for (attempt, full) in [(1, 500), (2, 1000), (3, 2000)] {
            let wait = policy.wait(attempt, &lost()).unwrap().as_millis();
            assert!(wait >= full / 2 && wait <= full, "{wait}");
        }
        assert_eq!(policy.wait(4, &lost()), None);
        assert_eq!(policy.wait(1, &Error::config("x")), None);
        let asked = Error::RateLimited {
            reason: String::new(),
            retry_after: Some(Duration::from_secs(7)),
        };
        assert_eq!(policy.wait(1, &asked), Some(Duration::from_secs(7)));
        let impatient = RetryPolicy {
            longest: Duration::from_secs(6),
            ..policy
        };
        assert_eq!(impatient.wait(1, &asked), None);
    }

    #[test]
    fn retry_after_is_bounded_seconds() {
        let mut headers = HeaderMap::new();
        assert_eq!(retry_after(&headers), None);
        for (text, seconds) in [
            ("3", Some(3)),
            ("-1", None),
            ("99999999999", None),
            ("soon", None),
        ] {
            headers.insert(RETRY_AFTER, text.parse().unwrap());
            assert_eq!(
                retry_after(&headers),
                seconds.map(Duration::from_secs),
                "{text}"
            );
        }
    }
}
