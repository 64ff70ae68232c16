//! What runs the containers: this host, or another engine.

use std::sync::Arc;

use coracle_bridge::DockerRuntime;
use coracle_local::{Config, LocalRuntime};
use coracle_runtime::Runtime;

use crate::error::Error;
use crate::listen::Host;
use crate::settings::Settings;

/// Where engines listen that are named by their kind.
const SOCKETS: [(&str, &str); 2] = [
    ("docker", "unix:///var/run/docker.sock"),
    ("podman", "unix:///run/podman/podman.sock"),
];
/// Settings that are the daemon's own, whatever runs the containers.
const OWN: [&str; 13] = [
    "host",
    "backend",
    "exec_root",
    "debug",
    "log_level",
    "pidfile",
    "group",
    "shutdown_timeout",
    "tls",
    "tlsverify",
    "tlscacert",
    "tlscert",
    "tlskey",
];

/// What runs the containers.
#[derive(Debug)]
pub(crate) enum Backend {
    /// This host.
    Local(Box<Config>),
    /// The engine at this address.
    Engine(String),
}

impl Backend {
    /// What the settings ask for.
    pub(crate) fn new(settings: &Settings) -> Result<Self, Error> {
        let address = match settings.backend.as_deref() {
            None | Some("local") => return Ok(Self::Local(Box::new(settings.config()?))),
            Some(text) => address(text)?,
        };
        let given = settings.given();
        let others: Vec<String> = given
            .into_iter()
            .filter(|name| !OWN.contains(name))
            .map(|name| format!("--{}", name.replace('_', "-")))
            .collect();
        if !others.is_empty() {
            return Err(Error::setting(
                "--backend",
                format!(
                    "{} would have no effect: the engine at {address} has settings of its own",
                    others.join(", ")
                ),
            ));
        }
        Ok(Self::Engine(address))
    }

    /// Whether containers are run by this process's own means.
    pub(crate) fn is_local(&self) -> bool {
        matches!(self, Self::Local(_))
    }

    /// Refuses to be served by oneself.
    pub(crate) fn check(&self, hosts: &[Host]) -> Result<(), Error> {
        let Self::Engine(address) = self else {
            return Ok(());
        };
        let own = hosts.iter().any(|host| match host {
            Host::Unix(path) => address.strip_prefix("unix://").is_some_and(|engine| {
                let engine = std::path::Path::new(engine);
                let real = |path: &std::path::Path| path.canonicalize().ok();
                engine == path || (real(engine).is_some() && real(engine) == real(path))
            }),
            Host::Tcp(own) => address.strip_prefix("tcp://") == Some(&own.to_string()),
        });
        if own {
            return Err(Error::setting(
                "--backend",
                format!("{address} is this daemon's own address"),
            ));
        }
        Ok(())
    }

    /// Opens it.
    pub(crate) async fn open(self) -> Result<Arc<dyn Runtime>, Error> {
        Ok(match self {
            Self::Local(config) => Arc::new(LocalRuntime::open(*config).await?),
            Self::Engine(address) => Arc::new(DockerRuntime::connect(&address, None).await?),
        })
    }
}

/// An engine's address.
fn address(text: &str) -> Result<String, Error> {
    if let Some((_, socket)) = SOCKETS.iter().find(|(kind, _)| *kind == text) {
        return Ok((*socket).to_owned());
    }
    let given = SOCKETS.iter().find_map(|(kind, _)| {
        let rest = text.strip_prefix(kind)?;
        rest.strip_prefix("://")
    });
    match given {
        Some(path) if path.starts_with('/') => Ok(format!("unix://{path}")),
        Some(address) if address.contains("://") => Ok(address.to_owned()),
        _ => Err(Error::setting(
            "--backend",
            format!("{text:?} is none: want local, docker, podman, or docker://unix://PATH"),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(backend: &str) -> Result<Backend, Error> {
        Backend::new(&Settings {
            backend: Some(backend.into()),
            ..Settings::default()
        })
    }

    #[test]
    fn backends_are_read() {
        for (text, expected) in [
            ("docker", "unix:///var/run/docker.sock"),
            ("podman", "unix:///run/podman/podman.sock"),
            ("docker:///a/b", "unix:///a/b"),
            ("docker://unix:///a/b", "unix:///a/b"),
            ("podman://unix:///a/b", "unix:///a/b"),
            ("docker://tcp://h:1", "tcp://h:1"),
        ] {
            match of(text).unwrap() {
                Backend::Engine(address) => assert_eq!(address, expected),
                Backend::Local(_) => panic!("{text}"),
            }
        }
        for bad in ["", "dockers", "docker://", "docker://x", "unix:///a"] {
            assert!(of(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn settings_without_effect_are_refused() {
        let settings = Settings {
            backend: Some("docker".into()),
            data_root: Some("/x".into()),
            debug: Some(true),
            ..Settings::default()
        };
        let error = Backend::new(&settings).unwrap_err().to_string();
        assert!(
            error.contains("--data-root") && !error.contains("--debug"),
            "{error}"
        );
    }

    #[test]
    fn nobody_is_served_by_oneself() {
        let backend = of("docker:///a/b").unwrap();
        assert!(backend.check(&[Host::Unix("/a/b".into())]).is_err());
        assert!(backend.check(&[Host::Unix("/a/c".into())]).is_ok());
    }
}
