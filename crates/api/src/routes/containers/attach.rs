//! `POST /containers/{id}/attach`, and over a WebSocket.

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
use crate::stream::websocket;
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
    hijack::head(upgrade, content_type, &further())
}

/// Headers that every answer has.
fn further() -> String {
    format!(
        "Api-Version: {API_VERSION}\r\nDocker-Experimental: false\r\nOstype: linux\r\n\
         Server: {SERVER}\r\n"
    )
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
    check(&name, container.state.status)?;
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
                let detached = hijack::run(io, attached, session).await;
                tell(&api, &name, detached).await;
            }
        })
        .await {}
}

/// `GET /containers/{id}/attach/ws`: the same over a WebSocket, never in frames.
pub(super) async fn websocket(
    State(api): State<Api>,
    Name(name): Name,
    version: ApiVersion,
    query: Query,
    hijack: Option<Hijack>,
    headers: HeaderMap,
) -> Answer {
    let keys = DetachKeys::parse(query.text("detachKeys"))?;
    // Which streams could not be told before.
    let wanted = |key| version.before(42) || query.flag(key);
    let options = AttachOptions {
        stdin: wanted("stdin"),
        stdout: wanted("stdout"),
        stderr: wanted("stderr"),
        logs: query.flag("logs"),
        stream: query.flag("stream"),
    };
    let container = api.runtime.inspect_container(&name, false).await?;
    check(&name, container.state.status)?;
    let accept = websocket::accept(&headers)
        .ok_or_else(|| ApiError::bad_request("not a WebSocket handshake of version 13"))?;
    let hijack = hijack.ok_or_else(no_connection)?;
    let attached = api.runtime.attach_container(&name, options).await?;
    let session = Session {
        framed: false,
        detach: attached.tty.then_some(keys),
        close_input: container.config.stdin_once && !attached.tty,
    };
    let head = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {accept}\r\n{}\r\n",
        further()
    );
    match hijack
        .take(async move |mut io| {
            if write_head(&mut io, &head).await {
                let (io, carrying) = websocket::bridge(io, version.before(28));
                let (detached, ()) = tokio::join!(hijack::run(io, attached, session), carrying);
                tell(&api, &name, detached).await;
            }
        })
        .await {}
}

/// Publishes that a client has left by the keys.
async fn tell(api: &Api, name: &str, detached: bool) {
    if detached && let Err(error) = api.runtime.detach_container(name).await {
        tracing::debug!(container = name, %error, "detached, and removed");
    }
}

/// Refuses what nobody can attach to now.
fn check(name: &str, status: Status) -> Answer<()> {
    let why = match status {
        Status::Paused => "is paused, unpause the container before attach",
        Status::Restarting => "is restarting, wait until the container is running",
        _ => return Ok(()),
    };
    Err(RuntimeError::InvalidState(format!("container {name} {why}")).into())
}
