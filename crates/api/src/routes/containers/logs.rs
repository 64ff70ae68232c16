//! `GET /containers/{id}/logs`.

use axum::extract::State;
use bytes::{BufMut, Bytes, BytesMut};
use coracle_runtime::io::{LogEntry, LogOptions};
use coracle_runtime::{Result, RuntimeError};
use futures_util::StreamExt;
use http::HeaderValue;
use jiff::Timestamp;

use super::attach::{MULTIPLEXED, RAW};
use crate::Api;
use crate::connection::ClientGone;
use crate::error::{Answer, ApiError};
use crate::extract::{Name, Query};
use crate::respond;
use crate::stream::frames::{self, LogStyle};
use crate::version::ApiVersion;

/// Entries sent at once.
const BATCH: usize = 256;

pub(super) async fn logs(
    State(api): State<Api>,
    Name(name): Name,
    version: ApiVersion,
    query: Query,
    gone: ClientGone,
) -> Answer {
    let options = LogOptions {
        stdout: query.flag("stdout"),
        stderr: query.flag("stderr"),
        follow: query.flag("follow"),
        tail: query.text("tail").parse().ok(),
        since: query.time("since")?,
        // To dockerd, 0 is no end of a log, while events until then are none.
        until: query
            .time("until")?
            .filter(|until| *until != Timestamp::UNIX_EPOCH),
        // Not Docker's.
        boot: query.flag("boot"),
    };
    if !options.stdout && !options.stderr && !options.boot {
        return Err(ApiError::bad_request(
            "Bad parameters: you must choose at least one stream",
        ));
    }
    let boot = options.boot;
    let logs = api.runtime.container_logs(&name, options).await?;
    let style = LogStyle {
        framed: !logs.tty,
        // A console's lines have none, or the guest's own.
        timestamps: query.flag("timestamps") && !boot,
        details: query.flag("details"),
    };
    let content_type = if style.framed && version.since(42) {
        MULTIPLEXED
    } else {
        RAW
    };
    let chunks = logs
        .entries
        .ready_chunks(BATCH)
        .map(move |batch| encode(style, batch));
    Ok(respond::stream(
        HeaderValue::from_static(content_type),
        chunks,
        &gone,
    ))
}

fn encode(style: LogStyle, batch: Vec<Result<LogEntry>>) -> Bytes {
    let mut entries = Vec::with_capacity(batch.len());
    let mut failure: Option<RuntimeError> = None;
    for item in batch {
        match item {
            Ok(entry) => entries.push(entry),
            Err(error) => failure = Some(error),
        }
    }
    let bytes = style.encode(&entries);
    let Some(error) = failure else {
        return bytes;
    };
    tracing::info!(%error, "log broke off");
    let mut out = BytesMut::from(&*bytes);
    if style.framed {
        frames::put_error(&mut out, true, &format!("Error grabbing logs: {error}\n"));
    } else {
        out.put_slice(format!("Error grabbing logs: {error}\n").as_bytes());
    }
    out.freeze()
}
