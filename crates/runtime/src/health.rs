//! Health checks: what a configuration means, and what outcomes make of a container's health.

use std::time::Duration;

use crate::container::{Health, HealthResult, HealthStatus};
use crate::spec::HealthConfig;

const INTERVAL: Duration = Duration::from_secs(30);
const TIMEOUT: Duration = Duration::from_secs(30);
const START_INTERVAL: Duration = Duration::from_secs(5);
const RETRIES: u32 = 3;
/// Checks that are remembered.
const KEPT: usize = 5;
/// Bytes of output that are remembered of each.
pub const MAX_OUTPUT: usize = 4096;

/// A container's checks, with the defaults filled in.
#[derive(Clone, Debug)]
pub struct Checks {
    /// What is executed.
    pub command: Vec<String>,
    /// From the end of a check to the next.
    pub interval: Duration,
    /// How long one may take.
    pub timeout: Duration,
    /// After the start, in which failures don't count.
    pub start_period: Duration,
    /// The pause in that time.
    pub start_interval: Duration,
    /// Failures in a row before it is unhealthy.
    pub retries: u32,
}

impl Checks {
    /// `None` where there are none, or they are turned off.
    pub fn of(config: &HealthConfig, shell: Option<&[String]>) -> Option<Self> {
        let (kind, rest) = config.test.split_first()?;
        let command = match kind.as_str() {
            "CMD" => rest.to_vec(),
            "CMD-SHELL" => {
                let default = ["/bin/sh".to_owned(), "-c".to_owned()];
                let mut line = shell.unwrap_or(&default).to_vec();
                line.extend(rest.first().cloned());
                line
            }
            _ => return None,
        };
        let or = |nanos: i64, default: Duration| match u64::try_from(nanos) {
            Ok(nanos) if nanos > 0 => Duration::from_nanos(nanos),
            _ => default,
        };
        Some(Self {
            command,
            interval: or(config.interval, INTERVAL),
            timeout: or(config.timeout, TIMEOUT),
            start_period: or(config.start_period, Duration::ZERO),
            start_interval: or(config.start_interval, START_INTERVAL),
            retries: u32::try_from(config.retries)
                .ok()
                .filter(|n| *n > 0)
                .unwrap_or(RETRIES),
        })
    }

    /// Takes the outcome of a check into the health of a run that began so long ago.
    pub fn judge(&self, health: &mut Health, result: HealthResult, age: Duration) {
        self.weigh(health, result.exit_code, age);
        health.log.push(result);
        let surplus = health.log.len().saturating_sub(KEPT);
        health.log.drain(..surplus);
    }

    fn weigh(&self, health: &mut Health, exit_code: i32, age: Duration) {
        if exit_code == 0 {
            health.failing_streak = 0;
            health.status = HealthStatus::Healthy;
            return;
        }
        // Failures in the start period do not count, until the first success.
        if health.status == HealthStatus::Starting && age < self.start_period {
            return;
        }
        health.failing_streak = health.failing_streak.saturating_add(1);
        if health.failing_streak >= self.retries {
            health.status = HealthStatus::Unhealthy;
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn checks(json: &str) -> Option<Checks> {
        Checks::of(&serde_json::from_str(json).unwrap(), None)
    }

    fn result(exit_code: i32) -> HealthResult {
        HealthResult {
            exit_code,
            ..Default::default()
        }
    }

    #[test]
    fn commands_and_defaults() {
        assert!(checks(r#"{"Test":["NONE"]}"#).is_none());
        assert!(checks(r#"{"Test":[]}"#).is_none());
        let shell = checks(r#"{"Test":["CMD-SHELL","a b"],"Retries":0}"#).unwrap();
        assert_eq!(shell.command, ["/bin/sh", "-c", "a b"]);
        assert_eq!((shell.interval, shell.retries), (INTERVAL, RETRIES));
        assert_eq!(
            checks(r#"{"Test":["CMD","a","b"]}"#).unwrap().command,
            ["a", "b"]
        );
    }

    #[test]
    fn unhealthy_after_so_many_failures_and_healthy_after_one_success() {
        let checks =
            checks(r#"{"Test":["CMD","x"],"Retries":2,"StartPeriod":1000000000}"#).unwrap();
        let mut health = Health::default();
        checks.judge(&mut health, result(1), Duration::from_millis(500));
        assert_eq!(
            (health.status, health.failing_streak),
            (HealthStatus::Starting, 0)
        );
        let late = Duration::from_secs(2);
        checks.judge(&mut health, result(1), late);
        assert_eq!(health.status, HealthStatus::Starting);
        checks.judge(&mut health, result(1), late);
        assert_eq!(health.status, HealthStatus::Unhealthy);
        checks.judge(&mut health, result(0), late);
        assert_eq!(
            (health.status, health.failing_streak),
            (HealthStatus::Healthy, 0)
        );
    }
}
