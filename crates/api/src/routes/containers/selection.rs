//! Which containers a list shows, by dockerd's rules.

use std::collections::BTreeSet;

use coracle_runtime::container::Container;
use coracle_runtime::{Filters, Runtime, RuntimeError, Status};

use crate::convert::container::ports;
use crate::error::{Answer, ApiError};
use crate::extract::Query;
use crate::matching::{Patterns, PortRange};

/// What containers can be filtered by.
pub(super) const FILTERS: [&str; 17] = [
    "ancestor",
    "before",
    "exited",
    "expose",
    "health",
    "id",
    "isolation",
    "is-task",
    "label",
    "label!",
    "name",
    "network",
    "publish",
    "since",
    "status",
    "volume",
    "until",
];
const HEALTH: [&str; 4] = ["starting", "healthy", "unhealthy", "none"];
const STATUSES: [&str; 7] = [
    "paused",
    "restarting",
    "removing",
    "running",
    "dead",
    "created",
    "exited",
];

/// What is asked for.
pub(super) struct Selection<'a> {
    filters: &'a Filters,
    /// Stopped ones too.
    all: bool,
    before: Option<String>,
    since: Option<String>,
    names: Patterns,
    exited: Vec<i32>,
    ancestors: Option<BTreeSet<String>>,
    published: Vec<PortRange<'a>>,
    exposed: Vec<PortRange<'a>>,
    is_task: Option<bool>,
}

impl<'a> Selection<'a> {
    pub(super) async fn new(
        filters: &'a Filters,
        query: &Query,
        limit: Option<usize>,
        containers: &[Container],
        runtime: &dyn Runtime,
    ) -> Answer<Self> {
        for status in filters.get("status") {
            if !STATUSES.contains(&status.as_str()) {
                return Err(ApiError::bad_request(format!(
                    "invalid filter 'status={status}'"
                )));
            }
        }
        for health in filters.get("health") {
            if !HEALTH.contains(&health.as_str()) {
                return Err(ApiError::bad_request(format!(
                    "unrecognized filter value for health: {health}"
                )));
            }
        }
        let exited = filters.get("exited").iter().map(|code| {
            code.parse().map_err(|_| {
                ApiError::bad_request(format!(
                    "invalid filter 'exited={code}': strconv.Atoi: parsing {code:?}: invalid syntax"
                ))
            })
        });
        let exited = exited.collect::<Answer<Vec<i32>>>()?;
        let find = |key: &str| -> Answer<Option<String>> {
            let name = filters
                .get(key)
                .last()
                .map_or_else(|| query.text(key), String::as_str);
            if name.is_empty() {
                return Ok(None);
            }
            position(containers, name)
                .map(|container| Some(container.id.clone()))
                .ok_or_else(|| RuntimeError::no_such_container(name).into())
        };
        let (before, since) = (find("before")?, find("since")?);
        let ports = |key: &'static str| {
            let parse = |text: &'a String| PortRange::parse(key, text);
            filters
                .get(key)
                .iter()
                .map(parse)
                .collect::<Answer<Vec<_>>>()
        };
        Ok(Self {
            all: query.flag("all") || limit.is_some() || filters.has("status"),
            before,
            since,
            names: Patterns::new(filters, "name"),
            exited,
            ancestors: ancestors(filters, runtime).await?,
            published: ports("publish")?,
            exposed: ports("expose")?,
            is_task: filters.boolean("is-task")?,
            filters,
        })
    }

    /// The part of the list, newest first, that lies between `before` and `since`.
    pub(super) fn span<'c>(&self, containers: &'c [Container]) -> &'c [Container] {
        let place = |id: &Option<String>| {
            let id = id.as_ref()?;
            containers.iter().position(|container| container.id == *id)
        };
        let first = place(&self.before).map_or(0, |place| place + 1);
        let last = place(&self.since).unwrap_or(containers.len());
        containers.get(first..last).unwrap_or_default()
    }

    pub(super) fn includes(&self, container: &Container) -> bool {
        let state = &container.state;
        let filters = self.filters;
        let running = state.status.is_alive() || state.status == Status::Restarting;
        let named = || {
            self.names.matches(&container.name)
                || self.names.matches(&format!("/{}", container.name))
        };
        let health = || {
            let health = state.health.as_ref();
            filters.exact(
                "health",
                health.map_or("none", |health| health.status.as_str()),
            )
        };
        let volume = || {
            !filters.has("volume")
                || container.mounts.iter().any(|mount| {
                    let name = if mount.name.is_empty() {
                        &mount.source
                    } else {
                        &mount.name
                    };
                    let wanted = filters.get("volume");
                    wanted.contains(name) || wanted.contains(&mount.destination)
                })
        };
        (self.all || running)
            && named()
            && filters.prefix("id", &container.id)
            && filters.labels(&container.config.labels)
            && filters.exact("status", state.status.as_str())
            && (self.exited.is_empty()
                || (!running
                    && state.started_at.is_some()
                    && self.exited.contains(&state.exit_code)))
            && health()
            && self.is_task != Some(true)
            && self
                .ancestors
                .as_ref()
                .is_none_or(|images| images.contains(&container.image_id))
            && volume()
            && self.on_network(container)
            && self.has_ports(container)
    }

    /// By the network's name, or the beginning of its id.
    fn on_network(&self, container: &Container) -> bool {
        !self.filters.has("network")
            || container.network.networks.iter().any(|(name, endpoint)| {
                self.filters.exact("network", name)
                    || self.filters.prefix("network", &endpoint.network_id)
            })
    }

    /// One port that fits either filter is enough, as with dockerd.
    fn has_ports(&self, container: &Container) -> bool {
        let within = |ranges: &[PortRange<'_>], port: u16, protocol: &str| {
            ranges.iter().any(|range| range.contains(port, protocol))
        };
        (self.exposed.is_empty() && self.published.is_empty())
            || ports(&container.network).iter().any(|port| {
                within(&self.published, port.public_port, &port.kind)
                    || within(&self.exposed, port.private_port, &port.kind)
            })
    }
}

/// A container of the list, by id, name, or a prefix of its id.
fn position<'a>(containers: &'a [Container], name: &str) -> Option<&'a Container> {
    let plain = name.strip_prefix('/').unwrap_or(name);
    containers
        .iter()
        .find(|container| container.id == name || container.name == plain)
        .or_else(|| {
            let mut fitting = containers
                .iter()
                .filter(|container| container.id.starts_with(name));
            fitting.next().filter(|_| fitting.next().is_none())
        })
}

/// The ids of the images asked for, and of all that were made from them; none where not asked.
async fn ancestors(filters: &Filters, runtime: &dyn Runtime) -> Answer<Option<BTreeSet<String>>> {
    if !filters.has("ancestor") {
        return Ok(None);
    }
    let mut ids = BTreeSet::new();
    for name in filters.get("ancestor") {
        match runtime.inspect_image(name).await {
            Ok(image) => {
                ids.insert(image.id);
            }
            // Docker does not mind an image that is not there; nothing is made from it.
            Err(RuntimeError::ImageNotFound(_) | RuntimeError::NotFound(_)) => {}
            Err(error) => return Err(error.into()),
        }
    }
    if !ids.is_empty() {
        let images = runtime.list_images(false).await?;
        loop {
            let known = ids.len();
            for image in &images {
                if ids.contains(&image.parent) {
                    ids.insert(image.id.clone());
                }
            }
            if ids.len() == known {
                break;
            }
        }
    }
    Ok(Some(ids))
}

#[cfg(test)]
mod tests {
    use coracle_runtime::container::NetworkSettings;
    use coracle_runtime::spec::{EndpointSettings, PortBinding};

    use super::*;

    fn selection<'a>(filters: &'a Filters) -> Selection<'a> {
        let ports = |key| {
            let parse = |text: &'a String| PortRange::parse(key, text).unwrap();
            filters.get(key).iter().map(parse).collect()
        };
        Selection {
            all: true,
            before: None,
            since: None,
            names: Patterns::new(filters, "name"),
            exited: Vec::new(),
            ancestors: None,
            published: ports("publish"),
            exposed: ports("expose"),
            is_task: None,
            filters,
        }
    }

    #[test]
    fn ports_and_networks_are_found() {
        let binding = PortBinding {
            host_ip: "0.0.0.0".into(),
            host_port: "8080".into(),
        };
        let endpoint = EndpointSettings {
            network_id: "abcdef".into(),
            ..EndpointSettings::default()
        };
        let container = Container {
            id: "0123".into(),
            network: NetworkSettings {
                ports: [
                    ("80/tcp".into(), Some(vec![binding])),
                    ("53/udp".into(), None),
                ]
                .into(),
                networks: [("front".into(), endpoint)].into(),
                ..NetworkSettings::default()
            },
            ..Container::default()
        };
        for (json, included) in [
            (r#"{"publish":["8080"]}"#, true),
            (r#"{"publish":["80"]}"#, false),
            (r#"{"publish":["8000-9000/tcp"]}"#, true),
            (r#"{"expose":["80"]}"#, true),
            (r#"{"expose":["53"]}"#, false),
            (r#"{"expose":["53/udp"]}"#, true),
            (r#"{"expose":["1"],"publish":["8080"]}"#, true),
            (r#"{"network":["front"]}"#, true),
            (r#"{"network":["abc"]}"#, true),
            (r#"{"network":["fro"]}"#, false),
            (r#"{"id":["01"]}"#, true),
            (r#"{"id":["23"]}"#, false),
        ] {
            let filters = Filters::parse(json, &FILTERS).unwrap();
            assert_eq!(selection(&filters).includes(&container), included, "{json}");
        }
    }
}
