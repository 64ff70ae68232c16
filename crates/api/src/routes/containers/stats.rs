//! `GET /containers/{id}/stats`.

use axum::extract::State;
use coracle_docker::stats::StatsResponse;
use coracle_runtime::io::BoxStream;
use coracle_runtime::stats::Stats;
use coracle_runtime::{RuntimeError, Status};
use futures_util::{StreamExt, stream};

use crate::Api;
use crate::connection::ClientGone;
use crate::convert::stats::response;
use crate::error::{Answer, ApiError};
use crate::extract::{Name, Query};
use crate::respond;
use crate::version::ApiVersion;

pub(super) async fn stats(
    State(api): State<Api>,
    Name(name): Name,
    version: ApiVersion,
    query: Query,
    gone: ClientGone,
) -> Answer {
    let container = api.runtime.inspect_container(&name, false).await?;
    let one_shot = version.since(41) && query.flag("one-shot");
    if query.flag_or("stream", true) {
        if one_shot {
            return Err(ApiError::bad_request(
                "cannot have stream=true and one-shot=true",
            ));
        }
        let readings = api.runtime.container_stats(&container.id, true).await?;
        let state = (container.name, container.id, readings, None);
        let lines = stream::unfold(state, async |(name, id, mut readings, before)| {
            let reading = next(&mut readings).await?;
            let response = response(&name, &id, reading, before.as_ref());
            let line = respond::line(&response).ok()?;
            Some((line, (name, id, readings, Some(response))))
        });
        return Ok(respond::stream(respond::JSON, Box::pin(lines), &gone));
    }
    if !matches!(container.state.status, Status::Running | Status::Paused) {
        return respond::ok(&StatsResponse {
            name: format!("/{}", container.name),
            id: container.id,
            ..StatsResponse::default()
        });
    }
    // Without `one-shot`, a reading to compare with comes first.
    let mut readings = api
        .runtime
        .container_stats(&container.id, !one_shot)
        .await?;
    let read = async {
        let first = next(&mut readings).await?;
        let first = response(&container.name, &container.id, first, None);
        if one_shot {
            return Some(first);
        }
        Some(match next(&mut readings).await {
            Some(second) => response(&container.name, &container.id, second, Some(&first)),
            None => first,
        })
    };
    let reading = tokio::select! {
        reading = read => reading,
        () = gone.wait() => None,
    };
    let reading = reading.ok_or_else(|| {
        RuntimeError::Unavailable(format!("container {} gave no statistics", container.id))
    })?;
    respond::ok(&reading)
}

async fn next(readings: &mut BoxStream<Stats>) -> Option<Stats> {
    match readings.next().await? {
        Ok(stats) => Some(stats),
        Err(error) => {
            tracing::info!(%error, "statistics broke off");
            None
        }
    }
}
