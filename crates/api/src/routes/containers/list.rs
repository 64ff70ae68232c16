//! `GET /containers/json`.

use std::collections::BTreeMap;

use axum::extract::State;
use coracle_runtime::Runtime;
use coracle_runtime::container::Container;
use coracle_runtime::image::Image;
use jiff::Timestamp;

use super::selection::{FILTERS, Selection};
use crate::Api;
use crate::convert::container::summary;
use crate::error::Answer;
use crate::extract::Query;
use crate::respond;
use crate::version::ApiVersion;

pub(super) async fn list(State(api): State<Api>, version: ApiVersion, query: Query) -> Answer {
    let filters = query.filters(&FILTERS)?;
    let limit = query.number("limit")?.unwrap_or(0);
    let limit = usize::try_from(limit).ok().filter(|limit| *limit > 0);
    let runtime = &*api.runtime;
    let containers = runtime.list_containers(query.flag("size")).await?;

    let selection = Selection::new(&filters, &query, limit, &containers, runtime).await?;
    let now = Timestamp::now();
    let mut images = ImageNames::default();
    let mut found = Vec::new();
    for container in selection.span(&containers) {
        if limit == Some(found.len()) {
            break;
        }
        if selection.includes(container) {
            let image = images.of(container, runtime).await;
            found.push(summary(container, image, now, version));
        }
    }
    respond::ok(&found)
}

/// What containers' images are called by now, each looked up once.
#[derive(Default)]
struct ImageNames(BTreeMap<String, Option<String>>);

impl ImageNames {
    /// The name that a container was made by, where it still stands for its image; else the id.
    async fn of(&mut self, container: &Container, runtime: &dyn Runtime) -> String {
        let name = &container.config.image;
        if *name == container.image_id {
            return name.clone();
        }
        if !self.0.contains_key(name) {
            // A name that stands for nothing any more, for whatever reason, does not hide the list.
            let image = runtime.inspect_image(name).await.ok();
            self.0.insert(name.clone(), image.map(|image| image.id));
        }
        let id = self.0.get(name).and_then(Option::as_ref);
        if id == Some(&container.image_id) {
            name.clone()
        } else {
            container.image_id.clone()
        }
    }
}

/// The same, by a list of images at hand.
pub(in crate::routes) fn image_name(container: &Container, images: &[Image]) -> String {
    let name = &container.config.image;
    let tagged = format!("{name}:latest");
    let stands = images.iter().any(|image| {
        image.id == container.image_id
            && (image.repo_tags.contains(name)
                || image.repo_tags.contains(&tagged)
                || image.repo_digests.contains(name))
    });
    if stands {
        name.clone()
    } else {
        container.image_id.clone()
    }
}
