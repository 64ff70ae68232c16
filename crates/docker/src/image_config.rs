//! The `Config` of an image.

use std::collections::BTreeMap;

use coracle_runtime::spec::{ContainerConfig, Empty, HealthConfig, StringOrList};
use serde::{Serialize, Serializer};

use crate::wire::is_default;

/// As a container's, in the same order. But where an image has no labels dockerd says `null`, and of a
/// container `{}`.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Shown<'a> {
    hostname: &'a str,
    domainname: &'a str,
    user: &'a str,
    attach_stdin: bool,
    attach_stdout: bool,
    attach_stderr: bool,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    exposed_ports: &'a BTreeMap<String, Empty>,
    tty: bool,
    open_stdin: bool,
    stdin_once: bool,
    env: &'a [String],
    cmd: &'a Option<StringOrList>,
    #[serde(skip_serializing_if = "Option::is_none")]
    healthcheck: &'a Option<HealthConfig>,
    #[serde(skip_serializing_if = "is_default")]
    args_escaped: bool,
    image: &'a str,
    volumes: Option<&'a BTreeMap<String, Empty>>,
    working_dir: &'a str,
    entrypoint: &'a Option<StringOrList>,
    #[serde(skip_serializing_if = "is_default")]
    network_disabled: bool,
    #[serde(skip_serializing_if = "str::is_empty")]
    mac_address: &'a str,
    on_build: Option<&'a [String]>,
    labels: Option<&'a BTreeMap<String, String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stop_signal: &'a Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stop_timeout: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    shell: &'a Option<Vec<String>>,
}

/// Writes it.
pub(crate) fn serialize<S: Serializer>(
    config: &ContainerConfig,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    Shown {
        hostname: &config.hostname,
        domainname: &config.domainname,
        user: &config.user,
        attach_stdin: config.attach_stdin,
        attach_stdout: config.attach_stdout,
        attach_stderr: config.attach_stderr,
        exposed_ports: &config.exposed_ports,
        tty: config.tty,
        open_stdin: config.open_stdin,
        stdin_once: config.stdin_once,
        env: &config.env,
        cmd: &config.cmd,
        healthcheck: &config.healthcheck,
        args_escaped: config.args_escaped,
        image: &config.image,
        volumes: Some(&config.volumes).filter(|map| !map.is_empty()),
        working_dir: &config.working_dir,
        entrypoint: &config.entrypoint,
        network_disabled: config.network_disabled,
        mac_address: &config.mac_address,
        on_build: Some(&*config.on_build).filter(|steps| !steps.is_empty()),
        labels: Some(&config.labels).filter(|map| !map.is_empty()),
        stop_signal: &config.stop_signal,
        stop_timeout: config.stop_timeout,
        shell: &config.shell,
    }
    .serialize(serializer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_labels_are_told_otherwise() {
        let json = r#"{"Hostname":"h","ExposedPorts":{"1/tcp":{}},"Env":["A=b"],"Cmd":["x"],
            "Healthcheck":{"Test":["CMD","x"]},"Volumes":{"/v":{}},"OnBuild":["RUN x"],
            "StopSignal":"9","StopTimeout":3,"Shell":["sh"],"MacAddress":"02:00:00:00:00:01"}"#;
        for json in ["{}", json] {
            let mut config: ContainerConfig = serde_json::from_str(json).unwrap();
            let shown = |config: &ContainerConfig| {
                let mut text = Vec::new();
                serialize(config, &mut serde_json::Serializer::new(&mut text)).unwrap();
                String::from_utf8(text).unwrap()
            };
            let plain = serde_json::to_string(&config).unwrap();
            assert_eq!(
                shown(&config),
                plain.replace("\"Labels\":{}", "\"Labels\":null")
            );
            config.labels.insert("a".into(), "b".into());
            assert_eq!(shown(&config), serde_json::to_string(&config).unwrap());
        }
    }
}
