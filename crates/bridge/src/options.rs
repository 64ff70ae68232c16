//! What an engine of an older API doesn't know. It would pass over it in silence, so it is refused by
//! name here, or said in the way that the engine knows.

use std::collections::BTreeMap;

use coracle_docker::container::CreateBody;
use coracle_runtime::network::NetworkSpec;
use coracle_runtime::spec::{ContainerSpec, EndpointSettings};
use coracle_runtime::{Result, RuntimeError};

use crate::engine::Engine;

/// What annotations begin with that ask for what only our own engines do.
const OWN: &str = "coracle.";

/// A container as the engine is asked for it.
pub(crate) struct Request {
    pub(crate) name: String,
    pub(crate) platform: String,
    pub(crate) body: CreateBody,
    /// Networks that it is put on after its creation: engines before 1.44 take one only.
    pub(crate) later: BTreeMap<String, EndpointSettings>,
}

fn needs(what: &str, minor: u32, engine: &Engine) -> Result<()> {
    if engine.minor >= minor {
        return Ok(());
    }
    Err(RuntimeError::InvalidArgument(format!(
        "{what} needs an engine of API 1.{minor}; the one behind this daemon speaks 1.{}",
        engine.minor
    )))
}

/// What only engines newer than any version that is spoken here know, and Coracle's own.
fn needs_newest(what: &str, engine: &Engine) -> Result<()> {
    if engine.coracle {
        return Ok(());
    }
    Err(RuntimeError::InvalidArgument(format!(
        "{what} needs an engine of API 1.48, which is not spoken here yet"
    )))
}

impl Request {
    /// The request for a container, or a refusal.
    pub(crate) fn new(spec: ContainerSpec, engine: &Engine) -> Result<Self> {
        let mut request = Self {
            name: spec.name.unwrap_or_default(),
            platform: spec.platform.unwrap_or_default(),
            body: CreateBody {
                config: spec.config,
                host_config: spec.host,
                networking_config: spec.networking,
            },
            later: BTreeMap::new(),
        };
        request.check(engine)?;
        if engine.minor < 44 {
            request.one_endpoint(engine)?;
        }
        if engine.minor < 42 {
            // Clients set the size again once it runs.
            request.body.host_config.console_size = None;
        }
        Ok(request)
    }

    fn check(&self, engine: &Engine) -> Result<()> {
        let (config, host) = (&self.body.config, &self.body.host_config);
        if host.kernel_memory != 0 {
            // Engines pass over it since 1.42.
            return Err(RuntimeError::InvalidArgument(
                "KernelMemory is not supported: kernels know no such limit any more".into(),
            ));
        }
        // Another engine would pass over them.
        if !engine.coracle {
            let unsupported = |what: &str| {
                let text = format!("{what} with the engine behind this daemon");
                Err(RuntimeError::NotSupported(text))
            };
            if !host.secrets.is_empty() || !host.configs.is_empty() {
                return unsupported("giving containers secrets or configs");
            }
            if let Some(name) = host.annotations.keys().find(|name| name.starts_with(OWN)) {
                return unsupported(&format!("what the annotation {name} asks for"));
            }
        }
        if !host.annotations.is_empty() {
            needs("annotations", 43, engine)?;
        }
        let health = config.healthcheck.as_ref();
        if health.is_some_and(|health| health.start_interval != 0) {
            needs("the health check's start interval", 44, engine)?;
        }
        for mount in &host.mounts {
            if let Some(bind) = &mount.bind_options {
                if bind.create_mountpoint {
                    needs("a bind's CreateMountpoint", 42, engine)?;
                }
                if bind.read_only_force_recursive {
                    needs("a bind's ReadOnlyForceRecursive", 44, engine)?;
                }
            }
            let volume = mount.volume_options.as_ref();
            if volume.is_some_and(|volume| !volume.subpath.is_empty()) {
                needs("a volume's subpath", 45, engine)?;
            }
            let tmpfs = mount.tmpfs_options.as_ref();
            if tmpfs.is_some_and(|tmpfs| !tmpfs.options.is_empty()) {
                needs("a tmpfs mount's options", 46, engine)?;
            }
        }
        for endpoint in self.body.networking_config.endpoints_config.values() {
            check_endpoint(endpoint, engine)?;
        }
        Ok(())
    }

    /// Leaves the endpoint of the network mode; others are joined later.
    fn one_endpoint(&mut self, engine: &Engine) -> Result<()> {
        let endpoints = &mut self.body.networking_config.endpoints_config;
        let mode = match self.body.host_config.network_mode.as_str() {
            "" | "default" => "bridge",
            mode => mode,
        };
        if endpoints.len() > 1 {
            let main = endpoints.remove(mode);
            self.later = std::mem::take(endpoints);
            endpoints.extend(main.map(|main| (mode.to_owned(), main)));
        }
        for endpoint in endpoints.values_mut() {
            let mac = std::mem::take(&mut endpoint.mac_address);
            if !mac.is_empty() {
                self.body.config.mac_address = mac;
            }
        }
        let mut later = self.later.values();
        if later.any(|endpoint| !endpoint.mac_address.is_empty()) {
            needs("a MAC address on each network", 44, engine)?;
        }
        Ok(())
    }
}

/// A network's endpoint for a container.
pub(crate) fn check_endpoint(endpoint: &EndpointSettings, engine: &Engine) -> Result<()> {
    if endpoint.gw_priority != 0 {
        needs_newest("a gateway's priority", engine)?;
    }
    Ok(())
}

/// A network to make, as the engine is asked for it.
pub(crate) fn network(spec: &NetworkSpec, engine: &Engine) -> Result<serde_json::Value> {
    if spec.enable_ipv4 == Some(false) {
        needs_newest("a network without IPv4", engine)?;
    }
    let body = serde_json::to_value(spec);
    let mut body = body.map_err(|error| RuntimeError::Internal(error.to_string()))?;
    if engine.minor < 44
        && let Some(fields) = body.as_object_mut()
    {
        // Else older engines make a second network of the name.
        fields.insert("CheckDuplicate".to_owned(), true.into());
    }
    Ok(body)
}

/// The signal that a stop may name since 1.42.
pub(crate) fn stop_signal(signal: Option<&str>, engine: &Engine) -> Result<()> {
    signal.map_or(Ok(()), |_| needs("a stop's own signal", 42, engine))
}

#[cfg(test)]
mod tests {
    use coracle_runtime::Capabilities;

    use super::*;

    fn engine(minor: u32) -> Engine {
        Engine {
            minor,
            podman: false,
            coracle: false,
            platform: "linux/amd64".into(),
            capabilities: Capabilities::default(),
            ahead: jiff::SignedDuration::ZERO,
        }
    }

    fn with_endpoints(names: &[&str]) -> ContainerSpec {
        let mut spec = ContainerSpec::default();
        for name in names {
            let endpoint = EndpointSettings {
                mac_address: format!("02:00:00:00:00:0{}", name.len()),
                ..EndpointSettings::default()
            };
            let endpoints = &mut spec.networking.endpoints_config;
            endpoints.insert((*name).to_owned(), endpoint);
        }
        spec
    }

    #[test]
    fn what_is_not_known_is_refused_by_name() {
        let mut spec = ContainerSpec::default();
        spec.host.annotations.insert("a".into(), "b".into());
        assert!(Request::new(spec.clone(), &engine(43)).is_ok());
        let refused = Request::new(spec, &engine(42)).err().unwrap();
        assert!(
            matches!(&refused, RuntimeError::InvalidArgument(text) if text.contains("annotations")),
            "{refused:?}"
        );
        let mut spec = ContainerSpec::default();
        let annotations = &mut spec.host.annotations;
        annotations.insert("coracle.publish-sockets".into(), "[]".into());
        let refused = Request::new(spec.clone(), &engine(47)).err().unwrap();
        assert!(
            matches!(&refused, RuntimeError::NotSupported(text) if text.contains("publish-sockets")),
            "{refused:?}"
        );
        let own = Engine {
            coracle: true,
            ..engine(47)
        };
        assert!(Request::new(spec, &own).is_ok());
        let mut endpoint = EndpointSettings::default();
        assert!(check_endpoint(&endpoint, &engine(47)).is_ok());
        endpoint.gw_priority = 1;
        assert!(check_endpoint(&endpoint, &engine(47)).is_err());
        assert!(stop_signal(Some("INT"), &engine(41)).is_err());
        assert!(stop_signal(None, &engine(41)).is_ok());
    }

    #[test]
    fn older_engines_join_one_network_at_a_time() {
        let request = Request::new(with_endpoints(&["a", "bb"]), &engine(44)).unwrap();
        assert!(request.later.is_empty());
        let mut spec = with_endpoints(&["a"]);
        spec.host.network_mode = "a".into();
        let request = Request::new(spec, &engine(43)).unwrap();
        assert_eq!(request.body.config.mac_address, "02:00:00:00:00:01");
        let mut spec = with_endpoints(&["a"]);
        let endpoints = &mut spec.networking.endpoints_config;
        endpoints.insert("b".into(), EndpointSettings::default());
        spec.host.network_mode = "a".into();
        let request = Request::new(spec, &engine(43)).unwrap();
        assert_eq!(request.later.keys().collect::<Vec<_>>(), ["b"]);
        let endpoints = &request.body.networking_config.endpoints_config;
        assert_eq!(endpoints.keys().collect::<Vec<_>>(), ["a"]);
        // Here one of those that come later has an address of its own.
        assert!(Request::new(with_endpoints(&["a", "bb"]), &engine(43)).is_err());
    }

    #[test]
    fn older_engines_are_told_to_look_for_duplicates() {
        let spec = NetworkSpec::default();
        assert!(
            network(&spec, &engine(44))
                .unwrap()
                .get("CheckDuplicate")
                .is_none()
        );
        assert_eq!(network(&spec, &engine(41)).unwrap()["CheckDuplicate"], true);
    }
}
