//! The daemon, and the API's own description.

use std::sync::LazyLock;

use axum::Router;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use bytes::Bytes;
use coracle_native::query::Nothing;
use coracle_native::system::{Capabilities, DiskUsage, Health, Info, Version};
use http::StatusCode;

use super::call::{Call, NoBody};
use super::error::{Answer, NativeError};
use super::reply::Found;
use super::table::{Route, Table};
use crate::{Api, respond};

pub(super) fn declare(table: &mut Table) {
    table.route(
        Route::get("/health", "Tells that the daemon answers"),
        health,
    );
    table.route(Route::get("/version", "Tells what runs"), version);
    table.route(
        Route::get("/info", "Tells of the host and the daemon's state"),
        info,
    );
    table.route(
        Route::get("/capabilities", "Tells what this daemon can do"),
        capabilities,
    );
    table.route(
        Route::get("/disk-usage", "Tells what takes space on disk"),
        disk_usage,
    );
}

/// The description of the others.
pub(super) fn openapi_route() -> Router<Api> {
    Router::new().route("/openapi.json", get(openapi))
}

async fn openapi() -> Response {
    // Made when the first asks for it, since few daemons are ever asked.
    static TEXT: LazyLock<serde_json::Result<Bytes>> =
        LazyLock::new(|| respond::line(&Table::description(super::declare)));
    match &*TEXT {
        Ok(text) => respond::text(StatusCode::OK, text.clone()),
        Err(error) => {
            let status = StatusCode::INTERNAL_SERVER_ERROR;
            NativeError::new(status, "internal", error.to_string()).into_response()
        }
    }
}

async fn health(call: Call<Nothing, NoBody>) -> Answer<Found<Health>> {
    Ok(Found(Health {
        status: "ok".to_owned(),
        uptime_seconds: call.api.started.elapsed().as_secs(),
    }))
}

async fn version(call: Call<Nothing, NoBody>) -> Answer<Found<Version>> {
    Ok(Found(call.api.runtime.version().await?.into()))
}

async fn info(call: Call<Nothing, NoBody>) -> Answer<Found<Info>> {
    Ok(Found(call.api.runtime.info().await?.into()))
}

async fn capabilities(call: Call<Nothing, NoBody>) -> Answer<Found<Capabilities>> {
    Ok(Found(call.api.runtime.capabilities().into()))
}

async fn disk_usage(call: Call<Nothing, NoBody>) -> Answer<Found<DiskUsage>> {
    Ok(Found((&call.api.runtime.disk_usage().await?).into()))
}
