//! What becomes of a container.

use std::time::Duration;

use axum::body::{Body, HttpBody};
use axum::extract::{Path, State};
use coracle_docker::container::{ContainersPruned, UpdateResponse};
use coracle_runtime::container::{
    Changed, RemoveOptions, StopOptions, UpdateOptions, WaitCondition,
};
use coracle_runtime::spec::HostConfig;
use http::{HeaderMap, StatusCode};

use super::check;
use crate::Api;
use crate::error::{Answer, ApiError};
use crate::extract::{Name, Query};
use crate::version::ApiVersion;
use crate::{extract, respond};

/// How long the end of a killed container is waited for.
const KILL_LIMIT: Duration = Duration::from_secs(10);

fn changed(Changed(changed): Changed) -> Answer {
    respond::empty(if changed {
        StatusCode::NO_CONTENT
    } else {
        StatusCode::NOT_MODIFIED
    })
}

pub(super) async fn start(
    State(api): State<Api>,
    Name(name): Name,
    query: Query,
    body: Body,
) -> Answer {
    // `{}` and `null` from old clients pass.
    if body.size_hint().exact().is_none_or(|length| length > 7) {
        return Err(ApiError::bad_request(
            "starting container with non-empty request body was deprecated since API v1.22 and \
             removed in v1.24",
        ));
    }
    if !query.text("checkpoint").is_empty() {
        return Err(ApiError::bad_request("checkpoints are not supported"));
    }
    changed(api.runtime.start_container(&name).await?)
}

fn stop_options(query: &Query, version: ApiVersion) -> Answer<StopOptions> {
    let signal = query
        .get("signal")
        .filter(|signal| version.since(42) && !signal.is_empty())
        .map(str::to_owned);
    Ok(StopOptions {
        signal,
        timeout: query.number("t")?,
    })
}

pub(super) async fn stop(
    State(api): State<Api>,
    Name(name): Name,
    version: ApiVersion,
    query: Query,
) -> Answer {
    let options = stop_options(&query, version)?;
    changed(api.runtime.stop_container(&name, options).await?)
}

pub(super) async fn restart(
    State(api): State<Api>,
    Name(name): Name,
    version: ApiVersion,
    query: Query,
) -> Answer {
    let options = stop_options(&query, version)?;
    api.runtime.restart_container(&name, options).await?;
    respond::empty(StatusCode::NO_CONTENT)
}

pub(super) async fn kill(State(api): State<Api>, Name(name): Name, query: Query) -> Answer {
    let signal = match query.text("signal") {
        "" => "KILL",
        signal => signal,
    };
    // dockerd answers SIGKILL when the container has ended.
    let exit = if matches!(
        signal.to_ascii_uppercase().trim_start_matches("SIG"),
        "KILL" | "9"
    ) {
        let next = WaitCondition::NextExit;
        api.runtime.wait_container(&name, next).await.ok()
    } else {
        None
    };
    let killed = api.runtime.kill_container(&name, signal).await;
    killed.map_err(|error| {
        let error = ApiError::from(error);
        if error.message.starts_with("cannot kill container: ") {
            error
        } else {
            let message = format!("cannot kill container: {name}: {}", error.message);
            ApiError::new(error.status, message)
        }
    })?;
    if let Some(exit) = exit {
        // What can't be killed, for it hangs in the kernel, is not waited for much longer.
        let _ = tokio::time::timeout(KILL_LIMIT, exit).await;
    }
    respond::empty(StatusCode::NO_CONTENT)
}

pub(super) async fn pause(State(api): State<Api>, Name(name): Name) -> Answer {
    api.runtime.pause_container(&name).await?;
    respond::empty(StatusCode::NO_CONTENT)
}

pub(super) async fn unpause(State(api): State<Api>, Name(name): Name) -> Answer {
    api.runtime.unpause_container(&name).await?;
    respond::empty(StatusCode::NO_CONTENT)
}

pub(super) async fn rename(State(api): State<Api>, Name(name): Name, query: Query) -> Answer {
    let new_name = query.text("name");
    let new_name = new_name.strip_prefix('/').unwrap_or(new_name);
    if new_name.is_empty() {
        return Err(ApiError::bad_request(
            "Neither old nor new names may be empty",
        ));
    }
    check::name(new_name).map_err(|_| {
        ApiError::bad_request(format!(
            "Error when allocating new name: Invalid container name (/{new_name}), only \
             [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed"
        ))
    })?;
    api.runtime.rename_container(&name, new_name).await?;
    respond::empty(StatusCode::NO_CONTENT)
}

pub(super) async fn resize(State(api): State<Api>, Name(name): Name, query: Query) -> Answer {
    let size = super::terminal_size(&query)?;
    api.runtime.resize_container(&name, size).await?;
    respond::empty(StatusCode::OK)
}

pub(super) async fn update(
    State(api): State<Api>,
    Name(name): Name,
    version: ApiVersion,
    headers: HeaderMap,
    body: Body,
) -> Answer {
    let mut host: HostConfig = extract::optional_json(&headers, body, api.config.max_json)
        .await?
        .unwrap_or_default();
    if version.before(40) {
        host.pids_limit = None;
    }
    if version.since(42) {
        host.kernel_memory = 0;
    }
    // Here 0 and below take a limit away.
    host.pids_limit = host.pids_limit.map(|limit| limit.max(0));
    check::restart_policy(&host)?;
    let warnings = api
        .runtime
        .update_container(&name, UpdateOptions { host })
        .await?;
    respond::ok(&UpdateResponse { warnings })
}

pub(super) async fn remove(State(api): State<Api>, Name(name): Name, query: Query) -> Answer {
    let options = RemoveOptions {
        force: query.flag("force"),
        volumes: query.flag("v"),
        link: query.flag("link"),
    };
    api.runtime.remove_container(&name, options).await?;
    respond::empty(StatusCode::NO_CONTENT)
}

pub(super) async fn remove_link(
    api: State<Api>,
    Path((name, alias)): Path<(String, String)>,
    query: Query,
) -> Answer {
    remove(api, Name(format!("{name}/{alias}")), query).await
}

pub(super) async fn prune(State(api): State<Api>, query: Query) -> Answer {
    let filters = query.filters(&["label", "label!", "until"])?;
    let pruned = api.runtime.prune_containers(&filters).await?;
    respond::ok(&ContainersPruned {
        containers_deleted: pruned.deleted,
        space_reclaimed: pruned.space_reclaimed,
    })
}
