//! Docker's `config.json`: logins, detach keys, the current context.

use std::io::Read;
use std::path::{Path, PathBuf};

use coracle_docker::auth::AuthConfig;
use coracle_registry::DockerConfig;

use crate::error::{Error, Result};
use crate::host::variable;

const FILE: &str = "config.json";
const MAX_FILE: u64 = 16 << 20;

/// The directory: the one given, `DOCKER_CONFIG`, or `~/.docker`.
pub(crate) fn directory(given: Option<&Path>) -> Option<PathBuf> {
    given
        .map(Path::to_owned)
        .or_else(|| variable("DOCKER_CONFIG").map(PathBuf::from))
        .or_else(|| Some(Path::new(&variable("HOME")?).join(".docker")))
}

/// Reads a file of at most so many bytes.
pub(crate) fn read_bounded(path: &Path, most: u64) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    std::fs::File::open(path)?
        .take(most + 1)
        .read_to_end(&mut bytes)?;
    if bytes.len() as u64 > most {
        return Err(std::io::Error::other("the file is too long"));
    }
    Ok(bytes)
}

/// The context that is chosen; none means Docker's default. Looked for on every start, so it takes
/// no more than a read where there is none.
pub(crate) fn current_context(given: Option<&Path>) -> Result<Option<String>> {
    let Some(path) = directory(given).map(|directory| directory.join(FILE)) else {
        return Ok(None);
    };
    let bytes = match read_bounded(&path, MAX_FILE) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Error::io(path.display(), error)),
    };
    #[derive(serde::Deserialize)]
    struct Part {
        #[serde(rename = "currentContext", default)]
        current_context: String,
    }
    if bytes.trim_ascii().is_empty() {
        return Ok(None);
    }
    // The parser's own message could quote a secret.
    let part: Part = serde_json::from_slice(&bytes)
        .map_err(|_| Error::usage(format!("{} is not valid JSON", path.display())))?;
    Ok(Some(part.current_context).filter(|name| !name.is_empty() && name != "default"))
}

/// The file.
pub(crate) struct Config(pub(crate) DockerConfig);

impl Config {
    pub(crate) fn load(given: Option<&Path>) -> Result<Self> {
        let path = directory(given).ok_or_else(|| {
            Error::advice(
                "there is no directory for config.json",
                "set HOME or DOCKER_CONFIG, or use --config",
            )
        })?;
        DockerConfig::load_from(&path.join(FILE))
            .map(Self)
            .map_err(registry)
    }

    /// Keys that detach, where the user has chosen.
    pub(crate) fn detach_keys(&self) -> Option<&str> {
        self.0.field("detachKeys")?.as_str()
    }

    /// The credentials for an image's registry.
    pub(crate) async fn credentials(&self, image: &str) -> Result<Option<AuthConfig>> {
        let found = self.0.credentials(registry_of(image)).await;
        Ok(found.map_err(registry)?.map(|found| AuthConfig {
            username: found.username,
            password: found.password,
            identity_token: found.identity_token,
            registry_token: found.registry_token,
            server_address: found.server_address,
            ..AuthConfig::default()
        }))
    }
}

pub(crate) fn registry(error: coracle_registry::Error) -> Error {
    Error::usage(error.to_string())
}

/// The registry that an image's name begins with; docker.io where it begins with none.
fn registry_of(image: &str) -> &str {
    match image.split_once('/') {
        Some((first, _)) if first.contains(['.', ':']) || first == "localhost" => first,
        _ => "docker.io",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn registries_are_told_from_names() {
        for (image, registry) in [
            ("busybox", "docker.io"),
            ("library/busybox:1", "docker.io"),
            ("localhost/a", "localhost"),
            ("localhost:5000/a", "localhost:5000"),
            ("ghcr.io/a/b@sha256:1", "ghcr.io"),
        ] {
            assert_eq!(registry_of(image), registry, "{image}");
        }
    }
}
