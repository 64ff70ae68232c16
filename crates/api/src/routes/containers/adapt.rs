//! What a container is asked to be, by the version that asks: Docker's rules before the runtime's.

use std::collections::BTreeMap;

use coracle_docker::container::CreateBody;
use coracle_runtime::spec::{ContainerSpec, EndpointSettings, HostConfig, Mount, NetworkingConfig};

use crate::error::{Answer, ApiError};
use crate::version::ApiVersion;

const SYSCTLS: &str = "com.docker.network.endpoint.sysctls";

/// Applies what depends on the version: what is not known yet is left out, what is known no more is
/// moved to where it belongs now. Gives warnings.
pub(super) fn adapt(body: CreateBody, version: ApiVersion) -> Answer<(ContainerSpec, Vec<String>)> {
    let CreateBody {
        mut config,
        host_config: mut host,
        networking_config: mut networking,
    } = body;
    default_network(&mut host, &mut networking);
    if version.before(25) {
        host.auto_remove = false;
    }
    if version.before(40) {
        host.kernel_memory_tcp = 0;
        if host.ipc_mode.is_empty() {
            host.ipc_mode = "shareable".to_owned();
        }
    }
    if version.before(42) {
        host.console_size = None;
    } else {
        host.kernel_memory = 0;
    }
    if version.before(43) {
        host.annotations.clear();
    }
    if version.before(44) {
        if let Some(health) = &mut config.healthcheck {
            health.start_interval = 0;
        }
        if networking.endpoints_config.len() > 1 {
            let names: Vec<_> = networking.endpoints_config.keys().cloned().collect();
            return Err(ApiError::bad_request(format!(
                "Container cannot be created with multiple network endpoints: {}",
                names.join(", ")
            )));
        }
    }
    // -1 means that nothing is asked for.
    host.memory_swappiness = host
        .memory_swappiness
        .filter(|swappiness| *swappiness != -1);
    for mount in &mut host.mounts {
        adapt_mount(mount, version)?;
    }
    let mut warnings = Vec::new();
    let mac = std::mem::take(&mut config.mac_address);
    warnings.extend(mac_address(mac, &host, &mut networking, version)?);
    warnings.extend(sysctls(&mut host, &mut networking, version)?);
    host.pids_limit = host.pids_limit.filter(|limit| *limit > 0);
    let spec = ContainerSpec {
        config,
        host,
        networking,
        ..ContainerSpec::default()
    };
    Ok((spec, warnings))
}

/// `default` is the bridge.
fn default_network(host: &mut HostConfig, networking: &mut NetworkingConfig) {
    if matches!(host.network_mode.as_str(), "" | "default") {
        host.network_mode = "bridge".to_owned();
        if let Some(endpoint) = networking.endpoints_config.remove("default") {
            networking
                .endpoints_config
                .insert("bridge".to_owned(), endpoint);
        }
    }
}

fn adapt_mount(mount: &mut Mount, version: ApiVersion) -> Answer<()> {
    if let Some(bind) = &mut mount.bind_options {
        if version.before(40) {
            bind.non_recursive = false;
        }
        if version.before(42) {
            bind.create_mountpoint = false;
        }
        if version.before(44) {
            if bind.read_only_force_recursive {
                return Err(ApiError::bad_request(
                    "BindOptions.ReadOnlyForceRecursive needs API v1.44 or newer",
                ));
            }
            bind.read_only_non_recursive = true;
        }
    }
    if version.before(45)
        && mount
            .volume_options
            .as_ref()
            .is_some_and(|volume| !volume.subpath.is_empty())
    {
        return Err(ApiError::bad_request(
            "VolumeOptions.Subpath needs API v1.45 or newer",
        ));
    }
    let kind = mount.kind.clone();
    let misplaced = |options: &str, of: &str| {
        if version.since(42) && kind != of {
            return Err(ApiError::bad_request(format!(
                "{options} must not be specified on mount type {kind:?}"
            )));
        }
        Ok(kind != of)
    };
    if mount.volume_options.is_some() && misplaced("VolumeOptions", "volume")? {
        mount.volume_options = None;
    }
    if mount.bind_options.is_some() && version.since(42) {
        misplaced("BindOptions", "bind")?;
    }
    if mount.tmpfs_options.is_some() && misplaced("TmpfsOptions", "tmpfs")? {
        mount.tmpfs_options = None;
    }
    Ok(())
}

fn has_own_network(mode: &str) -> bool {
    !matches!(mode, "host" | "none") && !mode.starts_with("container:")
}

/// The MAC address of the container as a whole belongs to its main network's endpoint since 1.44.
fn mac_address(
    mac: String,
    host: &HostConfig,
    networking: &mut NetworkingConfig,
    version: ApiVersion,
) -> Answer<Option<String>> {
    let mode = &host.network_mode;
    if version.before(44) {
        if mac.is_empty() {
            for endpoint in networking.endpoints_config.values_mut() {
                endpoint.mac_address.clear();
            }
        } else if has_own_network(mode) {
            main_endpoint(mode, networking, version)?.mac_address = mac;
        } else {
            return Err(ApiError::bad_request(
                "conflicting options: mac-address and the network mode",
            ));
        }
        return Ok(None);
    }
    if mac.is_empty() {
        return Ok(None);
    }
    if has_own_network(mode) {
        let endpoint = main_endpoint(mode, networking, version)?;
        if endpoint.mac_address.is_empty() {
            endpoint.mac_address = mac;
        } else if endpoint.mac_address != mac {
            return Err(ApiError::bad_request(
                "the container-wide MAC address must match the endpoint-specific MAC address for \
                 the main network, or be left empty",
            ));
        }
    }
    Ok(Some(
        "The container-wide MacAddress field is now deprecated. It should be specified in \
         EndpointsConfig instead."
            .to_owned(),
    ))
}

/// The endpoint on the network that the network mode names; made where there is none at all.
fn main_endpoint<'a>(
    mode: &str,
    networking: &'a mut NetworkingConfig,
    version: ApiVersion,
) -> Answer<&'a mut EndpointSettings> {
    let endpoints: &mut BTreeMap<_, _> = &mut networking.endpoints_config;
    let key = match endpoints.keys().next() {
        None => mode.to_owned(),
        Some(only) if version.before(44) => only.clone(),
        Some(_) if endpoints.contains_key(mode) => mode.to_owned(),
        Some(_) => {
            return Err(ApiError::bad_request(
                "HostConfig.NetworkMode must match the identity of a network in \
                 NetworkSettings.Networks",
            ));
        }
    };
    Ok(endpoints.entry(key).or_default())
}

/// Sysctls of an interface are set by its endpoint, since the interface comes late. Until 1.46 those
/// of `eth0` were taken anyway, and are moved.
fn sysctls(
    host: &mut HostConfig,
    networking: &mut NetworkingConfig,
    version: ApiVersion,
) -> Answer<Option<String>> {
    if !has_own_network(&host.network_mode) {
        return Ok(None);
    }
    let mut moved = Vec::new();
    let mut settings = Vec::new();
    for (key, value) in &host.sysctls {
        let parts: Vec<&str> = key.splitn(5, '.').collect();
        let &["net", family, scope, interface, setting] = parts.as_slice() else {
            continue;
        };
        if !interface.starts_with("eth") {
            continue;
        }
        if version.since(47) {
            return Err(ApiError::bad_request(format!(
                "interface specific sysctl setting {key:?} must be supplied using driver option \
                 '{SYSCTLS}'"
            )));
        }
        if interface != "eth0" {
            return Err(ApiError::bad_request(format!(
                "unable to determine network endpoint for sysctl {key}, use driver option \
                 '{SYSCTLS}' to set per-interface sysctls"
            )));
        }
        moved.push(key.clone());
        settings.push(format!("net.{family}.{scope}.IFNAME.{setting}={value}"));
    }
    if moved.is_empty() {
        return Ok(None);
    }
    let mut option = settings.join(",");
    let warning = format!(
        "Migrated sysctl {:?} to DriverOpts{{{SYSCTLS:?}:{option:?}}}.",
        moved.join(",")
    );
    let endpoint = main_endpoint(&host.network_mode, networking, version)?;
    let options = endpoint.driver_opts.get_or_insert_default();
    if let Some(given) = options.get(SYSCTLS) {
        option = format!("{option},{given}");
    }
    options.insert(SYSCTLS.to_owned(), option);
    for key in &moved {
        host.sysctls.remove(key);
    }
    Ok(Some(warning))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(minor: u32) -> ApiVersion {
        crate::version::split(&format!("/v1.{minor}/")).unwrap().0
    }

    fn run(json: &str, minor: u32) -> Answer<(ContainerSpec, Vec<String>)> {
        adapt(CreateBody::parse(json.as_bytes()).unwrap(), version(minor))
    }

    #[test]
    fn the_default_network_is_the_bridge() {
        let (spec, _) = run(
            r#"{"NetworkingConfig":{"EndpointsConfig":{"default":{"Aliases":["a"]}}}}"#,
            47,
        )
        .unwrap();
        assert_eq!(spec.host.network_mode, "bridge");
        assert!(spec.networking.endpoints_config.contains_key("bridge"));
    }

    #[test]
    fn old_clients_do_not_set_what_they_do_not_know() {
        let json = r#"{"HostConfig":{"AutoRemove":true,"Annotations":{"a":"b"},
            "ConsoleSize":[1,2],"PidsLimit":-1},"Healthcheck":{"StartInterval":5000000}}"#;
        let (old, _) = run(json, 24).unwrap();
        assert!(!old.host.auto_remove);
        assert!(old.host.annotations.is_empty());
        assert_eq!(old.host.console_size, None);
        assert_eq!(old.host.ipc_mode, "shareable");
        assert_eq!(old.config.healthcheck.unwrap().start_interval, 0);
        let (new, _) = run(json, 47).unwrap();
        assert!(new.host.auto_remove);
        assert_eq!(new.host.console_size, Some([1, 2]));
        assert_eq!(new.host.pids_limit, None);
    }

    #[test]
    fn mac_addresses_move_to_the_endpoint() {
        let json = r#"{"MacAddress":"02:00:00:00:00:01"}"#;
        let (spec, warnings) = run(json, 43).unwrap();
        let endpoint = &spec.networking.endpoints_config["bridge"];
        assert_eq!(endpoint.mac_address, "02:00:00:00:00:01");
        assert!(warnings.is_empty());
        let (_, warnings) = run(json, 44).unwrap();
        assert!(warnings[0].contains("deprecated"));
        let host = r#"{"MacAddress":"02:00:00:00:00:01","HostConfig":{"NetworkMode":"host"}}"#;
        assert!(run(host, 43).is_err());
    }

    #[test]
    fn interface_sysctls_move_to_the_endpoint() {
        let json = r#"{"HostConfig":{"Sysctls":{"net.ipv4.conf.eth0.forwarding":"1","a":"b"}}}"#;
        let (spec, warnings) = run(json, 46).unwrap();
        let options = spec.networking.endpoints_config["bridge"]
            .driver_opts
            .clone();
        assert_eq!(
            options.unwrap()[SYSCTLS],
            "net.ipv4.conf.IFNAME.forwarding=1"
        );
        assert_eq!(spec.host.sysctls.len(), 1);
        assert_eq!(warnings.len(), 1);
        assert!(run(json, 47).is_err());
    }

    #[test]
    fn misplaced_mount_options_are_refused() {
        let json = r#"{"HostConfig":{"Mounts":[{"Type":"bind","VolumeOptions":{}}]}}"#;
        assert_eq!(
            run(json, 47).unwrap_err().to_string(),
            "VolumeOptions must not be specified on mount type \"bind\""
        );
        let (spec, _) = run(json, 41).unwrap();
        assert_eq!(spec.host.mounts[0].volume_options, None);
        let json = r#"{"HostConfig":{"Mounts":[{"Type":"volume","VolumeOptions":
            {"Subpath":"x"}}]}}"#;
        assert!(run(json, 44).is_err());
        assert!(run(json, 45).is_ok());
    }

    #[test]
    fn one_network_at_a_time_before_1_44() {
        let json = r#"{"NetworkingConfig":{"EndpointsConfig":{"a":{},"b":null}}}"#;
        assert!(run(json, 43).unwrap_err().message.ends_with(": a, b"));
        assert!(run(json, 44).is_ok());
    }
}
