//! `POST /containers/{id}/wait`.

use axum::extract::State;
use coracle_docker::container::{WaitError, WaitResponse};
use coracle_runtime::Result;
use coracle_runtime::container::{ExitStatus, WaitCondition};
use futures_util::stream;

use crate::Api;
use crate::connection::ClientGone;
use crate::error::{Answer, ApiError};
use crate::extract::{Name, Query};
use crate::respond;
use crate::version::ApiVersion;

pub(super) async fn wait(
    State(api): State<Api>,
    Name(name): Name,
    version: ApiVersion,
    query: Query,
    gone: ClientGone,
) -> Answer {
    let condition = match query.text("condition") {
        _ if version.before(30) => WaitCondition::NotRunning,
        "" | "not-running" => WaitCondition::NotRunning,
        "next-exit" => WaitCondition::NextExit,
        "removed" => WaitCondition::Removed,
        other => {
            return Err(ApiError::bad_request(format!(
                "invalid condition: {other:?}"
            )));
        }
    };
    let exit = api.runtime.wait_container(&name, condition).await?;
    // The head goes out at once: the client starts the container when it sees it.
    let line = async move { respond::line(&response(exit.await)).unwrap_or_default() };
    Ok(respond::stream(respond::JSON, stream::once(line), &gone))
}

fn response(exit: Result<ExitStatus>) -> WaitResponse {
    match exit {
        Ok(exit) => WaitResponse {
            status_code: i64::from(exit.code),
            error: exit.error.map(|message| WaitError { message }),
        },
        Err(error) => WaitResponse {
            status_code: -1,
            error: Some(WaitError {
                message: error.to_string(),
            }),
        },
    }
}
