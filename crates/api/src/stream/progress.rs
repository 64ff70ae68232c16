//! Progress of long image operations, as JSON lines.

use axum::response::Response;
use bytes::Bytes;
use coracle_docker::progress::{ProgressDetail, ProgressMessage};
use coracle_runtime::image::Progress;
use coracle_runtime::io::BoxStream;
use coracle_runtime::{Result, RuntimeError};
use futures_util::{StreamExt, stream};

use crate::connection::ClientGone;
use crate::error::Answer;
use crate::respond;

/// Items written at once.
const BATCH: usize = 64;

/// Answers with a stream of progress. An error that comes before anything else becomes the answer's
/// status; a later one the stream's last line.
pub(crate) async fn respond(
    operation: impl Future<Output = Result<BoxStream<Progress>>>,
    gone: &ClientGone,
) -> Answer {
    let begun = async {
        let mut steps = operation.await?;
        let first = steps.next().await.transpose()?;
        Ok(stream::iter(first.map(Ok)).chain(steps).boxed())
    };
    Ok(lines(unless_gone(begun, gone).await?, gone))
}

/// The same, but every error becomes the stream's last line.
pub(crate) async fn respond_in_stream(
    operation: impl Future<Output = Result<BoxStream<Progress>>>,
    gone: &ClientGone,
) -> Answer {
    let steps = unless_gone(operation, gone).await;
    let steps = steps.unwrap_or_else(|error| stream::iter([Err(error)]).boxed());
    Ok(lines(steps, gone))
}

async fn unless_gone<T>(work: impl Future<Output = Result<T>>, gone: &ClientGone) -> Result<T> {
    tokio::select! {
        result = work => result,
        () = gone.wait() => Err(RuntimeError::Unavailable("the client went away".into())),
    }
}

fn lines(steps: BoxStream<Progress>, gone: &ClientGone) -> Response {
    let mut failed = false;
    let steps = steps.take_while(move |step| {
        let go_on = !failed;
        failed |= step.is_err();
        std::future::ready(go_on)
    });
    let chunks = steps.ready_chunks(BATCH).map(|batch| {
        let mut chunk = Vec::new();
        for step in batch {
            let message = step.map_or_else(
                |error| {
                    tracing::info!(%error, "operation failed after it began");
                    ProgressMessage::failure(error.to_string())
                },
                message,
            );
            // A struct of strings and numbers always becomes JSON.
            chunk.extend_from_slice(&serde_json::to_vec(&message).unwrap_or_default());
            chunk.extend_from_slice(b"\r\n");
        }
        Bytes::from(chunk)
    });
    respond::stream(respond::JSON, chunks, gone)
}

fn message(step: Progress) -> ProgressMessage {
    let detail = match step.bytes {
        Some((current, total)) => Some(ProgressDetail {
            current,
            total: total.unwrap_or(0),
        }),
        // An empty detail tells terminals to update the layer's line in place.
        None if is_layer(&step.id) => Some(ProgressDetail::default()),
        None => None,
    };
    ProgressMessage {
        stream: step.stream.unwrap_or_default(),
        status: step.status,
        progress: detail.map(ProgressDetail::text).unwrap_or_default(),
        progress_detail: detail,
        id: step.id,
        aux: step.aux,
        ..ProgressMessage::default()
    }
}

fn is_layer(id: &str) -> bool {
    id.len() == 12 && id.bytes().all(|byte| byte.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layers_are_updated_in_place() {
        let layer = message(Progress {
            id: "0123456789ab".into(),
            status: "Pull complete".into(),
            ..Progress::default()
        });
        assert_eq!(
            serde_json::to_string(&layer).unwrap(),
            r#"{"status":"Pull complete","progressDetail":{},"id":"0123456789ab"}"#
        );
        let tag = message(Progress {
            id: "latest".into(),
            status: "Pulling from library/busybox".into(),
            ..Progress::default()
        });
        assert_eq!(
            serde_json::to_string(&tag).unwrap(),
            r#"{"status":"Pulling from library/busybox","id":"latest"}"#
        );
    }
}
