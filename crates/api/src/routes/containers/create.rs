//! `POST /containers/create`.

use axum::body::Body;
use axum::extract::State;
use coracle_docker::container::{CreateBody, CreateResponse};
use coracle_runtime::RuntimeError;
use coracle_runtime::spec::ContainerSpec;
use http::{HeaderMap, StatusCode};

use super::adapt::adapt;
use super::check;
use crate::Api;
use crate::error::{Answer, ApiError};
use crate::extract::Query;
use crate::version::ApiVersion;
use crate::{extract, respond};

pub(super) async fn create(
    State(api): State<Api>,
    version: ApiVersion,
    query: Query,
    headers: HeaderMap,
    body: Body,
) -> Answer {
    let json = extract::json_bytes(&headers, body, api.config.max_json).await?;
    if json.is_empty() {
        return Err(extract::missing_json());
    }
    let body = CreateBody::parse(&json).map_err(|error| extract::invalid_json(&error))?;
    if json.trim_ascii() == b"null" || body == CreateBody::default() {
        return Err(ApiError::bad_request(
            "config cannot be empty in order to create a container",
        ));
    }
    let name = query.text("name");
    let name = name.strip_prefix('/').unwrap_or(name);
    if !name.is_empty() {
        check::name(name)?;
    }
    let platform = query
        .get("platform")
        .filter(|platform| version.since(41) && !platform.is_empty());
    let (spec, warnings) = adapt(body, version)?;
    check::create(&spec.config, &spec.host)?;
    check::networking(&spec.networking)?;
    let spec = ContainerSpec {
        name: (!name.is_empty()).then(|| name.to_owned()),
        platform: platform.map(str::to_owned),
        ..spec
    };
    let image = spec.config.image.clone();
    let mut created = api
        .runtime
        .create_container(spec)
        .await
        .map_err(|error| match error {
            // The text that tells the CLI to pull.
            RuntimeError::ImageNotFound(text) if !text.starts_with("No such image") => {
                RuntimeError::no_such_image(&image)
            }
            error => error,
        })?;
    created.warnings.extend(warnings);
    respond::json(
        StatusCode::CREATED,
        &CreateResponse {
            id: created.id,
            warnings: created.warnings,
        },
    )
}
