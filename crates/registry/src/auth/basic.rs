//! `Authorization` headers.

use http::HeaderValue;

use super::credentials::Credentials;
use super::credentials::encode_pair;
use crate::error::Error;
use crate::error::Result;

/// `Basic` (RFC 7617).
pub(crate) fn basic(credentials: &Credentials) -> Result<HeaderValue> {
    if credentials.username.contains(':') {
        return Err(Error::credentials("a user name cannot contain a colon"));
    }
    header(
        "Basic",
        &encode_pair(&credentials.username, &credentials.password),
    )
}

/// `Bearer` (RFC 6750).
pub(crate) fn bearer(token: &str) -> Result<HeaderValue> {
    header("Bearer", token)
}

fn header(scheme: &str, value: &str) -> Result<HeaderValue> {
    let mut header = HeaderValue::try_from(format!("{scheme} {value}"))
        .map_err(|_| Error::credentials("a token has characters that are not allowed"))?;
    header.set_sensitive(true);
    Ok(header)
}
