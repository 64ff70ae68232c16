//! What routes take out of a request, with Docker's refusals.

use std::convert::Infallible;

use axum::body::Body;
use axum::extract::{FromRequestParts, OptionalFromRequestParts, Path};
use bytes::Bytes;
use coracle_docker::lenient;
use coracle_runtime::io::ByteStream;
use coracle_runtime::{Filters, RuntimeError};
use futures_util::{StreamExt, TryStreamExt};
use http::request::Parts;
use http::{HeaderMap, StatusCode, header};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use jiff::{SignedDuration, Timestamp};
use percent_encoding::percent_decode_str;
use serde::de::DeserializeOwned;

use crate::connection::{ClientGone, Hijack};
use crate::error::{Answer, ApiError};

/// The one parameter of a path.
pub(crate) struct Name(pub(crate) String);

impl<S: Send + Sync> FromRequestParts<S> for Name {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Answer<Self> {
        let Path(name) = <Path<String> as FromRequestParts<S>>::from_request_parts(parts, state)
            .await
            .map_err(|error| ApiError::bad_request(error.body_text()))?;
        Ok(Self(name))
    }
}

/// The query, in order.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Query(Vec<(String, String)>);

impl<S: Sync> FromRequestParts<S> for Query {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Answer<Self> {
        Self::parse(parts.uri.query().unwrap_or_default())
    }
}

impl Query {
    pub(crate) fn parse(query: &str) -> Answer<Self> {
        let decode = |text: &str| {
            let spaced = text.replace('+', " ");
            percent_decode_str(&spaced)
                .decode_utf8()
                .map(std::borrow::Cow::into_owned)
                .map_err(|_| ApiError::bad_request(format!("invalid URL escape in {text:?}")))
        };
        let mut pairs = Vec::new();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            pairs.push((decode(key)?, decode(value)?));
        }
        Ok(Self(pairs))
    }

    /// The first value of a key.
    pub(crate) fn get(&self, key: &str) -> Option<&str> {
        let found = self.0.iter().find(|(name, _)| name == key);
        found.map(|(_, value)| value.as_str())
    }

    /// The first value of a key; empty where there is none.
    pub(crate) fn text(&self, key: &str) -> &str {
        self.get(key).unwrap_or_default()
    }

    /// All values of a key.
    pub(crate) fn all<'a>(&'a self, key: &'a str) -> impl Iterator<Item = &'a str> {
        self.0
            .iter()
            .filter(move |(name, _)| name == key)
            .map(|(_, value)| value.as_str())
    }

    /// A switch: off where absent, empty, `0`, `no`, `false` or `none`.
    pub(crate) fn flag(&self, key: &str) -> bool {
        !matches!(
            self.text(key).trim().to_ascii_lowercase().as_str(),
            "" | "0" | "no" | "false" | "none"
        )
    }

    /// A switch with a default for where it is absent.
    pub(crate) fn flag_or(&self, key: &str, default: bool) -> bool {
        if self.get(key).is_some() {
            self.flag(key)
        } else {
            default
        }
    }

    /// A whole number; none where absent or empty.
    pub(crate) fn number(&self, key: &str) -> Answer<Option<i64>> {
        match self.get(key) {
            None | Some("") => Ok(None),
            Some(text) => text.parse().map(Some).map_err(|_| {
                ApiError::bad_request(format!("strconv.Atoi: parsing {text:?}: invalid syntax"))
            }),
        }
    }

    /// The `filters`, with only keys that are known.
    pub(crate) fn filters(&self, known: &[&str]) -> Answer<Filters> {
        Ok(Filters::parse(self.text("filters"), known)?)
    }

    /// A time: `seconds[.nanoseconds]` since 1970, RFC 3339, or an age such as `10m`. None where
    /// absent or empty; 0 is the beginning of 1970.
    pub(crate) fn time(&self, key: &str) -> Answer<Option<Timestamp>> {
        parse_time(self.text(key)).map_err(|()| {
            ApiError::bad_request(format!(
                "invalid value for {key:?}: {:?} is neither Unix seconds, an RFC 3339 time, nor an age such as 10m",
                self.text(key)
            ))
        })
    }
}

/// A time or an age; none where it is empty.
pub(crate) fn parse_time(text: &str) -> Result<Option<Timestamp>, ()> {
    if text.is_empty() {
        return Ok(None);
    }
    if text.contains(['T', 't']) {
        return text.parse().map(Some).map_err(drop);
    }
    if text.ends_with(|c: char| c.is_ascii_alphabetic()) {
        return parse_age(text).map(Some);
    }
    let (seconds, fraction) = text.split_once('.').unwrap_or((text, ""));
    let seconds: i64 = seconds.parse().map_err(drop)?;
    if fraction.len() > 9 || !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(());
    }
    let nanoseconds: i32 = format!("{fraction:0<9}").parse().map_err(drop)?;
    let sign = if text.starts_with('-') { -1 } else { 1 };
    Timestamp::new(seconds, sign * nanoseconds)
        .map(Some)
        .map_err(drop)
}

/// The time that is an age such as `1h30m` ago, as Go's durations are written.
fn parse_age(text: &str) -> Result<Timestamp, ()> {
    let age: SignedDuration = text.parse().map_err(drop)?;
    Timestamp::now().checked_sub(age).map_err(drop)
}

impl<S: Sync> FromRequestParts<S> for ClientGone {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Answer<Self> {
        // A request that came over no connection has nobody who could leave.
        Ok(parts
            .extensions
            .get::<Self>()
            .cloned()
            .unwrap_or_else(|| Self(Default::default())))
    }
}

impl<S: Sync> OptionalFromRequestParts<S> for Hijack {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Option<Self>, Infallible> {
        Ok(parts.extensions.get::<Self>().cloned())
    }
}

/// A body as the runtime takes it.
pub(crate) fn byte_stream(body: Body) -> ByteStream {
    TryStreamExt::map_err(body.into_data_stream(), |error| {
        RuntimeError::InvalidArgument(format!("the request's body broke off: {error}"))
    })
    .boxed()
}

/// A JSON body of at most `limit` bytes; none where it is empty or `null`.
pub(crate) async fn optional_json<T: DeserializeOwned>(
    headers: &HeaderMap,
    body: Body,
    limit: usize,
) -> Answer<Option<T>> {
    let bytes = json_bytes(headers, body, limit).await?;
    if bytes.is_empty() || is_null(&bytes) {
        return Ok(None);
    }
    lenient::from_slice(&bytes)
        .map(Some)
        .map_err(|error| invalid_json(&error))
}

fn is_null(json: &[u8]) -> bool {
    json.trim_ascii() == b"null"
}

/// A JSON body that must be there.
pub(crate) async fn json<T: DeserializeOwned>(
    headers: &HeaderMap,
    body: Body,
    limit: usize,
) -> Answer<T> {
    let bytes = json_bytes(headers, body, limit).await?;
    if bytes.is_empty() {
        return Err(missing_json());
    }
    // Go reads `null` as a struct in which nothing is set.
    let json = if is_null(&bytes) { b"{}" } else { &*bytes };
    lenient::from_slice(json).map_err(|error| invalid_json(&error))
}

/// The refusal of an empty body.
pub(crate) fn missing_json() -> ApiError {
    ApiError::bad_request("invalid JSON: got EOF while reading request body")
}

/// The refusal of a body that is no JSON, or the wrong one.
pub(crate) fn invalid_json(error: &serde_json::Error) -> ApiError {
    if error.to_string().starts_with("trailing characters") {
        return ApiError::bad_request("unexpected content after JSON");
    }
    ApiError::bad_request(format!("invalid JSON: {error}"))
}

/// The bytes of a JSON body, content type checked.
pub(crate) async fn json_bytes(headers: &HeaderMap, body: Body, limit: usize) -> Answer<Bytes> {
    let collected = Limited::new(body, limit).collect().await.map_err(|error| {
        if error.downcast_ref::<LengthLimitError>().is_some() {
            ApiError::new(
                StatusCode::PAYLOAD_TOO_LARGE,
                format!("the request's body is longer than {limit} bytes"),
            )
        } else {
            ApiError::bad_request(format!("the request's body broke off: {error}"))
        }
    })?;
    let bytes = collected.to_bytes();
    let content_type = headers
        .get(header::CONTENT_TYPE)
        .map(|value| String::from_utf8_lossy(value.as_bytes()))
        .unwrap_or_default();
    if content_type.is_empty() && bytes.is_empty() {
        return Ok(bytes);
    }
    if content_type.is_empty() {
        return Err(ApiError::bad_request(
            "malformed Content-Type header (): mime: no media type",
        ));
    }
    let media = content_type.split(';').next().unwrap_or_default().trim();
    if !media.eq_ignore_ascii_case("application/json") {
        return Err(ApiError::bad_request(format!(
            "unsupported Content-Type header ({content_type}): must be 'application/json'"
        )));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn queries_are_decoded() {
        let query = Query::parse("a=1&a=2&b=x%20y+z&c&d=%F0%9F%9A%A3").unwrap();
        assert_eq!(query.all("a").collect::<Vec<_>>(), ["1", "2"]);
        assert_eq!(query.text("b"), "x y z");
        assert_eq!(query.get("c"), Some(""));
        assert_eq!(query.text("d"), "🚣");
        assert!(Query::parse("a=%ff").is_err());
    }

    #[test]
    fn switches_are_dockers() {
        let query = Query::parse("a=1&b=0&c=False&d=&e=yes&f=none").unwrap();
        for (key, on) in [
            ("a", true),
            ("b", false),
            ("c", false),
            ("d", false),
            ("e", true),
            ("f", false),
            ("g", false),
        ] {
            assert_eq!(query.flag(key), on, "{key}");
        }
        assert!(query.flag_or("g", true));
        assert!(!query.flag_or("d", true));
    }

    #[test]
    fn times_are_read() {
        for (text, nanoseconds) in [
            ("1.5", 1_500_000_000),
            ("1136073600.000000001", 1_136_073_600_000_000_001),
            ("1970-01-01T00:00:01.25Z", 1_250_000_000),
            ("-1", -1_000_000_000),
        ] {
            assert_eq!(
                parse_time(text).unwrap().unwrap().as_nanosecond(),
                nanoseconds,
                "{text}"
            );
        }
        assert_eq!(parse_time("0"), Ok(Some(Timestamp::UNIX_EPOCH)));
        assert_eq!(parse_time(""), Ok(None));
        let age = Timestamp::now().duration_since(parse_time("1h30m").unwrap().unwrap());
        assert!((5399..=5401).contains(&age.as_secs()));
        for bad in ["x", "1.x", "1.0000000000", "9999999999999999", "T"] {
            assert!(parse_time(bad).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn no_query_panics(text in ".{0,200}") {
            let _ = Query::parse(&text);
            let _ = parse_time(&text);
        }

        #[test]
        fn times_come_back(seconds in 1i64..4_000_000_000, nanoseconds in 0i32..1_000_000_000) {
            let time = parse_time(&format!("{seconds}.{nanoseconds:09}")).unwrap().unwrap();
            prop_assert_eq!(time.as_second(), seconds);
            prop_assert_eq!(time.subsec_nanosecond(), nanoseconds);
        }
    }
}
