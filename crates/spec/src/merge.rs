//! An image's defaults under a container's own configuration, by Docker's rules.

use coracle_oci::ImageConfig;
use coracle_runtime::spec::{ContainerConfig, Empty, HealthConfig, StringOrList};

use crate::SpecError;

/// Fills what the user left open from the image.
pub fn merge(user: &ContainerConfig, image: &ImageConfig) -> ContainerConfig {
    let base = &image.config;
    let mut merged = user.clone();
    if merged.user.is_empty() {
        merged.user.clone_from(&base.user);
    }
    for port in base.exposed_ports.keys() {
        merged.exposed_ports.entry(port.clone()).or_insert(Empty {});
    }
    for path in base.volumes.keys() {
        merged.volumes.entry(path.clone()).or_insert(Empty {});
    }
    merged.env = merge_env(&base.env, &user.env);
    for (key, value) in &base.labels {
        merged
            .labels
            .entry(key.clone())
            .or_insert_with(|| value.clone());
    }
    // A new entry point makes the image's arguments meaningless (Docker's rule).
    let has_entrypoint = merged
        .entrypoint
        .as_ref()
        .is_some_and(|list| !list.0.is_empty());
    if !has_entrypoint {
        if merged.cmd.as_ref().is_none_or(|cmd| cmd.0.is_empty()) {
            merged.cmd = base.cmd.clone().map(StringOrList);
        }
        if merged.entrypoint.is_none() {
            merged.entrypoint = base.entrypoint.clone().map(StringOrList);
        }
    }
    if merged.working_dir.is_empty() {
        merged.working_dir.clone_from(&base.working_dir);
    }
    if merged.stop_signal.as_ref().is_none_or(String::is_empty) {
        merged.stop_signal = base.stop_signal.clone().filter(|signal| !signal.is_empty());
    }
    merged.healthcheck = merge_health(user.healthcheck.as_ref(), image);
    if merged.shell.is_none() {
        merged.shell = base.shell.clone();
    }
    merged
}

fn merge_health(user: Option<&HealthConfig>, image: &ImageConfig) -> Option<HealthConfig> {
    let base = image.config.healthcheck.as_ref().map(|check| HealthConfig {
        test: check.test.clone(),
        interval: check.interval,
        timeout: check.timeout,
        retries: check.retries,
        start_period: check.start_period,
        start_interval: check.start_interval,
    });
    match (user, base) {
        (None, base) => base,
        (Some(user), None) => Some(user.clone()),
        (Some(user), Some(base)) => {
            let pick = |user: i64, base: i64| if user == 0 { base } else { user };
            Some(HealthConfig {
                test: if user.test.is_empty() {
                    base.test
                } else {
                    user.test.clone()
                },
                interval: pick(user.interval, base.interval),
                timeout: pick(user.timeout, base.timeout),
                retries: pick(user.retries, base.retries),
                start_period: pick(user.start_period, base.start_period),
                start_interval: pick(user.start_interval, base.start_interval),
            })
        }
    }
}

/// The image's variables, replaced and followed by the user's. A name without `=` stays in the
/// configuration as Docker keeps it; it takes the variable away when the process starts.
fn merge_env(base: &[String], user: &[String]) -> Vec<String> {
    let name = |entry: &str| entry.split('=').next().unwrap_or_default().to_owned();
    let mut merged = user.to_vec();
    for entry in base {
        if !user.iter().any(|own| name(own) == name(entry)) {
            merged.push(entry.clone());
        }
    }
    merged
}

/// The command line: the entry point, then the arguments.
pub fn command(config: &ContainerConfig) -> Result<Vec<String>, SpecError> {
    let entrypoint = config
        .entrypoint
        .as_ref()
        .map(|list| list.0.as_slice())
        .unwrap_or_default();
    // `--entrypoint ""` arrives as one empty string and means none.
    let entrypoint = if entrypoint == [""] { &[] } else { entrypoint };
    let cmd = config
        .cmd
        .as_ref()
        .map(|list| list.0.as_slice())
        .unwrap_or_default();
    let line: Vec<String> = entrypoint.iter().chain(cmd).cloned().collect();
    if line.is_empty() {
        return Err(SpecError::NoCommand);
    }
    Ok(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(json: &str) -> ImageConfig {
        serde_json::from_str(json).unwrap()
    }

    fn list(items: &[&str]) -> Option<StringOrList> {
        Some(StringOrList(
            items.iter().map(|item| (*item).to_owned()).collect(),
        ))
    }

    const IMAGE: &str = r#"{"rootfs":{"type":"layers"},"config":{"Entrypoint":["/init"],"Cmd":["serve"],
        "Env":["PATH=/bin","A=1"],"WorkingDir":"/srv","Labels":{"a":"1","b":"2"}}}"#;

    #[test]
    fn commands_follow_dockers_table() {
        let image = image(IMAGE);
        let line = |entrypoint, cmd| {
            let user = ContainerConfig {
                entrypoint,
                cmd,
                ..Default::default()
            };
            command(&merge(&user, &image)).unwrap()
        };
        assert_eq!(line(None, None), ["/init", "serve"]);
        assert_eq!(line(None, list(&["x"])), ["/init", "x"]);
        assert_eq!(line(list(&["/own"]), None), ["/own"]);
        assert_eq!(line(list(&["/own"]), list(&["x"])), ["/own", "x"]);
        assert_eq!(line(list(&[""]), list(&["sh"])), ["sh"]);
    }

    #[test]
    fn the_users_variables_win() {
        let user = ContainerConfig {
            env: vec!["A=2".into(), "B=3".into()],
            ..Default::default()
        };
        assert_eq!(merge(&user, &image(IMAGE)).env, ["A=2", "B=3", "PATH=/bin"]);
    }

    #[test]
    fn nothing_to_run_is_an_error() {
        assert!(matches!(
            command(&ContainerConfig::default()),
            Err(SpecError::NoCommand)
        ));
    }
}
