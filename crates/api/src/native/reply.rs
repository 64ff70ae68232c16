//! Answers, each with its description.

use std::convert::Infallible;
use std::sync::Arc;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use coracle_native::{End, StreamEnd};
use coracle_runtime::RuntimeError;
use coracle_runtime::io::{BoxStream, ByteStream};
use futures_util::future::BoxFuture;
use futures_util::{FutureExt, StreamExt, stream};
use http::{HeaderValue, StatusCode, header};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa::openapi::schema::OneOfBuilder;
use utoipa::openapi::{ContentBuilder, Response as Described, ResponseBuilder};

use crate::connection::ClientGone;
use crate::native::describe::{Schemas, binary};
use crate::native::error::{Answer, NativeError};
use crate::respond;

/// The media type of streams.
pub(crate) const NDJSON: HeaderValue = HeaderValue::from_static("application/x-ndjson");
/// Lines written at once.
const BATCH: usize = 64;

/// What an answer may need of its request.
pub(crate) struct Around {
    pub(crate) gone: ClientGone,
    pub(crate) request_id: Arc<str>,
}

/// What a route answers where it does what it was asked.
pub(crate) trait Reply: Send {
    /// Status and description.
    fn describe(schemas: &mut Schemas) -> (StatusCode, Described);

    /// The response.
    fn respond(self, around: Around) -> Response;
}

/// 200 with a JSON document.
pub(crate) struct Found<T>(pub(crate) T);

/// 201 with a JSON document.
pub(crate) struct Created<T>(pub(crate) T);

/// 204.
pub(crate) struct Done;

/// 200 with a tar archive.
pub(crate) struct Tar(pub(crate) ByteStream);

/// 200 with one JSON object a line.
pub(crate) struct Lines<T> {
    items: BoxStream<T>,
    /// What the last line says beyond that it is complete.
    exit_code: Option<BoxFuture<'static, Result<i32, RuntimeError>>>,
}

/// One of two.
pub(crate) enum Either<A, B> {
    First(A),
    Second(B),
}

fn document<T: ToSchema>(schemas: &mut Schemas, description: &str) -> Described {
    let content = ContentBuilder::new()
        .schema(Some(schemas.reference::<T>()))
        .build();
    ResponseBuilder::new()
        .description(description)
        .content("application/json", content)
        .build()
}

fn json<T: Serialize>(status: StatusCode, body: &T) -> Response {
    respond::json(status, body)
        .map_err(NativeError::from)
        .into_response()
}

impl<T: Serialize + ToSchema + Send> Reply for Found<T> {
    fn describe(schemas: &mut Schemas) -> (StatusCode, Described) {
        (
            StatusCode::OK,
            document::<T>(schemas, "What was asked for."),
        )
    }

    fn respond(self, _: Around) -> Response {
        json(StatusCode::OK, &self.0)
    }
}

impl<T: Serialize + ToSchema + Send> Reply for Created<T> {
    fn describe(schemas: &mut Schemas) -> (StatusCode, Described) {
        (StatusCode::CREATED, document::<T>(schemas, "It was made."))
    }

    fn respond(self, _: Around) -> Response {
        json(StatusCode::CREATED, &self.0)
    }
}

impl Reply for Done {
    fn describe(_: &mut Schemas) -> (StatusCode, Described) {
        let done = ResponseBuilder::new().description("It was done.").build();
        (StatusCode::NO_CONTENT, done)
    }

    fn respond(self, _: Around) -> Response {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::NO_CONTENT;
        response
    }
}

impl Reply for Tar {
    fn describe(_: &mut Schemas) -> (StatusCode, Described) {
        let content = ContentBuilder::new().schema(Some(binary())).build();
        let archive = ResponseBuilder::new()
            .description("A tar archive. One that is not whole ends without its last chunk.")
            .content("application/x-tar", content)
            .build();
        (StatusCode::OK, archive)
    }

    fn respond(self, _: Around) -> Response {
        let bytes = self.0.inspect(|item| {
            if let Err(error) = item {
                tracing::error!(%error, "archive broken off");
            }
        });
        let mut response = Response::new(Body::from_stream(bytes));
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, respond::TAR);
        response
    }
}

impl Tar {
    /// The same, once its first bytes are there, so that a failure before is an answer of its own.
    pub(crate) async fn begun(mut bytes: ByteStream) -> Answer<Self> {
        let first = bytes.next().await.transpose()?;
        Ok(Self(stream::iter(first.map(Ok)).chain(bytes).boxed()))
    }
}

impl<T: Serialize + Send + 'static> Lines<T> {
    pub(crate) fn new(items: BoxStream<T>) -> Self {
        Self {
            items,
            exit_code: None,
        }
    }

    /// The same, once the first item is there, so that a failure before is an answer of its own.
    pub(crate) async fn begun(mut items: BoxStream<T>, gone: &ClientGone) -> Answer<Self> {
        let first = tokio::select! {
            first = items.next() => first.transpose()?,
            () = gone.wait() => None,
        };
        Ok(Self::new(stream::iter(first.map(Ok)).chain(items).boxed()))
    }

    /// Says in the end what the process's exit code was.
    pub(crate) fn with_exit_code(
        self,
        exit_code: impl Future<Output = Result<i32, RuntimeError>> + Send + 'static,
    ) -> Self {
        Self {
            exit_code: Some(exit_code.boxed()),
            ..self
        }
    }

    /// The lines, the last one too.
    fn bytes(self, around: Around) -> impl futures_core::Stream<Item = Bytes> + Send {
        let state = (
            self.items.ready_chunks(BATCH),
            self.exit_code,
            around,
            false,
        );
        stream::unfold(state, async |(mut items, exit_code, around, ended)| {
            if ended {
                return None;
            }
            let batch = tokio::select! {
                biased;
                () = around.gone.wait() => return Some((
                    last(End::Closing, None, None),
                    (items, exit_code, around, true),
                )),
                batch = items.next() => batch,
            };
            let Some(batch) = batch else {
                let line = match exit_code {
                    None => last(End::Complete, None, None),
                    Some(exit_code) => match exit_code.await {
                        Ok(code) => last(End::Complete, None, Some(code)),
                        Err(error) => last(End::Failed, Some((error, &around)), None),
                    },
                };
                return Some((line, (items, None, around, true)));
            };
            let mut chunk = Vec::new();
            for item in batch {
                match item {
                    Ok(item) => chunk.extend_from_slice(&line(&item)),
                    Err(error) => {
                        tracing::info!(%error, "a stream failed after it began");
                        chunk.extend_from_slice(&last(End::Failed, Some((error, &around)), None));
                        return Some((chunk.into(), (items, None, around, true)));
                    }
                }
            }
            Some((chunk.into(), (items, exit_code, around, false)))
        })
    }
}

fn line(value: &impl Serialize) -> Bytes {
    // Structs of strings and numbers always become JSON.
    respond::line(value).unwrap_or_default()
}

fn last(end: End, error: Option<(RuntimeError, &Around)>, exit_code: Option<i32>) -> Bytes {
    line(&StreamEnd {
        end,
        error: error.map(|(error, around)| NativeError::from(error).body(&around.request_id)),
        exit_code,
    })
}

impl<T: Serialize + ToSchema + Send + 'static> Reply for Lines<T> {
    fn describe(schemas: &mut Schemas) -> (StatusCode, Described) {
        let either = OneOfBuilder::new()
            .item(schemas.reference::<T>())
            .item(schemas.reference::<StreamEnd>())
            .description(Some("The form of each line; the last is the end."));
        let content = ContentBuilder::new().schema(Some(either)).build();
        let lines = ResponseBuilder::new()
            .description("One JSON object a line; the last says how it ended.")
            .content("application/x-ndjson", content)
            .build();
        (StatusCode::OK, lines)
    }

    fn respond(self, around: Around) -> Response {
        let bytes = self.bytes(around).map(Ok::<_, Infallible>);
        let mut response = Response::new(Body::from_stream(bytes));
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, NDJSON);
        response
    }
}

impl<A: Reply, B: Reply> Reply for Either<A, B> {
    /// Both have the same status.
    fn describe(schemas: &mut Schemas) -> (StatusCode, Described) {
        let (status, mut described) = A::describe(schemas);
        described.content.extend(B::describe(schemas).1.content);
        (status, described)
    }

    fn respond(self, around: Around) -> Response {
        match self {
            Self::First(first) => first.respond(around),
            Self::Second(second) => second.respond(around),
        }
    }
}
