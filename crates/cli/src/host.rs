//! Which daemon to talk to: `--host`, `CORACLE_HOST`, `--context`, `DOCKER_HOST`, `DOCKER_CONTEXT`,
//! Docker's current context, or the one at its own place.

use std::path::{Path, PathBuf};

use coracle_client::{Host, TlsOptions};
use serde::Deserialize;

use crate::config;
use crate::context::Global;
use crate::error::{Error, Result};

/// Most bytes of a context's file.
const MAX_FILE: u64 = 1 << 20;
const SYSTEM_SOCKET: &str = "/run/coracle/coracle.sock";

/// A daemon's address.
pub(crate) struct Address {
    pub(crate) host: Host,
    pub(crate) tls: Option<TlsOptions>,
    /// For the daemon at its own place, which is started when it isn't there.
    pub(crate) place: Option<Place>,
    /// What decided.
    pub(crate) from: &'static str,
}

/// Where a daemon of this host has its things.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) socket: PathBuf,
    /// `--exec-root`.
    pub(crate) exec_root: PathBuf,
    /// What it writes to standard error.
    pub(crate) log: PathBuf,
}

impl Place {
    fn system() -> Self {
        Self {
            socket: SYSTEM_SOCKET.into(),
            exec_root: "/run/coracle".into(),
            log: "/run/coracle/coracled.log".into(),
        }
    }

    /// Root's, or the user's own. A user who may use root's does, where they have none.
    fn own() -> Self {
        if rustix::process::geteuid().is_root() {
            return Self::system();
        }
        let Some(runtime) = variable("XDG_RUNTIME_DIR") else {
            return Self::system();
        };
        let exec_root = Path::new(&runtime).join("coracle");
        let socket = exec_root.join("coracle.sock");
        if !socket.exists()
            && rustix::fs::access(SYSTEM_SOCKET, rustix::fs::Access::WRITE_OK).is_ok()
        {
            return Self::system();
        }
        let state = variable("XDG_STATE_HOME").map_or_else(
            || Path::new(&variable("HOME").unwrap_or_default()).join(".local/state"),
            PathBuf::from,
        );
        Self {
            socket,
            exec_root,
            log: state.join("coracle/coracled.log"),
        }
    }

    /// The file with the daemon's process id.
    pub(crate) fn pid_file(&self) -> PathBuf {
        self.exec_root.join("coracled.pid")
    }
}

/// A variable that isn't empty.
pub(crate) fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// Decides.
pub(crate) fn resolve(global: &Global) -> Result<Address> {
    let tls = tls(global);
    let at = |host: &str, from| {
        Ok(Address {
            host: Host::parse(host, tls.is_some())?,
            tls: tls.clone(),
            place: None,
            from,
        })
    };
    if let Some(host) = &global.host {
        return at(host, "--host");
    }
    if let Some(name) = &global.context {
        return context(global, name, "--context");
    }
    if let Some(host) = variable("CORACLE_HOST") {
        return at(&host, "CORACLE_HOST");
    }
    if let Some(host) = variable("DOCKER_HOST") {
        return at(&host, "DOCKER_HOST");
    }
    if let Some(name) = variable("DOCKER_CONTEXT") {
        return context(global, &name, "DOCKER_CONTEXT");
    }
    match config::current_context(global.config.as_deref())? {
        Some(name) => context(global, &name, "the current Docker context"),
        None => Ok(own()),
    }
}

fn own() -> Address {
    let place = Place::own();
    Address {
        host: Host::Unix(place.socket.clone()),
        tls: None,
        place: Some(place),
        from: "the default",
    }
}

/// TLS, where it is asked for, with files from `DOCKER_CERT_PATH` where none are named.
fn tls(global: &Global) -> Option<TlsOptions> {
    let verify = global.tlsverify || variable("DOCKER_TLS_VERIFY").is_some();
    let named = global.tlscacert.is_some() || global.tlscert.is_some() || global.tlskey.is_some();
    if !verify && !global.tls && !named && variable("DOCKER_TLS").is_none() {
        return None;
    }
    let directory = variable("DOCKER_CERT_PATH")
        .map(PathBuf::from)
        .or_else(|| config::directory(global.config.as_deref()));
    let found = directory.map_or_else(TlsOptions::default, |directory| {
        TlsOptions::from_directory(&directory)
    });
    Some(TlsOptions {
        ca: global.tlscacert.clone().or(found.ca),
        cert: global.tlscert.clone().or(found.cert),
        key: global.tlskey.clone().or(found.key),
        skip_verify: !verify,
    })
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ContextFile {
    name: String,
    #[serde(default)]
    endpoints: std::collections::BTreeMap<String, Endpoint>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", default)]
#[derive(Default)]
struct Endpoint {
    host: String,
    #[serde(rename = "SkipTLSVerify")]
    skip_tls_verify: bool,
}

/// The address that a Docker context has. Its directory's name is a digest of its own, so the one
/// with the right name in its file is looked for.
fn context(global: &Global, name: &str, from: &'static str) -> Result<Address> {
    if name == "default" {
        return Ok(own());
    }
    let missing = || {
        Error::advice(
            format!("there is no Docker context {name:?} (from {from})"),
            "choose another with --context, or the daemon itself with --host",
        )
    };
    let root = config::directory(global.config.as_deref())
        .ok_or_else(missing)?
        .join("contexts");
    let Ok(entries) = std::fs::read_dir(root.join("meta")) else {
        return Err(missing());
    };
    for entry in entries.flatten() {
        let Ok(text) = config::read_bounded(&entry.path().join("meta.json"), MAX_FILE) else {
            continue;
        };
        let Ok(file) = serde_json::from_slice::<ContextFile>(&text) else {
            continue;
        };
        if file.name != name {
            continue;
        }
        let endpoint = file
            .endpoints
            .get("docker")
            .filter(|endpoint| !endpoint.host.is_empty())
            .ok_or_else(|| Error::usage(format!("Docker context {name:?} has no address")))?;
        let files = root.join("tls").join(entry.file_name()).join("docker");
        let found = TlsOptions::from_directory(&files);
        let secure = found != TlsOptions::default() || endpoint.skip_tls_verify;
        return Ok(Address {
            host: Host::parse(&endpoint.host, secure)?,
            tls: secure.then_some(TlsOptions {
                skip_verify: endpoint.skip_tls_verify,
                ..found
            }),
            place: None,
            from,
        });
    }
    Err(missing())
}
