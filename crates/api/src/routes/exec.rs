//! Exec.

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::routing::{get, post};
use coracle_docker::container::IdResponse;
use coracle_docker::exec::{ExecInspect, ExecStartBody, ProcessConfig};
use coracle_runtime::exec::{Exec, ExecSpec, StartExec};
use coracle_runtime::io::TerminalSize;
use http::{HeaderMap, StatusCode};
use tracing::{debug, info};

use crate::Api;
use crate::connection::Hijack;
use crate::error::{Answer, ApiError};
use crate::extract::{Name, Query};
use crate::routes::containers::{attach, terminal_size};
use crate::stream::detach::DetachKeys;
use crate::stream::hijack::{self, Session};
use crate::version::ApiVersion;
use crate::{extract, respond};

pub(super) fn routes() -> Router<Api> {
    Router::new()
        .route("/containers/{name}/exec", post(create))
        .route("/exec/{name}/start", post(start))
        .route("/exec/{name}/resize", post(resize))
        .route("/exec/{name}/json", get(inspect))
}

async fn create(
    State(api): State<Api>,
    Name(name): Name,
    version: ApiVersion,
    headers: HeaderMap,
    body: Body,
) -> Answer {
    let mut spec: ExecSpec = extract::json(&headers, body, api.config.max_json).await?;
    if spec.cmd.is_empty() {
        return Err(ApiError::bad_request("No exec command specified"));
    }
    // Checked now, so that a bad sequence is not found out in the middle of a terminal session.
    DetachKeys::parse(&spec.detach_keys).map_err(|_| {
        ApiError::bad_request(format!(
            "Invalid escape keys ({}) provided",
            spec.detach_keys
        ))
    })?;
    if version.before(42) {
        spec.console_size = None;
    }
    let id = api.runtime.create_exec(&name, spec).await?;
    respond::json(StatusCode::CREATED, &IdResponse { id })
}

async fn start(
    State(api): State<Api>,
    Name(id): Name,
    version: ApiVersion,
    hijack: Option<Hijack>,
    headers: HeaderMap,
    body: Body,
) -> Answer {
    let body: ExecStartBody = extract::optional_json(&headers, body, api.config.max_json)
        .await?
        .unwrap_or_default();
    let exec = api.runtime.inspect_exec(&id).await?;
    let size = body
        .console_size
        .filter(|_| version.since(42) && exec.spec.tty)
        .or(exec.spec.console_size)
        .filter(|size| *size != [0, 0])
        .map(|[rows, cols]| TerminalSize { rows, cols });
    if body.detach {
        let start = StartExec { detach: true, size };
        api.runtime.start_exec(&id, start).await?;
        return respond::empty(StatusCode::OK);
    }
    let hijack = hijack.ok_or_else(attach::no_connection)?;
    let framed = !body.tty;
    let session = Session {
        framed,
        detach: if exec.spec.tty {
            Some(DetachKeys::parse(&exec.spec.detach_keys)?)
        } else {
            None
        },
        close_input: !exec.spec.tty,
    };
    let head = attach::head(&headers, version, framed);
    match hijack
        .take(async move |mut io| {
            if !attach::write_head(&mut io, &head).await {
                return;
            }
            // dockerd starts it after the answer's head, so a failure is told in the stream; the CLI
            // then asks for the exit code.
            let start = StartExec {
                detach: false,
                size,
            };
            match api.runtime.start_exec(&id, start).await {
                Ok(Some(attached)) => {
                    if hijack::run(io, attached, session).await
                        && let Err(error) = api.runtime.detach_exec(&id).await
                    {
                        debug!(exec = id, %error, "detached, and removed");
                    }
                }
                Ok(None) => hijack::fail(io, framed, "the exec has no streams").await,
                Err(error) => {
                    info!(exec = id, %error, "exec not started");
                    hijack::fail(io, framed, &error.to_string()).await;
                }
            }
        })
        .await {}
}

async fn resize(State(api): State<Api>, Name(id): Name, query: Query) -> Answer {
    let size = terminal_size(&query)?;
    api.runtime.resize_exec(&id, size).await?;
    respond::empty(StatusCode::OK)
}

async fn inspect(State(api): State<Api>, Name(id): Name) -> Answer {
    respond::ok(&exec_inspect(api.runtime.inspect_exec(&id).await?))
}

fn exec_inspect(exec: Exec) -> ExecInspect {
    let mut command = exec.spec.cmd.into_iter();
    ExecInspect {
        id: exec.id,
        running: exec.running,
        exit_code: exec.exit_code,
        process_config: ProcessConfig {
            tty: exec.spec.tty,
            entrypoint: command.next().unwrap_or_default(),
            arguments: command.collect(),
            privileged: exec.spec.privileged,
            user: exec.spec.user,
        },
        open_stdin: exec.spec.attach_stdin,
        open_stderr: exec.spec.attach_stderr,
        open_stdout: exec.spec.attach_stdout,
        can_remove: exec.exit_code.is_some(),
        container_id: exec.container_id,
        detach_keys: DetachKeys::told(&exec.spec.detach_keys),
        pid: exec.pid,
    }
}
