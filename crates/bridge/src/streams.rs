//! Streams of the engine's, as the trait has them.

use std::pin::Pin;

use bytes::Bytes;
use coracle_client::{Download, HijackedReader, Host, Lines, Upload};
use coracle_docker::frame::FrameKind;
use coracle_runtime::io::{BoxStream, ByteStream, StreamKind};
use coracle_runtime::{Result, RuntimeError};
use futures_util::{StreamExt, TryStreamExt, stream};
use serde::de::DeserializeOwned;
use tokio_util::io::{ReaderStream, StreamReader};

use crate::error::{About, kind};

/// Bytes read of a long answer at once.
const CHUNK: usize = 64 * 1024;

/// A long answer's bytes.
pub(crate) fn download(answer: Download, host: &Host) -> ByteStream {
    let host = host.clone();
    let broken = move |error: std::io::Error| {
        RuntimeError::Unavailable(format!("the engine at {host} broke off: {error}"))
    };
    Box::pin(ReaderStream::with_capacity(answer, CHUNK).map_err(broken))
}

/// Bytes to be sent. An error in them breaks the request off.
pub(crate) fn upload(bytes: ByteStream) -> Upload {
    Upload::new(StreamReader::new(bytes.map_err(std::io::Error::other)))
}

/// Values that come a line each; the first error ends them.
pub(crate) fn lines<T, U>(
    lines: Lines<T>,
    about: About,
    host: &Host,
    convert: impl Fn(T) -> Result<U> + Send + 'static,
) -> BoxStream<U>
where
    T: DeserializeOwned + Send + 'static,
    U: Send + 'static,
{
    let state = Some((lines, convert, host.clone()));
    Box::pin(stream::unfold(state, move |state| async move {
        let (mut lines, convert, host) = state?;
        let item = match lines.next().await {
            Ok(None) => return None,
            Ok(Some(line)) => convert(line),
            Err(error) => Err(kind(about, error, &host)),
        };
        let state = item.is_ok().then_some((lines, convert, host));
        Some((item, state))
    }))
}

/// A process's output. What else is to live as long is `kept`.
pub(crate) fn output<K: Send + 'static>(
    reader: HijackedReader,
    host: &Host,
    kept: K,
) -> BoxStream<(StreamKind, Bytes)> {
    let state = Some((reader, host.clone(), kept));
    Box::pin(stream::unfold(state, |state| async move {
        let (mut reader, host, kept) = state?;
        let item = match reader.next().await {
            Ok(None) => return None,
            Ok(Some(item)) => piece(item),
            Err(error) => Err(kind(About::Thing, error, &host)),
        };
        let state = item.is_ok().then_some((reader, host, kept));
        Some((item, state))
    }))
}

/// A piece of output. What the engine itself has to say of it is an error.
pub(crate) fn piece(item: coracle_client::Item) -> Result<(StreamKind, Bytes)> {
    match item.kind {
        // Engines of old send what comes first as if it were input.
        FrameKind::Stdin | FrameKind::Stdout => Ok((StreamKind::Stdout, item.bytes)),
        FrameKind::Stderr => Ok((StreamKind::Stderr, item.bytes)),
        FrameKind::SystemError => Err(RuntimeError::Backend(
            String::from_utf8_lossy(&item.bytes).trim_end().to_owned(),
        )),
    }
}

/// The same output, with some that was read before in front.
pub(crate) fn after(
    first: Vec<(StreamKind, Bytes)>,
    rest: BoxStream<(StreamKind, Bytes)>,
) -> BoxStream<(StreamKind, Bytes)> {
    if first.is_empty() {
        return rest;
    }
    Box::pin(stream::iter(first.into_iter().map(Ok)).chain(rest))
}

/// A process's input.
pub(crate) type Input = Pin<Box<dyn tokio::io::AsyncWrite + Send>>;
