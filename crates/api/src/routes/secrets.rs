//! Secrets and configs, by the routes that Docker has for those of a swarm, without one.

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::routing::{get, post};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use coracle_docker::lenient;
use coracle_docker::secret::{SecretCreated, SecretSpecBody};
use coracle_runtime::RuntimeError;
use coracle_runtime::secret::{Secret, SecretSpec, SecretUpdate, Sensitive};
use http::{HeaderMap, StatusCode};

use crate::Api;
use crate::convert::secret;
use crate::error::{Answer, ApiError};
use crate::extract::{Name, Query};
use crate::{extract, respond};

/// What lists are filtered by.
const FILTERS: [&str; 4] = ["id", "label", "name", "names"];

pub(super) fn routes() -> Router<Api> {
    Router::new()
        .route("/secrets", get(list_secrets))
        .route("/secrets/create", post(create_secret))
        .route("/secrets/{id}", get(inspect_secret).delete(remove_secret))
        .route("/secrets/{id}/update", post(update_secret))
        .route("/configs", get(list_configs))
        .route("/configs/create", post(create_config))
        .route("/configs/{id}", get(inspect_config).delete(remove_config))
        .route("/configs/{id}/update", post(update_config))
}

/// As a swarm's manager words it, which scripts know.
fn refusal(error: RuntimeError) -> ApiError {
    let code = match &error {
        RuntimeError::AlreadyExists(_) => "AlreadyExists",
        RuntimeError::InvalidArgument(text) if !text.contains(" is ambiguous (") => {
            "InvalidArgument"
        }
        _ => return error.into(),
    };
    let mut refusal = ApiError::from(error);
    refusal.message = format!("rpc error: code = {code} desc = {}", refusal.message);
    refusal
}

/// Which of them a list is asked for.
fn wanted(query: &Query) -> Answer<impl Fn(&Secret) -> bool> {
    let filters = query.filters(&FILTERS)?;
    Ok(move |secret: &Secret| {
        filters.prefix("id", &secret.id)
            && filters.prefix("name", &secret.name)
            && filters.exact("names", &secret.name)
            && filters.labels(&secret.labels)
    })
}

async fn list_secrets(State(api): State<Api>, query: Query) -> Answer {
    let wanted = wanted(&query)?;
    let mut secrets = api.runtime.list_secrets().await?;
    secrets.retain(wanted);
    let secrets: Vec<_> = secrets.into_iter().map(secret::secret).collect();
    respond::ok(&secrets)
}

async fn list_configs(State(api): State<Api>, query: Query) -> Answer {
    let wanted = wanted(&query)?;
    let mut configs = api.runtime.list_configs().await?;
    configs.retain(|config| wanted(&config.about));
    let configs: Vec<_> = configs.into_iter().map(secret::config).collect();
    respond::ok(&configs)
}

async fn inspect_secret(State(api): State<Api>, Name(id): Name) -> Answer {
    respond::ok(&secret::secret(api.runtime.inspect_secret(&id).await?))
}

async fn inspect_config(State(api): State<Api>, Name(id): Name) -> Answer {
    respond::ok(&secret::config(api.runtime.inspect_config(&id).await?))
}

/// Reads a body. What is wrong with it is told without quoting it: it has the value.
async fn body(api: &Api, headers: &HeaderMap, body: Body) -> Answer<SecretSpecBody> {
    let bytes = extract::json_bytes(headers, body, api.config.max_json).await?;
    if bytes.is_empty() {
        return Err(extract::missing_json());
    }
    lenient::from_slice(&bytes).map_err(|error| {
        ApiError::bad_request(format!(
            "invalid JSON: {:?} error at line {} column {}",
            error.classify(),
            error.line(),
            error.column()
        ))
    })
}

async fn spec(api: &Api, headers: &HeaderMap, content: Body) -> Answer<SecretSpec> {
    let body = body(api, headers, content).await?;
    check(&body)?;
    let value = STANDARD
        .decode(&body.data)
        .map_err(|_| ApiError::bad_request("invalid JSON: Data is not base64"))?;
    Ok(SecretSpec {
        name: body.name,
        labels: body.labels,
        data: Sensitive::new(value),
    })
}

fn check(body: &SecretSpecBody) -> Answer<()> {
    for (given, what) in [(&body.driver, "Driver"), (&body.templating, "Templating")] {
        if given.is_some() {
            return Err(ApiError::bad_request(format!(
                "{what} is not supported: values are kept as they are given"
            )));
        }
    }
    Ok(())
}

fn created(id: String) -> Answer {
    respond::json(StatusCode::CREATED, &SecretCreated { id })
}

async fn create_secret(State(api): State<Api>, headers: HeaderMap, body: Body) -> Answer {
    let spec = spec(&api, &headers, body).await?;
    created(api.runtime.create_secret(spec).await.map_err(refusal)?)
}

async fn create_config(State(api): State<Api>, headers: HeaderMap, body: Body) -> Answer {
    let spec = spec(&api, &headers, body).await?;
    created(api.runtime.create_config(spec).await.map_err(refusal)?)
}

/// What an update changes: labels alone, of the object that has this name.
async fn change(
    api: &Api,
    (query, headers, content): (&Query, &HeaderMap, Body),
    what: &str,
    now: &Secret,
) -> Answer<SecretUpdate> {
    let version = query.text("version").parse();
    let version = version.map_err(|_| ApiError::bad_request(format!("invalid {what} version")))?;
    let body = body(api, headers, content).await?;
    check(&body)?;
    if body.name != now.name || !body.data.is_empty() {
        return Err(ApiError::bad_request(
            "rpc error: code = InvalidArgument desc = only updates to Labels are allowed",
        ));
    }
    Ok(SecretUpdate {
        version,
        labels: body.labels,
    })
}

async fn update_secret(
    State(api): State<Api>,
    Name(id): Name,
    query: Query,
    headers: HeaderMap,
    body: Body,
) -> Answer {
    let now = api.runtime.inspect_secret(&id).await?;
    let update = change(&api, (&query, &headers, body), "secret", &now).await?;
    let updated = api.runtime.update_secret(&now.id, update).await;
    updated.map_err(refusal)?;
    respond::empty(StatusCode::OK)
}

async fn update_config(
    State(api): State<Api>,
    Name(id): Name,
    query: Query,
    headers: HeaderMap,
    content: Body,
) -> Answer {
    let now = api.runtime.inspect_config(&id).await?;
    // Clients may send the value that is there.
    let body = extract::json_bytes(&headers, content, api.config.max_json).await?;
    let mut spec: SecretSpecBody =
        lenient::from_slice(&body).map_err(|error| extract::invalid_json(&error))?;
    if spec.data == STANDARD.encode(&now.data) {
        spec.data.clear();
    }
    let body = serde_json::to_vec(&spec).map_err(|error| extract::invalid_json(&error))?;
    let request = (&query, &headers, Body::from(body));
    let update = change(&api, request, "config", &now.about).await?;
    let updated = api.runtime.update_config(&now.about.id, update).await;
    updated.map_err(refusal)?;
    respond::empty(StatusCode::OK)
}

async fn remove_secret(State(api): State<Api>, Name(id): Name) -> Answer {
    api.runtime.remove_secret(&id).await.map_err(refusal)?;
    respond::empty(StatusCode::NO_CONTENT)
}

async fn remove_config(State(api): State<Api>, Name(id): Name) -> Answer {
    api.runtime.remove_config(&id).await.map_err(refusal)?;
    respond::empty(StatusCode::NO_CONTENT)
}
