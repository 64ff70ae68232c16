//! `/_ping`, `/version`, `/info`, `/system/df`.

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use axum::routing::get;
use coracle_docker::system::{DiskUsageResponse, RootDiskUsage, TemplateUsage};
use http::{HeaderName, HeaderValue, Method, header};
use jiff::Timestamp;

use crate::Api;
use crate::convert::image::SummaryOptions;
use crate::convert::system::Drivers;
use crate::convert::{container, image, system, volume};
use crate::error::{Answer, ApiError};
use crate::extract::Query;
use crate::respond;
use crate::version::ApiVersion;

pub(super) fn routes() -> Router<Api> {
    Router::new()
        .route("/_ping", get(ping))
        .route("/version", get(version))
        .route("/info", get(info))
        .route("/system/df", get(disk_usage))
}

async fn ping(State(api): State<Api>, method: Method) -> Response {
    let body = if method == Method::HEAD {
        Body::empty()
    } else {
        Body::from("OK")
    };
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("text/plain; charset=utf-8"),
    );
    headers.insert(
        header::CACHE_CONTROL,
        HeaderValue::from_static("no-cache, no-store, must-revalidate"),
    );
    headers.insert(header::PRAGMA, HeaderValue::from_static("no-cache"));
    headers.insert(
        HeaderName::from_static("builder-version"),
        HeaderValue::from_static(api.config.builder_version),
    );
    headers.insert(
        HeaderName::from_static("swarm"),
        HeaderValue::from_static("inactive"),
    );
    response
}

async fn version(State(api): State<Api>) -> Answer {
    respond::ok(&system::version(api.runtime.version().await?))
}

async fn info(State(api): State<Api>) -> Answer {
    let version = api.runtime.version().await?;
    let capabilities = api.runtime.capabilities();
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    let drivers = Drivers {
        volume: if capabilities.volumes {
            names(&["local"])
        } else {
            Vec::new()
        },
        network: names(&["bridge", "host", "ipvlan", "macvlan", "null"]),
    };
    respond::ok(&system::info(
        api.runtime.info().await?,
        version.version,
        drivers,
    ))
}

/// What `type` can ask for.
struct Wanted {
    containers: bool,
    images: bool,
    volumes: bool,
    build_cache: bool,
}

impl Wanted {
    fn parse(query: &Query, version: ApiVersion) -> Answer<Self> {
        let all = version.before(42) || query.get("type").is_none();
        let mut wanted = Self {
            containers: all,
            images: all,
            volumes: all,
            build_cache: all,
        };
        if all {
            return Ok(wanted);
        }
        for kind in query.all("type") {
            match kind {
                "container" => wanted.containers = true,
                "image" => wanted.images = true,
                "volume" => wanted.volumes = true,
                "build-cache" => wanted.build_cache = true,
                other => {
                    return Err(ApiError::bad_request(format!(
                        "unknown object type: {other}"
                    )));
                }
            }
        }
        Ok(wanted)
    }
}

async fn disk_usage(State(api): State<Api>, version: ApiVersion, query: Query) -> Answer {
    let wanted = Wanted::parse(&query, version)?;
    let usage = api.runtime.disk_usage().await?;
    let now = Timestamp::now();
    let counted = SummaryOptions {
        containers: true,
        ..SummaryOptions::default()
    };
    let containers = usage.containers.iter().map(|found| {
        let image = super::containers::image_name(found, &usage.images);
        container::summary(found, image, now, version)
    });
    let containers = wanted.containers.then(|| containers.collect());
    let images = wanted.images.then(|| {
        let images = usage.images.clone();
        let summary = |found| image::summary(found, counted, version);
        images.into_iter().map(summary).collect()
    });
    let volumes = usage.volumes.into_iter();
    respond::ok(&DiskUsageResponse {
        layers_size: if wanted.images { usage.layers_size } else { 0 },
        images,
        containers,
        volumes: wanted
            .volumes
            .then(|| volumes.map(|found| volume::inspect(found, true)).collect()),
        templates: (usage.templates.into_iter())
            .map(|found| TemplateUsage {
                name: found.name,
                size: found.size,
                in_use: found.in_use,
            })
            .collect(),
        root_disks: (usage.root_disks.into_iter())
            .map(|found| RootDiskUsage {
                name: found.name,
                size: found.size,
                in_use: found.in_use,
            })
            .collect(),
        build_cache: wanted.build_cache.then(Vec::new),
        builder_size: version.before(42).then_some(0),
    })
}
