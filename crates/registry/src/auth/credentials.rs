//! Who somebody claims to be: what `X-Registry-Auth` and Docker's `config.json` hold.

use std::fmt;

use base64::Engine;
use base64::alphabet;
use base64::engine::DecodePaddingMode;
use base64::engine::GeneralPurpose;
use base64::engine::GeneralPurposeConfig;
use serde::Deserialize;

use crate::error::Error;
use crate::error::Result;

/// Bytes of an `X-Registry-Auth` header, and of any secret, that are accepted.
const HEADER_BYTES: usize = 64 << 10;

const LENIENT: GeneralPurposeConfig =
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
const URL_SAFE: GeneralPurpose = GeneralPurpose::new(&alphabet::URL_SAFE, LENIENT);
const STANDARD: GeneralPurpose = GeneralPurpose::new(&alphabet::STANDARD, LENIENT);

/// A user's credentials for one registry. Empty strings mean "not given".
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Credentials {
    /// The user's name.
    pub username: String,
    /// The password, or an access token that stands in for it.
    pub password: String,
    /// A long-lived token that gets access tokens (OAuth2 refresh token).
    pub identity_token: String,
    /// A ready access token, sent as it is.
    pub registry_token: String,
    /// The registry that they are for, as the client names it.
    pub server_address: String,
}

/// How Docker's API writes them.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Wire {
    #[serde(deserialize_with = "nullable")]
    username: String,
    #[serde(deserialize_with = "nullable")]
    password: String,
    #[serde(deserialize_with = "nullable")]
    identitytoken: String,
    #[serde(deserialize_with = "nullable")]
    registrytoken: String,
    #[serde(deserialize_with = "nullable")]
    serveraddress: String,
    /// `username:password` in base64, an older way to say both.
    #[serde(deserialize_with = "nullable")]
    auth: String,
}

fn nullable<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    Ok(Option::<String>::deserialize(deserializer)?.unwrap_or_default())
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials")
            .field("username", &self.username)
            .field("server_address", &self.server_address)
            .finish_non_exhaustive()
    }
}

impl Credentials {
    /// A name and a password.
    pub fn basic(username: impl Into<String>, password: impl Into<String>) -> Self {
        Self {
            username: username.into(),
            password: password.into(),
            ..Self::default()
        }
    }

    /// An identity token.
    pub fn identity(token: impl Into<String>) -> Self {
        Self {
            identity_token: token.into(),
            ..Self::default()
        }
    }

    /// The value of an `X-Registry-Auth` header: JSON in URL-safe base64, with padding or without.
    /// An empty header, or one that holds nothing, is `None`.
    pub fn from_registry_auth(header: &str) -> Result<Option<Self>> {
        let invalid = || Error::credentials("invalid X-Registry-Auth header");
        let header = header.trim();
        if header.is_empty() {
            return Ok(None);
        }
        if header.len() > HEADER_BYTES {
            return Err(invalid());
        }
        let json = URL_SAFE
            .decode(header)
            .or_else(|_| STANDARD.decode(header))
            .map_err(|_| invalid())?;
        Self::from_json(&json)
    }

    /// The JSON of an auth configuration, as `POST /auth` takes it.
    pub fn from_json(json: &[u8]) -> Result<Option<Self>> {
        // The parser's own message could quote the input.
        let invalid = || Error::credentials("invalid auth configuration");
        let wire: Option<Wire> = serde_json::from_slice(json).map_err(|_| invalid())?;
        let wire = wire.unwrap_or_default();
        let mut this = Self {
            username: wire.username,
            password: wire.password,
            identity_token: wire.identitytoken,
            registry_token: wire.registrytoken,
            server_address: wire.serveraddress,
        };
        if !wire.auth.is_empty() && this.username.is_empty() {
            (this.username, this.password) = decode_pair(&wire.auth).ok_or_else(invalid)?;
        }
        Ok(if this.is_empty() { None } else { Some(this) })
    }

    /// Whether there is nothing to authenticate with.
    pub fn is_empty(&self) -> bool {
        self.username.is_empty() && self.identity_token.is_empty() && self.registry_token.is_empty()
    }

    /// Tells users apart in caches, without keeping secrets there.
    pub(crate) fn fingerprint(&self) -> [u8; 32] {
        let mut hash = ring::digest::Context::new(&ring::digest::SHA256);
        for part in [
            &self.username,
            &self.password,
            &self.identity_token,
            &self.registry_token,
        ] {
            hash.update(&(part.len() as u64).to_le_bytes());
            hash.update(part.as_bytes());
        }
        let mut print = [0; 32];
        print.copy_from_slice(hash.finish().as_ref());
        print
    }
}

/// Takes `username:password` out of base64.
pub(crate) fn decode_pair(encoded: &str) -> Option<(String, String)> {
    let plain = STANDARD.decode(encoded.trim()).ok()?;
    let plain = String::from_utf8(plain).ok()?;
    let (username, password) = plain.split_once(':')?;
    // Docker pads passwords with NULs.
    Some((username.to_owned(), password.trim_matches('\0').to_owned()))
}

/// `username:password` in base64.
pub(crate) fn encode_pair(username: &str, password: &str) -> String {
    base64::engine::general_purpose::STANDARD.encode(format!("{username}:{password}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers() {
        let json = r#"{"username":"me","password":"pässword>?","serveraddress":"r:5000"}"#;
        for engine in [&URL_SAFE, &STANDARD] {
            let encoded = engine.encode(json);
            for header in [encoded.clone(), encoded.trim_end_matches('=').to_owned()] {
                let found = Credentials::from_registry_auth(&header).unwrap().unwrap();
                assert_eq!(found.username, "me");
                assert_eq!(found.password, "pässword>?");
                assert_eq!(found.server_address, "r:5000");
            }
        }
        for nothing in ["", " ", "e30=", "e30", &URL_SAFE.encode("null")] {
            assert_eq!(
                Credentials::from_registry_auth(nothing).unwrap(),
                None,
                "{nothing}"
            );
        }
        for bad in ["!!", "bm90IGpzb24", &URL_SAFE.encode(r#"{"username":7}"#)] {
            assert!(Credentials::from_registry_auth(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn pairs() {
        let encoded = encode_pair("me", "a:b");
        assert_eq!(decode_pair(&encoded), Some(("me".into(), "a:b".into())));
        assert_eq!(decode_pair("bm9jb2xvbg=="), None);
        let json = format!(r#"{{"auth":"{encoded}"}}"#);
        assert_eq!(
            Credentials::from_json(json.as_bytes()).unwrap(),
            Some(Credentials::basic("me", "a:b"))
        );
    }

    #[test]
    fn secrets_stay_hidden() {
        let mut all = Credentials::basic("me", "hidden-1");
        all.identity_token = "hidden-2".into();
        all.registry_token = "hidden-3".into();
        assert!(!format!("{all:?}").contains("hidden"));
    }
}
