//! Requests as the routes take them: path, query and body, each in its type, or a refusal.

use std::error::Error;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{FromRequestParts, RawPathParams};
use bytes::Bytes;
use coracle_runtime::io::ByteStream;
use http::request::Parts;
use http::{Request, StatusCode, header};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde::de::DeserializeOwned;
use utoipa::ToSchema;
use utoipa::openapi::request_body::{RequestBody, RequestBodyBuilder};
use utoipa::openapi::{ContentBuilder, Required};

use crate::Api;
use crate::connection::ClientGone;
use crate::extract::byte_stream;
use crate::native::describe::Schemas;
use crate::native::error::{Answer, NativeError};

/// A request.
pub(crate) struct Call<Q, B> {
    pub(crate) api: Api,
    /// The path's parameter; empty where it has none.
    pub(crate) name: String,
    pub(crate) query: Q,
    pub(crate) body: B,
    pub(crate) gone: ClientGone,
}

/// A request's id, in its extensions.
#[derive(Clone)]
pub(crate) struct RequestId(pub(crate) Arc<str>);

/// What a route reads of a body.
pub(crate) trait Input: Sized + Send {
    /// Its description; none where no body is read.
    fn describe(schemas: &mut Schemas) -> Option<RequestBody>;

    /// Reads it.
    fn read(parts: &Parts, body: Body, api: &Api) -> impl Future<Output = Answer<Self>> + Send;
}

/// No body. One that comes all the same is left unread.
pub(crate) struct NoBody;

/// A JSON object that must be there.
pub(crate) struct Json<T>(pub(crate) T);

/// A JSON object that may be left out.
pub(crate) struct Optional<T>(pub(crate) T);

/// A JSON object that must be there, and that no refusal quotes.
pub(crate) struct Private<T>(pub(crate) T);

/// A tar archive, as it comes.
pub(crate) struct Archive(pub(crate) ByteStream);

impl Input for NoBody {
    fn describe(_: &mut Schemas) -> Option<RequestBody> {
        None
    }

    async fn read(_: &Parts, _: Body, _: &Api) -> Answer<Self> {
        Ok(Self)
    }
}

fn describe_json<T: ToSchema>(schemas: &mut Schemas, required: Required) -> RequestBody {
    let content = ContentBuilder::new()
        .schema(Some(schemas.reference::<T>()))
        .build();
    RequestBodyBuilder::new()
        .content("application/json", content)
        .required(Some(required))
        .build()
}

impl<T: DeserializeOwned + ToSchema + Send> Input for Json<T> {
    fn describe(schemas: &mut Schemas) -> Option<RequestBody> {
        Some(describe_json::<T>(schemas, Required::True))
    }

    async fn read(parts: &Parts, body: Body, api: &Api) -> Answer<Self> {
        let bytes = json_bytes(parts, body, api).await?;
        if bytes.is_empty() {
            return Err(NativeError::new(
                StatusCode::BAD_REQUEST,
                "invalidJson",
                "the request needs a body",
            ));
        }
        parse(&bytes).map(Self)
    }
}

impl<T: DeserializeOwned + Default + ToSchema + Send> Input for Optional<T> {
    fn describe(schemas: &mut Schemas) -> Option<RequestBody> {
        Some(describe_json::<T>(schemas, Required::False))
    }

    async fn read(parts: &Parts, body: Body, api: &Api) -> Answer<Self> {
        let bytes = json_bytes(parts, body, api).await?;
        if bytes.is_empty() {
            return Ok(Self(T::default()));
        }
        parse(&bytes).map(Self)
    }
}

impl<T: DeserializeOwned + ToSchema + Send> Input for Private<T> {
    fn describe(schemas: &mut Schemas) -> Option<RequestBody> {
        Json::<T>::describe(schemas)
    }

    async fn read(parts: &Parts, body: Body, api: &Api) -> Answer<Self> {
        let bytes = json_bytes(parts, body, api).await?;
        serde_json::from_slice(&bytes).map(Self).map_err(|error| {
            NativeError::new(
                StatusCode::BAD_REQUEST,
                "invalidJson",
                format!(
                    "the request's body is not what it should be, at line {} column {}",
                    error.line(),
                    error.column()
                ),
            )
        })
    }
}

impl Input for Archive {
    fn describe(_: &mut Schemas) -> Option<RequestBody> {
        let content = ContentBuilder::new()
            .schema(Some(super::describe::binary()))
            .build();
        Some(
            RequestBodyBuilder::new()
                .description(Some("A tar archive, plain or compressed."))
                .content("application/x-tar", content)
                .required(Some(Required::True))
                .build(),
        )
    }

    async fn read(parts: &Parts, body: Body, _: &Api) -> Answer<Self> {
        let archives = [
            "application/x-tar",
            "application/tar",
            "application/gzip",
            "application/zstd",
            "application/octet-stream",
        ];
        check_type(parts, &archives)?;
        Ok(Self(byte_stream(body)))
    }
}

fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Answer<T> {
    // The text has the place: line and column.
    serde_json::from_slice(bytes).map_err(|error| {
        NativeError::new(
            StatusCode::BAD_REQUEST,
            "invalidJson",
            format!("the request's body is not what it should be: {error}"),
        )
    })
}

/// Whether the content type is one of these; the first is what is asked for otherwise.
fn check_type(parts: &Parts, known: &[&str]) -> Answer<()> {
    let given = parts.headers.get(header::CONTENT_TYPE);
    let text = given.map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
    let text = text.unwrap_or_default();
    let media = text.split(';').next().unwrap_or_default().trim();
    if known.iter().any(|known| media.eq_ignore_ascii_case(known)) {
        return Ok(());
    }
    let wanted = known.first().copied().unwrap_or_default();
    Err(NativeError::new(
        StatusCode::UNSUPPORTED_MEDIA_TYPE,
        "unsupportedMediaType",
        if media.is_empty() {
            format!("the request's body needs a Content-Type: {wanted}")
        } else {
            format!("the request's body is {media:?}, which is not {wanted}")
        },
    ))
}

async fn json_bytes(parts: &Parts, body: Body, api: &Api) -> Answer<Bytes> {
    let limit = api.config.max_json;
    let too_long = || {
        NativeError::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "payloadTooLarge",
            format!("the request's body is longer than {limit} bytes"),
        )
    };
    let announced = parts.headers.get(header::CONTENT_LENGTH);
    let announced = announced.and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if announced.is_some_and(|length| length > limit as u64) {
        return Err(too_long());
    }
    let collected = Limited::new(body, limit).collect().await.map_err(|error| {
        if error.downcast_ref::<LengthLimitError>().is_some() {
            too_long()
        } else if is_timeout(&*error) {
            let limit = api.config.body_timeout.as_secs();
            NativeError::new(
                StatusCode::REQUEST_TIMEOUT,
                "timeout",
                format!("nothing more of the request's body came within {limit} seconds"),
            )
        } else {
            NativeError::invalid(format!("the request's body broke off: {error}"))
        }
    })?;
    let bytes = collected.to_bytes();
    if !bytes.is_empty() {
        check_type(parts, &["application/json"])?;
    }
    Ok(bytes)
}

/// Whether the cause is that nothing came for too long.
fn is_timeout(error: &(dyn Error + 'static)) -> bool {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if error.is::<crate::limits::BodyTimeout>() {
            return true;
        }
        cause = error.source();
    }
    false
}

fn read_query<Q: DeserializeOwned>(query: &str) -> Answer<Q> {
    serde_html_form::from_str(query).map_err(|error| {
        let mut place = String::new();
        // The parser does not say which one it was: it is the one that fails alike alone.
        for pair in query.split('&') {
            let alone = serde_html_form::from_str::<Q>(pair).err();
            if alone.is_some_and(|alone| alone.to_string() == error.to_string()) {
                let name = pair.split('=').next().unwrap_or_default();
                place = format!("{name}: ");
            }
        }
        NativeError::new(
            StatusCode::BAD_REQUEST,
            "invalidQuery",
            format!("the query is not what it should be: {place}{error}"),
        )
    })
}

/// Reads a request.
pub(crate) async fn read<Q, B>(request: Request<Body>, api: Api) -> Answer<Call<Q, B>>
where
    Q: DeserializeOwned,
    B: Input,
{
    let (mut parts, body) = request.into_parts();
    let params = RawPathParams::from_request_parts(&mut parts, &())
        .await
        .map_err(|error| NativeError::invalid(error.to_string()))?;
    let name = params.iter().next().map(|(_, value)| value.to_owned());
    let query = read_query(parts.uri.query().unwrap_or_default())?;
    let gone = parts.extensions.get::<ClientGone>().cloned();
    let body = B::read(&parts, body, &api).await?;
    Ok(Call {
        api,
        name: name.unwrap_or_default(),
        query,
        body,
        // A request that came over no connection has nobody who could leave.
        gone: gone.unwrap_or_else(|| ClientGone(Default::default())),
    })
}
