//! Files in and out of containers.

use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use coracle_docker::archive::{ContainerPathStat, HEADER};
use coracle_runtime::archive::{ExtractOptions, PathStat};
use http::{HeaderName, HeaderValue, StatusCode};

use crate::Api;
use crate::error::{Answer, ApiError};
use crate::extract::{self, Name, Query};
use crate::respond;

fn path(query: &Query) -> Answer<&str> {
    match query.text("path") {
        "" => Err(ApiError::bad_request("bad parameter: path cannot be empty")),
        path => Ok(path),
    }
}

fn add_stat(response: &mut Response, stat: PathStat) -> Answer<()> {
    let value = HeaderValue::try_from(ContainerPathStat::from(stat).to_header())
        .map_err(|error| ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))?;
    let name = HeaderName::try_from(HEADER)
        .map_err(|error| ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))?;
    response.headers_mut().insert(name, value);
    Ok(())
}

pub(super) async fn stat(State(api): State<Api>, Name(name): Name, query: Query) -> Answer {
    let stat = api.runtime.stat_path(&name, path(&query)?).await?;
    let mut response = Response::new(Body::empty());
    add_stat(&mut response, stat)?;
    Ok(response)
}

pub(super) async fn read(State(api): State<Api>, Name(name): Name, query: Query) -> Answer {
    let archive = api.runtime.read_path(&name, path(&query)?).await?;
    let mut response = respond::archive(archive.tar).await?;
    add_stat(&mut response, archive.stat)?;
    Ok(response)
}

pub(super) async fn write(
    State(api): State<Api>,
    Name(name): Name,
    query: Query,
    body: Body,
) -> Answer {
    let options = ExtractOptions {
        no_overwrite_dir_non_dir: query.flag("noOverwriteDirNonDir"),
        copy_uid_gid: query.flag("copyUIDGID"),
    };
    api.runtime
        .write_path(&name, path(&query)?, options, extract::byte_stream(body))
        .await?;
    respond::empty(StatusCode::OK)
}

pub(super) async fn export(State(api): State<Api>, Name(name): Name) -> Answer {
    let tar = api.runtime.export_container(&name).await?;
    respond::archive(tar).await
}
