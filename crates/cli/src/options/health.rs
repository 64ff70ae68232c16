//! Health checks.

use clap::Args;
use coracle_docker::container::CreateBody;
use coracle_runtime::spec::HealthConfig;

use super::units;
use crate::error::{Error, Result};

#[derive(Args, Debug)]
#[command(next_help_heading = "Health")]
pub(super) struct HealthOptions {
    /// Command that checks health
    #[arg(long, value_name = "COMMAND")]
    health_cmd: Option<String>,
    /// Time between two checks
    #[arg(long, value_name = "DURATION")]
    health_interval: Option<String>,
    /// Time for one check
    #[arg(long, value_name = "DURATION")]
    health_timeout: Option<String>,
    /// Failures in a row before it counts as unhealthy
    #[arg(long, value_name = "NUMBER")]
    health_retries: Option<i64>,
    /// Time after the start in which failures do not count
    #[arg(long, value_name = "DURATION")]
    health_start_period: Option<String>,
    /// Time between two checks within that
    #[arg(long, value_name = "DURATION")]
    health_start_interval: Option<String>,
    /// No health checks, not the image's either
    #[arg(long)]
    no_healthcheck: bool,
}

impl HealthOptions {
    pub(super) fn apply(&self, body: &mut CreateBody) -> Result<()> {
        let time = |option: &str, given: &Option<String>| {
            let Some(text) = given else { return Ok(0) };
            match units::duration(text) {
                Ok(time) if time < 0 => Err(Error::option(option, text, "cannot be negative")),
                Ok(time) => Ok(time),
                Err(why) => Err(Error::option(option, text, why)),
            }
        };
        let retries = self.health_retries.unwrap_or_default();
        if retries < 0 {
            let text = retries.to_string();
            return Err(Error::option(
                "--health-retries",
                &text,
                "cannot be negative",
            ));
        }
        let health = HealthConfig {
            test: match self.health_cmd.as_deref() {
                None | Some("") => Vec::new(),
                Some(command) => vec!["CMD-SHELL".to_owned(), command.to_owned()],
            },
            interval: time("--health-interval", &self.health_interval)?,
            timeout: time("--health-timeout", &self.health_timeout)?,
            retries,
            start_period: time("--health-start-period", &self.health_start_period)?,
            start_interval: time("--health-start-interval", &self.health_start_interval)?,
        };
        let given = health != HealthConfig::default();
        if self.no_healthcheck {
            if given {
                return Err(Error::usage(
                    "--no-healthcheck conflicts with --health-* options",
                ));
            }
            body.config.healthcheck = Some(HealthConfig {
                test: vec!["NONE".to_owned()],
                ..HealthConfig::default()
            });
        } else if given {
            body.config.healthcheck = Some(health);
        }
        Ok(())
    }
}
