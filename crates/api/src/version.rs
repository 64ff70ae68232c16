//! API versions: the `/vX.Y` before a path.

use std::convert::Infallible;
use std::fmt;

use axum::extract::FromRequestParts;
use coracle_docker::{API_VERSION, MIN_API_VERSION};
use http::Uri;
use http::request::Parts;
use http::uri::PathAndQuery;

use crate::error::ApiError;

/// The version that a request speaks: major and minor. Ordered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ApiVersion(u32, u32);

impl ApiVersion {
    /// The newest.
    pub const LATEST: Self = Self(1, 47);
    /// The oldest.
    pub const OLDEST: Self = Self(1, 24);

    /// Whether it is at least `1.minor`.
    pub const fn since(self, minor: u32) -> bool {
        self.0 > 1 || self.1 >= minor
    }

    /// Whether it is older than `1.minor`.
    pub const fn before(self, minor: u32) -> bool {
        !self.since(minor)
    }
}

impl fmt::Display for ApiVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.0, self.1)
    }
}

impl<S: Sync> FromRequestParts<S> for ApiVersion {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(parts
            .extensions
            .get::<Self>()
            .copied()
            .unwrap_or(Self::LATEST))
    }
}

/// Splits the version off a path: what it is, and the rest. A path without one is of the latest.
pub(crate) fn split(path: &str) -> Result<(ApiVersion, &str), ApiError> {
    let Some((version, rest)) = path
        .strip_prefix("/v")
        .and_then(|path| Some(path.split_at(path.find('/')?)))
    else {
        return Ok((ApiVersion::LATEST, path));
    };
    let numeric = |c: char| c.is_ascii_digit() || c == '.';
    if version.is_empty() || !version.contains(numeric) || !version.chars().all(numeric) {
        return Ok((ApiVersion::LATEST, path));
    }
    let (major, minor) = version.split_once('.').unwrap_or((version, "0"));
    let number = |text: &str| text.parse::<u32>().unwrap_or(u32::MAX);
    let parsed = ApiVersion(number(major), number(minor));
    if parsed > ApiVersion::LATEST {
        return Err(ApiError::bad_request(format!(
            "client version {version} is too new. Maximum supported API version is {API_VERSION}"
        )));
    }
    if parsed < ApiVersion::OLDEST {
        return Err(ApiError::bad_request(format!(
            "client version {version} is too old. Minimum supported API version is \
             {MIN_API_VERSION}, please upgrade your client to a newer version"
        )));
    }
    Ok((parsed, rest))
}

/// Takes the version out of a URI.
pub(crate) fn strip(uri: &Uri) -> Result<(ApiVersion, Uri), ApiError> {
    let (version, path) = split(uri.path())?;
    let target = match uri.query() {
        Some(query) => format!("{path}?{query}"),
        None => path.to_owned(),
    };
    let mut parts = uri.clone().into_parts();
    let target = PathAndQuery::try_from(target)
        .map_err(|error| ApiError::bad_request(format!("invalid request path: {error}")))?;
    // A server's requests have no authority that counts; only the path is routed by.
    parts.scheme = None;
    parts.authority = None;
    parts.path_and_query = Some(target);
    let uri = Uri::from_parts(parts)
        .map_err(|error| ApiError::bad_request(format!("invalid request path: {error}")))?;
    Ok((version, uri))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_split_off() {
        assert_eq!(split("/v1.41/info").unwrap(), (ApiVersion(1, 41), "/info"));
        assert_eq!(split("/info").unwrap(), (ApiVersion::LATEST, "/info"));
        assert_eq!(
            split("/volumes/x").unwrap(),
            (ApiVersion::LATEST, "/volumes/x")
        );
        assert_eq!(split("/version").unwrap(), (ApiVersion::LATEST, "/version"));
        assert_eq!(LATEST_TEXT, API_VERSION);
    }

    const LATEST_TEXT: &str = "1.47";

    #[test]
    fn others_are_refused_in_dockers_words() {
        for (path, text) in [
            (
                "/v1.99/info",
                "client version 1.99 is too new. Maximum supported API version is 1.47",
            ),
            (
                "/v1.12/info",
                "client version 1.12 is too old. Minimum supported API version is 1.24, please \
                 upgrade your client to a newer version",
            ),
            (
                "/v99999999999.1/info",
                "client version 99999999999.1 is too new. Maximum supported API version is 1.47",
            ),
        ] {
            assert_eq!(split(path).unwrap_err().to_string(), text);
        }
    }

    #[test]
    fn the_query_stays() {
        let uri = "/v1.30/containers/json?all=1".parse().unwrap();
        let (version, uri) = strip(&uri).unwrap();
        assert_eq!(version, ApiVersion(1, 30));
        assert_eq!(uri.to_string(), "/containers/json?all=1");
    }
}
