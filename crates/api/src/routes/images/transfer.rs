//! Pull, push, import.

use axum::body::Body;
use axum::extract::State;
use coracle_runtime::Result;
use coracle_runtime::image::{ImportRequest, Progress, PullRequest, PushRequest};
use coracle_runtime::io::BoxStream;
use futures_util::{StreamExt, stream};
use http::HeaderMap;

use super::reference;
use crate::Api;
use crate::connection::ClientGone;
use crate::error::{Answer, ApiError};
use crate::extract::{self, Query};
use crate::routes::auth;
use crate::stream::progress;
use crate::version::ApiVersion;

pub(super) async fn create(
    State(api): State<Api>,
    version: ApiVersion,
    query: Query,
    gone: ClientGone,
    headers: HeaderMap,
    body: Body,
) -> Answer {
    let platform = query
        .get("platform")
        .filter(|platform| version.since(32) && !platform.is_empty())
        .map(str::to_owned);
    if let Some(reference) = reference::join(query.text("fromImage"), query.text("tag")) {
        let request = PullRequest {
            all_tags: reference::is_name_only(&reference),
            reference,
            platform,
            auth: auth::from_header(&headers),
        };
        return progress::respond(api.runtime.pull_image(request), &gone).await;
    }
    match query.text("fromSrc") {
        "-" => {}
        "" => return Err(ApiError::bad_request("fromImage or fromSrc must be given")),
        _ => {
            return Err(ApiError::bad_request(
                "importing from a URL is not supported: send the archive, with fromSrc=-",
            ));
        }
    }
    let request = ImportRequest {
        tar: extract::byte_stream(body),
        reference: reference::join(query.text("repo"), query.text("tag")),
        message: query.text("message").to_owned(),
        changes: query.all("changes").map(str::to_owned).collect(),
        platform,
    };
    progress::respond(import(&api, request), &gone).await
}

async fn import(api: &Api, request: ImportRequest) -> Result<BoxStream<Progress>> {
    let status = api.runtime.import_image(request).await?;
    let step = Progress {
        status,
        ..Progress::default()
    };
    Ok(stream::iter([Ok(step)]).boxed())
}

pub(super) async fn push(
    api: &Api,
    name: &str,
    query: &Query,
    headers: &HeaderMap,
    body: Body,
    gone: &ClientGone,
) -> Answer {
    // Credentials once came in the body. It is read so that the connection can be used again.
    drop(axum::body::to_bytes(body, api.config.max_json).await);
    let reference = reference::join(name, query.text("tag"))
        .ok_or_else(|| ApiError::bad_request("image name cannot be blank"))?;
    let request = PushRequest {
        all_tags: reference::is_name_only(&reference),
        reference,
        platform: platform(query)?,
        auth: auth::from_header(headers),
    };
    progress::respond(api.runtime.push_image(request), gone).await
}

/// The platform as OCI's JSON, as `push` has it.
fn platform(query: &Query) -> Answer<Option<String>> {
    let json = query.text("platform");
    if json.is_empty() {
        return Ok(None);
    }
    let platform: coracle_docker::image::Platform = serde_json::from_str(json)
        .map_err(|error| ApiError::bad_request(format!("invalid platform: {error}")))?;
    let mut text = format!("{}/{}", platform.os, platform.architecture);
    if !platform.variant.is_empty() {
        text.push('/');
        text.push_str(&platform.variant);
    }
    Ok(Some(text))
}
