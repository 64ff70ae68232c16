//! Docker's checks of what a container is asked to be, with its texts.

use coracle_runtime::spec::{ContainerConfig, HealthConfig, HostConfig, NetworkingConfig};

use crate::error::{Answer, ApiError};

/// A container's name.
pub(crate) fn name(name: &str) -> Answer<()> {
    let mut bytes = name.bytes();
    let first = bytes.next().is_some_and(|b| b.is_ascii_alphanumeric());
    let rest = name.len() >= 2
        && bytes.all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'));
    if first && rest {
        return Ok(());
    }
    Err(ApiError::bad_request(format!(
        "Invalid container name ({name}), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed"
    )))
}

/// A restart policy.
pub(crate) fn restart_policy(host: &HostConfig) -> Answer<()> {
    let policy = &host.restart_policy;
    let retries = policy.maximum_retry_count;
    match policy.name.as_str() {
        "always" | "unless-stopped" | "no" if retries != 0 => {
            let mut text = "invalid restart policy: maximum retry count can only be used with \
                            'on-failure'"
                .to_owned();
            if retries < 0 {
                text.push_str(" and cannot be negative");
            }
            Err(ApiError::bad_request(text))
        }
        "on-failure" if retries < 0 => Err(ApiError::bad_request(
            "invalid restart policy: maximum retry count cannot be negative",
        )),
        "" | "no" | "always" | "unless-stopped" | "on-failure" => Ok(()),
        other => Err(ApiError::bad_request(format!(
            "invalid restart policy: unknown policy '{other}'; use one of 'no', 'always', \
             'on-failure', or 'unless-stopped'"
        ))),
    }
}

/// The MAC addresses of endpoints.
pub(crate) fn networking(networking: &NetworkingConfig) -> Answer<()> {
    let octet = |part: &str| part.len() == 2 && part.bytes().all(|b| b.is_ascii_hexdigit());
    for (network, endpoint) in &networking.endpoints_config {
        let mac = &endpoint.mac_address;
        let octets: Vec<_> = mac.split([':', '-']).collect();
        if !mac.is_empty() && (octets.len() != 6 || !octets.into_iter().all(octet)) {
            return Err(ApiError::bad_request(format!(
                "invalid config for network {network}: invalid MAC address {mac}"
            )));
        }
    }
    Ok(())
}

/// Everything else that can be told without the image and the host.
pub(crate) fn create(config: &ContainerConfig, host: &HostConfig) -> Answer<()> {
    for variable in &config.env {
        if variable.is_empty() || variable.starts_with('=') {
            return Err(ApiError::bad_request(format!(
                "invalid environment variable: {variable}"
            )));
        }
    }
    if let Some(health) = &config.healthcheck {
        healthcheck(health)?;
    }
    if !config.working_dir.is_empty() && !config.working_dir.starts_with('/') {
        return Err(ApiError::bad_request(format!(
            "the working directory '{}' is invalid, it needs to be an absolute path",
            config.working_dir
        )));
    }
    if host.auto_remove && !matches!(host.restart_policy.name.as_str(), "" | "no") {
        return Err(ApiError::bad_request(
            "can't create 'AutoRemove' container with restart policy",
        ));
    }
    if host.annotations.contains_key("") {
        return Err(ApiError::bad_request(
            "invalid Annotations: the empty string is not permitted as an annotation key",
        ));
    }
    if host.shm_size < 0 {
        return Err(ApiError::bad_request("SHM size can not be less than 0"));
    }
    restart_policy(host)?;
    ports(config, host)
}

fn healthcheck(health: &HealthConfig) -> Answer<()> {
    const MILLISECOND: i64 = 1_000_000;
    let at_least = |name: &str, value: i64| {
        if value != 0 && value < MILLISECOND {
            return Err(ApiError::bad_request(format!(
                "{name} in Healthcheck cannot be less than 1ms"
            )));
        }
        Ok(())
    };
    at_least("Interval", health.interval)?;
    at_least("Timeout", health.timeout)?;
    if health.retries < 0 {
        return Err(ApiError::bad_request(
            "Retries in Healthcheck cannot be negative",
        ));
    }
    at_least("StartPeriod", health.start_period)?;
    at_least("StartInterval", health.start_interval)
}

fn ports(config: &ContainerConfig, host: &HostConfig) -> Answer<()> {
    for port in config.exposed_ports.keys() {
        exposed(port)?;
    }
    for (port, bindings) in &host.port_bindings {
        exposed(port)?;
        for binding in bindings.as_deref().unwrap_or_default() {
            if !binding.host_port.is_empty() && range(&binding.host_port).is_none() {
                return Err(ApiError::bad_request(format!(
                    "invalid port specification: {:?}",
                    binding.host_port
                )));
            }
        }
    }
    Ok(())
}

/// A port or range with a protocol.
fn exposed(port: &str) -> Answer<()> {
    let (numbers, protocol) = port.split_once('/').unwrap_or((port, "tcp"));
    if range(numbers).is_none() {
        return Err(ApiError::bad_request(format!(
            "invalid port specification: {port:?}"
        )));
    }
    if !matches!(protocol, "tcp" | "udp" | "sctp") {
        return Err(ApiError::bad_request(format!(
            "invalid port specification: {port:?}: invalid proto: {protocol}"
        )));
    }
    Ok(())
}

fn range(text: &str) -> Option<(u16, u16)> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last) = (first.parse().ok()?, last.parse().ok()?);
    (first <= last).then_some((first, last))
}

#[cfg(test)]
mod tests {
    use coracle_runtime::spec::RestartPolicy;

    use super::*;

    #[test]
    fn names() {
        for good in ["ab", "a.b-c_d", "0x"] {
            name(good).unwrap();
        }
        for bad in ["", "a", "-ab", "a/b", "a b", "äb"] {
            assert_eq!(
                name(bad).unwrap_err().to_string(),
                format!(
                    "Invalid container name ({bad}), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed"
                )
            );
        }
    }

    #[test]
    fn restart_policies() {
        let check = |name: &str, maximum_retry_count| {
            restart_policy(&HostConfig {
                restart_policy: RestartPolicy {
                    name: name.to_owned(),
                    maximum_retry_count,
                },
                ..HostConfig::default()
            })
            .map_err(|error| error.message)
        };
        assert_eq!(check("on-failure", 3), Ok(()));
        assert_eq!(check("", 0), Ok(()));
        assert!(check("always", 1).is_err());
        assert!(check("on-failure", -1).is_err());
        assert!(
            check("sometimes", 0)
                .unwrap_err()
                .contains("unknown policy 'sometimes'")
        );
    }

    #[test]
    fn mac_addresses() {
        let check = |mac: &str| {
            let json = serde_json::json!({"EndpointsConfig": {"n": {"MacAddress": mac}}});
            networking(&serde_json::from_value(json).unwrap())
        };
        for good in ["", "02:00:00:00:00:0a", "02-00-00-00-00-0A"] {
            check(good).unwrap();
        }
        for bad in [
            "zz",
            "02:00:00:00:00",
            "02:00:00:00:00:+1",
            "0200.0000.0001",
        ] {
            assert!(check(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn settings() {
        let default = ContainerConfig::default();
        let config = |json: &str| serde_json::from_str::<ContainerConfig>(json).unwrap();
        let host = |json: &str| serde_json::from_str::<HostConfig>(json).unwrap();
        create(&default, &HostConfig::default()).unwrap();
        create(
            &config(r#"{"ExposedPorts":{"80-90/udp":{}}}"#),
            &HostConfig::default(),
        )
        .unwrap();
        for bad in [
            r#"{"Env":["=x"]}"#,
            r#"{"WorkingDir":"tmp"}"#,
            r#"{"ExposedPorts":{"99999/tcp":{}}}"#,
            r#"{"ExposedPorts":{"80/icmp":{}}}"#,
            r#"{"Healthcheck":{"Interval":5}}"#,
        ] {
            assert!(
                create(&config(bad), &HostConfig::default()).is_err(),
                "{bad}"
            );
        }
        for bad in [
            r#"{"ShmSize":-1}"#,
            r#"{"AutoRemove":true,"RestartPolicy":{"Name":"always"}}"#,
            r#"{"PortBindings":{"80/tcp":[{"HostPort":"x"}]}}"#,
        ] {
            assert!(create(&default, &host(bad)).is_err(), "{bad}");
        }
    }
}
