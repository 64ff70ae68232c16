//! Secrets and configs.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use coracle_docker::secret::{SecretInspect, SecretSpecBody, Version};
use coracle_runtime::secret::{Config, Secret};

/// A secret, without its value.
pub(crate) fn secret(secret: Secret) -> SecretInspect {
    SecretInspect {
        id: secret.id,
        version: Version {
            index: secret.version,
        },
        created_at: secret.created.into(),
        updated_at: secret.updated.into(),
        spec: SecretSpecBody {
            name: secret.name,
            labels: secret.labels,
            ..SecretSpecBody::default()
        },
    }
}

/// A config, with its value.
pub(crate) fn config(config: Config) -> SecretInspect {
    let mut shown = secret(config.about);
    shown.spec.data = STANDARD.encode(config.data);
    shown
}
