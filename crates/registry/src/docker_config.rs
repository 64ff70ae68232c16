//! Docker's `config.json`: logins, and which helper keeps them.
//!
//! Fields that are not ours are kept as they are; the file is replaced atomically, for its owner
//! only.

use std::io::Read;
use std::io::Write;
use std::path::Path;
use std::path::PathBuf;

use serde::Serialize;
use serde_json::Map;
use serde_json::Value;

use crate::auth::credentials::Credentials;
use crate::auth::credentials::decode_pair;
use crate::auth::credentials::encode_pair;
use crate::error::Error;
use crate::error::Result;
use crate::helper::Helper;

const FILE_BYTES: u64 = 16 << 20;
/// What Docker calls docker.io here.
const DOCKER_KEY: &str = "https://index.docker.io/v1/";

/// The file, as it was when it was loaded or last written.
#[derive(Clone)]
pub struct DockerConfig {
    path: PathBuf,
    root: Map<String, Value>,
}

impl std::fmt::Debug for DockerConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DockerConfig")
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

impl DockerConfig {
    /// `$DOCKER_CONFIG/config.json`, or `~/.docker/config.json`; `None` without a home.
    pub fn default_path() -> Option<PathBuf> {
        let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
        let dir = match set("DOCKER_CONFIG") {
            Some(dir) => PathBuf::from(dir),
            None => PathBuf::from(set("HOME")?).join(".docker"),
        };
        Some(dir.join("config.json"))
    }

    /// Loads the file of the current user. An absent file is an empty configuration.
    pub fn load() -> Result<Self> {
        let path = Self::default_path().ok_or_else(|| {
            Error::credentials("there is no home directory: set DOCKER_CONFIG or HOME")
        })?;
        Self::load_from(&path)
    }

    /// Loads `path`. An absent or empty file is an empty configuration.
    pub fn load_from(path: &Path) -> Result<Self> {
        let failed = |reason: &str| Error::credentials(format!("{}: {reason}", path.display()));
        let mut bytes = Vec::new();
        match std::fs::File::open(path) {
            Ok(file) => {
                file.take(FILE_BYTES + 1)
                    .read_to_end(&mut bytes)
                    .map_err(|error| failed(&error.to_string()))?;
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(failed(&error.to_string())),
        }
        if bytes.len() as u64 > FILE_BYTES {
            return Err(failed("is too large"));
        }
        let root = if bytes.iter().all(u8::is_ascii_whitespace) {
            Map::new()
        } else {
            // The place is enough: the parser's own message could quote a secret.
            serde_json::from_slice(&bytes)
                .map_err(|error| failed(&format!("is not valid JSON at line {}", error.line())))?
        };
        Ok(Self {
            path: path.to_owned(),
            root,
        })
    }

    /// Where it was loaded from.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A field that this crate doesn't know, such as `detachKeys`.
    pub fn field(&self, name: &str) -> Option<&Value> {
        self.root.get(name)
    }

    /// The credentials for a registry such as `docker.io` or `localhost:5000`: from its own helper
    /// (`credHelpers`), the helper for all (`credsStore`), or the file itself.
    pub async fn credentials(&self, registry: &str) -> Result<Option<Credentials>> {
        let key = key(registry);
        if let Some(helper) = self.helper(&key)? {
            return helper.get(&key).await;
        }
        Ok(self.entry(&key))
    }

    /// All logins that the file and its helpers know: the server and the user's name.
    pub async fn logins(&self) -> Result<Vec<(String, String)>> {
        let mut all = std::collections::BTreeMap::new();
        for server in self.auths().into_iter().flat_map(Map::keys) {
            if let Some(found) = self.entry(server) {
                all.insert(server.clone(), found.username);
            }
        }
        if let Some(name) = self.root.get("credsStore").and_then(Value::as_str) {
            all.extend(Helper::new(name)?.list().await?);
        }
        Ok(all.into_iter().collect())
    }

    /// Keeps a login: with the helper for the registry if there is one, else in the file.
    pub async fn store_login(&mut self, registry: &str, credentials: &Credentials) -> Result<()> {
        let key = key(registry);
        let mut entry = Map::new();
        if let Some(helper) = self.helper(&key)? {
            helper.store(&key, credentials).await?;
        } else {
            let pair = if credentials.identity_token.is_empty() {
                encode_pair(&credentials.username, &credentials.password)
            } else {
                encode_pair(&credentials.username, "")
            };
            entry.insert("auth".into(), pair.into());
            if !credentials.identity_token.is_empty() {
                entry.insert(
                    "identitytoken".into(),
                    credentials.identity_token.clone().into(),
                );
            }
        }
        let auths = self
            .root
            .entry("auths")
            .or_insert_with(|| Map::new().into());
        let Some(auths) = auths.as_object_mut() else {
            return Err(self.invalid("\"auths\" is not an object"));
        };
        auths.insert(key, entry.into());
        self.save().await
    }

    /// Forgets a login. Returns whether there was one in the file.
    pub async fn erase_login(&mut self, registry: &str) -> Result<bool> {
        let key = key(registry);
        if let Some(helper) = self.helper(&key)? {
            helper.erase(&key).await?;
        }
        let Some(auths) = self.root.get_mut("auths").and_then(Value::as_object_mut) else {
            return Ok(false);
        };
        let before = auths.len();
        auths.retain(|own, _| *own != key && hostname(own) != hostname(&key));
        if auths.len() == before {
            return Ok(false);
        }
        self.save().await?;
        Ok(true)
    }

    fn invalid(&self, reason: &str) -> Error {
        Error::credentials(format!("{}: {reason}", self.path.display()))
    }

    fn auths(&self) -> Option<&Map<String, Value>> {
        self.root.get("auths")?.as_object()
    }

    fn helper(&self, key: &str) -> Result<Option<Helper>> {
        let own = self
            .root
            .get("credHelpers")
            .and_then(Value::as_object)
            .and_then(|helpers| {
                helpers
                    .get(key)
                    .or_else(|| helpers.get(hostname(key)))?
                    .as_str()
            });
        let name = own.or_else(|| self.root.get("credsStore")?.as_str());
        name.filter(|name| !name.is_empty())
            .map(Helper::new)
            .transpose()
    }

    fn entry(&self, key: &str) -> Option<Credentials> {
        let auths = self.auths()?;
        let entry = auths.get(key).or_else(|| {
            let same = |own: &&String| hostname(own) == hostname(key);
            auths.get(auths.keys().find(same)?)
        })?;
        let text = |name: &str| entry.get(name).and_then(Value::as_str).unwrap_or_default();
        let (mut username, mut password) =
            (text("username").to_owned(), text("password").to_owned());
        if let Some((user, pass)) = decode_pair(text("auth")) {
            (username, password) = (user, pass);
        }
        let mut found = Credentials::basic(username, password);
        found.identity_token = text("identitytoken").to_owned();
        found.registry_token = text("registrytoken").to_owned();
        found.server_address = key.to_owned();
        Some(found).filter(|found| !found.is_empty())
    }

    async fn save(&self) -> Result<()> {
        let mut text = Vec::new();
        let indent = serde_json::ser::PrettyFormatter::with_indent(b"\t");
        self.root
            .serialize(&mut serde_json::Serializer::with_formatter(
                &mut text, indent,
            ))
            .map_err(|error| self.invalid(&error.to_string()))?;
        let path = self.path.clone();
        let written = tokio::task::spawn_blocking(move || write(&path, &text)).await;
        match written {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(self.invalid(&error.to_string())),
            Err(error) => Err(self.invalid(&error.to_string())),
        }
    }
}

/// Replaces the file, or what a symbolic link in its place points to.
fn write(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    let path = std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let dir = path
        .parent()
        .filter(|dir| !dir.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir)?;
    // Made for the owner only (0600), which rename keeps.
    let mut file = tempfile::Builder::new()
        .prefix(".config.json.")
        .tempfile_in(dir)?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    file.persist(&path)?;
    std::fs::File::open(dir)?.sync_all()
}

/// The name that Docker keeps a registry's login under.
fn key(registry: &str) -> String {
    match registry {
        "" | "docker.io" | "index.docker.io" | "registry-1.docker.io" => DOCKER_KEY.to_owned(),
        _ if registry.trim_end_matches('/') == DOCKER_KEY.trim_end_matches('/') => {
            DOCKER_KEY.to_owned()
        }
        _ => hostname(registry).to_owned(),
    }
}

/// `host[:port]` of a key that may be a URL (Docker's `ConvertToHostname`).
fn hostname(key: &str) -> &str {
    let bare = key
        .strip_prefix("http://")
        .or(key.strip_prefix("https://"))
        .unwrap_or(key);
    bare.split('/').next().unwrap_or(bare)
}
