//! What images there are.

use std::collections::BTreeSet;

use axum::extract::State;
use coracle_runtime::Filters;
use coracle_runtime::image::Image;
use jiff::Timestamp;

use crate::Api;
use crate::convert::image::{self, SummaryOptions};
use crate::error::{Answer, ApiError};
use crate::extract::{self, Query};
use crate::matching::reference_fits;
use crate::respond;
use crate::version::ApiVersion;

const FILTERS: [&str; 7] = [
    "before",
    "dangling",
    "label",
    "label!",
    "reference",
    "since",
    "until",
];

pub(super) async fn list(State(api): State<Api>, version: ApiVersion, query: Query) -> Answer {
    let mut filters = query.filters(&FILTERS)?;
    let name = query.text("filter");
    if version.before(41) && !name.is_empty() {
        filters.add("reference", name);
    }
    let selection = Selection::new(&filters, &query, &api).await?;
    let shared = version.since(42) && query.flag("shared-size");
    let images = api.runtime.list_images(shared).await?;
    let options = SummaryOptions {
        manifests: version.since(47) && query.flag("manifests"),
        containers: false,
    };
    let parents: BTreeSet<String> = images.iter().map(|image| image.parent.clone()).collect();
    let mut found: Vec<_> = images
        .into_iter()
        .filter_map(|image| selection.select(image, &parents))
        .map(|image| image::summary(image, options, version))
        .collect();
    found.sort_by_key(|image| std::cmp::Reverse(image.created));
    respond::ok(&found)
}

struct Selection<'a> {
    filters: &'a Filters,
    /// Untagged ones that others were made from, too.
    all: bool,
    dangling: Option<bool>,
    before: Option<Timestamp>,
    since: Option<Timestamp>,
}

impl<'a> Selection<'a> {
    async fn new(filters: &'a Filters, query: &Query, api: &Api) -> Answer<Self> {
        let mut before: Option<Timestamp> = None;
        for name in filters.get("before") {
            let created = created(api, name).await?;
            before = Some(before.map_or(created, |earlier| earlier.min(created)));
        }
        let mut since: Option<Timestamp> = None;
        for name in filters.get("since") {
            let created = created(api, name).await?;
            since = Some(since.map_or(created, |later| later.max(created)));
        }
        for text in filters.get("until") {
            let until = until(text)?;
            before = Some(before.map_or(until, |earlier| earlier.min(until)));
        }
        Ok(Self {
            all: query.flag("all"),
            dangling: filters.boolean("dangling")?,
            before,
            since,
            filters,
        })
    }

    /// The image as it is shown, or none where it is not asked for.
    fn select(&self, mut image: Image, parents: &BTreeSet<String>) -> Option<Image> {
        let created = image.created.unwrap_or(Timestamp::UNIX_EPOCH);
        if self.before.is_some_and(|before| created >= before)
            || self.since.is_some_and(|since| created <= since)
            || !self.filters.labels(&image.config.labels)
        {
            return None;
        }
        let references = self.filters.get("reference");
        if !references.is_empty() {
            let fits = |name: &String| {
                references
                    .iter()
                    .any(|pattern| reference_fits(pattern, name))
            };
            image.repo_tags.retain(fits);
            image.repo_digests.retain(fits);
            if image.repo_tags.is_empty() && image.repo_digests.is_empty() {
                return None;
            }
        }
        let untagged = image.repo_tags.is_empty();
        match self.dangling {
            Some(true) if !untagged => return None,
            Some(false) if untagged => return None,
            _ => {}
        }
        // An untagged image that another was made from is a layer of it, to users.
        let intermediate = untagged && image.repo_digests.is_empty() && parents.contains(&image.id);
        (self.all || !intermediate).then_some(image)
    }
}

async fn created(api: &Api, name: &str) -> Answer<Timestamp> {
    let image = api.runtime.inspect_image(name).await?;
    Ok(image.created.unwrap_or(Timestamp::UNIX_EPOCH))
}

/// A time, or an age such as `10m` and `1h30m`.
fn until(text: &str) -> Answer<Timestamp> {
    extract::parse_time(text)
        .ok()
        .flatten()
        .ok_or_else(|| ApiError::bad_request(format!("invalid filter 'until={text}'")))
}

pub(super) async fn inspect(api: &Api, name: &str, version: ApiVersion) -> Answer {
    let image = api.runtime.inspect_image(name).await?;
    respond::ok(&image::inspect(image, "overlay2", version))
}

pub(super) async fn history(api: &Api, name: &str) -> Answer {
    let steps = api.runtime.image_history(name).await?;
    let items: Vec<_> = steps.into_iter().map(image::history).collect();
    respond::ok(&items)
}
