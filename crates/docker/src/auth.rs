//! Credentials, in bodies and in the `X-Registry-Auth` header.

use base64::Engine;
use base64::alphabet::{STANDARD, URL_SAFE};
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use coracle_runtime::image::RegistryAuth;
use serde::{Deserialize, Serialize};

/// The header.
pub const HEADER: &str = "X-Registry-Auth";

const LENIENT: GeneralPurposeConfig =
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);

/// Credentials for a registry (`AuthConfig`).
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct AuthConfig {
    /// User name.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub username: String,
    /// Password.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub password: String,
    /// `user:password` in base64, as configuration files have it.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub auth: String,
    /// Long unused; kept.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub email: String,
    /// The registry.
    #[serde(rename = "serveraddress", skip_serializing_if = "String::is_empty")]
    pub server_address: String,
    /// A refresh token instead of a password.
    #[serde(rename = "identitytoken", skip_serializing_if = "String::is_empty")]
    pub identity_token: String,
    /// A bearer token.
    #[serde(rename = "registrytoken", skip_serializing_if = "String::is_empty")]
    pub registry_token: String,
}

impl std::fmt::Debug for AuthConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AuthConfig")
            .field("username", &self.username)
            .field("server_address", &self.server_address)
            .finish_non_exhaustive()
    }
}

/// Why a header holds no credentials.
#[derive(Debug, thiserror::Error)]
pub enum AuthError {
    /// Not base64.
    #[error("invalid X-Registry-Auth header: {0}")]
    Base64(#[from] base64::DecodeError),
    /// Not JSON.
    #[error("invalid X-Registry-Auth header: {0}")]
    Json(#[from] serde_json::Error),
}

impl AuthConfig {
    /// The header's value: JSON in base64url, with padding.
    pub fn to_header(&self) -> String {
        let json = serde_json::to_vec(self).unwrap_or_default();
        GeneralPurpose::new(&URL_SAFE, LENIENT).encode(json)
    }

    /// Reads the header: either alphabet, padding or not. Empty means anonymous.
    pub fn from_header(value: &str) -> Result<Option<Self>, AuthError> {
        let value = value.trim();
        if value.is_empty() {
            return Ok(None);
        }
        let alphabet = if value.contains(['+', '/']) {
            &STANDARD
        } else {
            &URL_SAFE
        };
        let json = GeneralPurpose::new(alphabet, LENIENT).decode(value)?;
        let auth: Option<Self> = serde_json::from_slice(&json)?;
        Ok(auth.filter(|auth| *auth != Self::default()))
    }
}

impl From<AuthConfig> for RegistryAuth {
    fn from(auth: AuthConfig) -> Self {
        let (mut username, mut password) = (auth.username, auth.password);
        if username.is_empty() && password.is_empty() && !auth.auth.is_empty() {
            let decoded = GeneralPurpose::new(&STANDARD, LENIENT)
                .decode(auth.auth.trim())
                .ok()
                .and_then(|bytes| String::from_utf8(bytes).ok())
                .unwrap_or_default();
            if let Some((user, secret)) = decoded.split_once(':') {
                username = user.to_owned();
                password = secret.trim_end_matches('\0').to_owned();
            }
        }
        Self {
            username,
            password,
            identity_token: auth.identity_token,
            registry_token: auth.registry_token,
            server_address: auth.server_address,
        }
    }
}

/// The answer of `POST /auth`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct AuthResponse {
    /// For the user.
    pub status: String,
    /// To be kept instead of the password.
    pub identity_token: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_goes_both_ways() {
        let auth = AuthConfig {
            username: "me".into(),
            password: "??>>ÿ".into(),
            server_address: "localhost:5000".into(),
            ..AuthConfig::default()
        };
        let header = auth.to_header();
        assert_eq!(AuthConfig::from_header(&header).unwrap(), Some(auth));
    }

    #[test]
    fn empty_credentials_are_none() {
        for empty in ["", "e30=", "e30", "bnVsbA=="] {
            assert_eq!(AuthConfig::from_header(empty).unwrap(), None, "{empty}");
        }
        assert!(AuthConfig::from_header("!!").is_err());
        assert!(AuthConfig::from_header("e30x").is_err());
    }

    #[test]
    fn the_joined_form_is_split() {
        let auth = AuthConfig {
            auth: "dXNlcjpwYTpzcw==".into(),
            ..AuthConfig::default()
        };
        let auth = RegistryAuth::from(auth);
        assert_eq!(auth.username, "user");
        assert_eq!(auth.password, "pa:ss");
    }

    #[test]
    fn secrets_are_not_printed() {
        let auth = AuthConfig {
            password: "secret".into(),
            ..AuthConfig::default()
        };
        assert!(!format!("{auth:?}").contains("secret"));
    }
}
