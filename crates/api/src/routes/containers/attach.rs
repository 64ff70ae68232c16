//! `POST /containers/{id}/attach`.

use axum::extract::State;
use coracle_docker::API_VERSION;
use coracle_runtime::io::AttachOptions;
use coracle_runtime::{RuntimeError, Status};
use http::{HeaderMap, header};
use tokio::io::AsyncWriteExt;

use crate::Api;
use crate::connection::{Hijack, HijackedIo};
use crate::error::{Answer, ApiError};
use crate::extract::{Name, Query};
use crate::service::SERVER;
use crate::stream::detach::DetachKeys;
use crate::stream::hijack::{self, Session};
use crate::version::ApiVersion;

/// A terminal's stream.
pub(in crate::routes) const RAW: &str = "application/vnd.docker.raw-stream";
/// Framed streams.
pub(in crate::routes) const MULTIPLEXED: &str = "application/vnd.docker.multiplexed-stream";

/// The refusal where there is no connection to take.
pub(in crate::routes) fn no_connection() -> ApiError {
    ApiError::bad_request("error attaching, hijack connection missing")
}

/// The head of a hijacked answer. Without an upgrade, Docker says raw whatever comes.
pub(in crate::routes) fn head(headers: &HeaderMap, version: ApiVersion, framed: bool) -> String {
    let upgrade = headers.contains_key(header::UPGRADE);
    let content_type = if upgrade && framed && version.since(42) {
        MULTIPLEXED
    } else {
        RAW
    };
    let further = format!(
        "Api-Version: {API_VERSION}\r\nDocker-Experimental: false\r\nOstype: linux\r\n\
         Server: {SERVER}\r\n"
    );
    hijack::head(upgrade, content_type, &further)
}

/// Writes a head; `false` where the client is gone.
pub(in crate::routes) async fn write_head(io: &mut HijackedIo, head: &str) -> bool {
    io.write_all(head.as_bytes()).await.is_ok() && io.flush().await.is_ok()
}

pub(super) async fn attach(
    State(api): State<Api>,
    Name(name): Name,
    version: ApiVersion,
    query: Query,
    hijack: Option<Hijack>,
    headers: HeaderMap,
) -> Answer {
    let keys = DetachKeys::parse(query.text("detachKeys"))?;
    let options = AttachOptions {
        stdin: query.flag("stdin"),
        stdout: query.flag("stdout"),
        stderr: query.flag("stderr"),
        logs: query.flag("logs"),
        stream: query.flag("stream"),
    };
    let container = api.runtime.inspect_container(&name, false).await?;
    match container.state.status {
        Status::Paused => {
            return Err(RuntimeError::InvalidState(format!(
                "container {name} is paused, unpause the container before attach"
            ))
            .into());
        }
        Status::Restarting => {
            return Err(RuntimeError::InvalidState(format!(
                "container {name} is restarting, wait until the container is running"
            ))
            .into());
        }
        _ => {}
    }
    let hijack = hijack.ok_or_else(no_connection)?;
    let attached = api.runtime.attach_container(&name, options).await?;
    let session = Session {
        framed: !attached.tty,
        detach: attached.tty.then_some(keys),
        close_input: container.config.stdin_once && !attached.tty,
    };
    let head = head(&headers, version, session.framed);
    match hijack
        .take(async move |mut io| {
            if write_head(&mut io, &head).await {
                hijack::run(io, attached, session).await;
            }
        })
        .await {}
}

pub(super) async fn websocket() -> ApiError {
    ApiError::not_implemented("attach over a WebSocket is not supported; use POST attach")
}
