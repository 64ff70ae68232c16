//! Secrets and configs: values by name, for containers to read as files.

use std::collections::BTreeMap;
use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use coracle_runtime::secret as domain;
use jiff::Timestamp;

use crate::wire::{answer, body};

answer! {
    /// A secret, without its value.
    pub struct Secret {
        /// 25 letters and digits.
        id: String,
        /// Name.
        name: String,
        /// Labels.
        labels: BTreeMap<String, String>,
        /// One more with each change.
        version: u64,
        /// When it was made.
        created_at: Timestamp,
        /// When its labels were last changed.
        updated_at: Timestamp,
    }

    /// A config.
    pub struct Config {
        /// 25 letters and digits.
        id: String,
        /// Name.
        name: String,
        /// Labels.
        labels: BTreeMap<String, String>,
        /// One more with each change.
        version: u64,
        /// When it was made.
        created_at: Timestamp,
        /// When its labels were last changed.
        updated_at: Timestamp,
        /// Its value, in base64.
        base64: String,
    }

    /// The id of what was made.
    pub struct Made {
        /// The id.
        id: String,
    }

    /// How many values are under the new key.
    pub struct Rotated {
        /// Secrets and configs.
        count: u64,
    }
}

body! {
    /// Labels to give.
    pub struct Relabel {
        /// The version that is to be changed: what the client has seen.
        version: u64,
        /// All labels that it is to have.
        labels: BTreeMap<String, String>,
        ;
    }

    /// A secret or config as a file in a container.
    pub struct FileMount {
        /// Its name or id.
        source: String,
        ;
        /// Where: a path, or a file's name below `/run/secrets` (secrets) or `/` (configs). The
        /// source's name where there is none.
        target: String,
        /// The owner's id.
        uid: u32,
        /// The group's id.
        gid: u32,
        /// Permissions; 0444, which is 292, where not given.
        #[cfg_attr(feature = "openapi", schema(maximum = 4095))]
        mode: Option<u32>,
    }
}

/// A secret or config to make. Its value is not shown when this is.
#[derive(Clone, Default, PartialEq, serde::Serialize, serde::Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SecretCreate {
    /// Name.
    pub name: String,
    /// The value, in base64.
    pub base64: String,
    /// Labels.
    #[serde(default, skip_serializing_if = "crate::wire::is_default")]
    pub labels: BTreeMap<String, String>,
}

impl fmt::Debug for SecretCreate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SecretCreate")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

impl From<domain::Secret> for Secret {
    fn from(secret: domain::Secret) -> Self {
        Self {
            id: secret.id,
            name: secret.name,
            labels: secret.labels,
            version: secret.version,
            created_at: secret.created,
            updated_at: secret.updated,
        }
    }
}

impl From<domain::Config> for Config {
    fn from(config: domain::Config) -> Self {
        let about = config.about;
        Self {
            id: about.id,
            name: about.name,
            labels: about.labels,
            version: about.version,
            created_at: about.created,
            updated_at: about.updated,
            base64: STANDARD.encode(config.data),
        }
    }
}

impl From<Secret> for domain::Secret {
    fn from(secret: Secret) -> Self {
        Self {
            id: secret.id,
            name: secret.name,
            labels: secret.labels,
            version: secret.version,
            created: secret.created_at,
            updated: secret.updated_at,
        }
    }
}

impl Config {
    /// What it is of; none where its value is no base64.
    pub fn config(self) -> Option<domain::Config> {
        let data = STANDARD.decode(&self.base64).ok()?;
        let about = domain::Secret {
            id: self.id,
            name: self.name,
            labels: self.labels,
            version: self.version,
            created: self.created_at,
            updated: self.updated_at,
        };
        Some(domain::Config { about, data })
    }
}

impl From<domain::SecretSpec> for SecretCreate {
    fn from(spec: domain::SecretSpec) -> Self {
        Self {
            name: spec.name,
            base64: STANDARD.encode(spec.data.expose()),
            labels: spec.labels,
        }
    }
}

impl From<domain::SecretUpdate> for Relabel {
    fn from(update: domain::SecretUpdate) -> Self {
        Self {
            version: update.version,
            labels: update.labels,
        }
    }
}

impl SecretCreate {
    /// What is to be made; none where the value is no base64.
    pub fn spec(self) -> Option<domain::SecretSpec> {
        Some(domain::SecretSpec {
            name: self.name,
            labels: self.labels,
            data: domain::Sensitive::new(STANDARD.decode(&self.base64).ok()?),
        })
    }
}

impl From<Relabel> for domain::SecretUpdate {
    fn from(body: Relabel) -> Self {
        Self {
            version: body.version,
            labels: body.labels,
        }
    }
}

impl From<FileMount> for domain::FileReference {
    fn from(mount: FileMount) -> Self {
        Self {
            source: mount.source,
            target: mount.target,
            uid: mount.uid.to_string(),
            gid: mount.gid.to_string(),
            mode: mount.mode,
        }
    }
}
