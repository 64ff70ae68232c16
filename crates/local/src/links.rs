//! Legacy links: a container on the default bridge that is told of another one there, by names in its hosts
//! file, which follow the other's address, and by variables. What they say is [`coracle_spec`]'s.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use coracle_network::DEFAULT_NETWORK;
use coracle_runtime::container::Container;
use coracle_runtime::spec::HostConfig;
use coracle_runtime::{Result, RuntimeError};

use crate::container::handle::{Command, Handle};
use crate::container::names::Containers;
use crate::container::record::{Dirs, LinkRecord, Record};
use crate::mounted;

/// How many containers can share each other's network in a row.
const MOST: usize = 64;

/// The links of a new container.
pub(crate) fn resolve(containers: &Containers, host: &HostConfig) -> Result<Vec<LinkRecord>> {
    let mut links: Vec<LinkRecord> = Vec::new();
    for link in coracle_spec::legacy_links(host)? {
        let found = containers.find(&link.target);
        let mut target = found.map_err(|_| coracle_spec::no_link_target(&link.target))?;
        for _ in 0..MOST {
            let record = target.now().record;
            let Some(other) = record.host_config.network_mode.strip_prefix("container:") else {
                break;
            };
            let found = containers.find(other);
            target = found.map_err(|_| coracle_spec::no_link_target(other))?;
        }
        let record = target.now().record;
        if record.host_config.network_mode == "host" {
            return Err(coracle_spec::link_to_host());
        }
        // The first one of a name counts, as in Docker.
        if links.iter().all(|known| known.alias != link.alias) {
            links.push(LinkRecord {
                target: record.id.clone(),
                name: record.name.clone(),
                alias: link.alias,
            });
        }
    }
    Ok(links)
}

/// The other end of a link, while it runs.
pub(crate) struct End {
    alias: String,
    address: IpAddr,
    record: Arc<Record>,
}

/// The other ends of all links, and who changes the files that tell of them.
pub(crate) struct Links {
    containers: Arc<Containers>,
    /// Held from the look at an address until it is in a file, so that no older one comes after it.
    writing: Mutex<()>,
}

impl Links {
    pub(crate) fn new(containers: Arc<Containers>) -> Self {
        Self {
            containers,
            writing: Mutex::default(),
        }
    }

    /// Keeps others from changing hosts files. For file work only.
    pub(crate) fn writing(&self) -> MutexGuard<'_, ()> {
        self.writing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The other ends of a container's links, all of which have to run on the default bridge.
    pub(crate) fn ends(&self, record: &Record) -> Result<Vec<End>> {
        if !is_on_default(record) {
            return Ok(Vec::new());
        }
        let ends = record.links.iter().map(|link| {
            let target = self.containers.get(&link.target);
            let name = target.as_ref().map_or(link.name.clone(), Handle::name);
            let alive = target.filter(|target| target.status().is_alive());
            let not_running = || coracle_spec::link_not_running(&name, &record.name, &link.alias);
            let target = alive.ok_or_else(not_running)?;
            let address = address(&target).ok_or_else(|| coracle_spec::link_elsewhere(&name))?;
            Ok(End {
                alias: link.alias.clone(),
                address,
                record: target.now().record,
            })
        });
        ends.collect()
    }

    /// The variables that a running container's links give it now; none while it is off the default bridge.
    ///
    /// # Errors
    /// `InvalidState` where the other end of one doesn't run, or is off that bridge.
    pub(crate) fn told(&self, handle: &Handle) -> Result<Vec<String>> {
        if address(handle).is_none() {
            return Ok(Vec::new());
        }
        let record = handle.now().record;
        Ok(environment(&record, &self.ends(&record)?))
    }

    /// The lines of a container's hosts file that tell of others, of those that run.
    pub(crate) fn lines(&self, record: &Record) -> Vec<(IpAddr, Vec<String>)> {
        if !is_on_default(record) {
            return Vec::new();
        }
        let lines = record.links.iter().filter_map(|link| {
            let target = self.containers.get(&link.target)?;
            Some((address(&target)?, names(link, &target.now().record)))
        });
        lines.collect()
    }

    /// Has those who have a link to a container follow it to its address. Whose files have changed.
    pub(crate) fn follow(&self, id: &str) -> Vec<Handle> {
        let linked = |handle: &Handle| {
            let record = handle.now().record;
            let mut links = record.links.iter();
            links.any(|link| link.target == id)
        };
        let handles = self.containers.all().into_iter().filter(linked);
        handles
            .filter(|handle| self.follow_in(handle, id))
            .collect()
    }

    fn follow_in(&self, handle: &Handle, id: &str) -> bool {
        let _writing = self.writing();
        let record = handle.now().record;
        for link in record.links.iter().filter(|link| link.target == id) {
            let Some(target) = self.containers.get(id) else {
                return false;
            };
            let Some(address) = address(&target) else {
                return false;
            };
            let line = (address, names(link, &target.now().record));
            let set = mounted::set_link(&handle.dirs.hosts(), &link.alias, Some(&line));
            report(&handle.dirs, set);
        }
        true
    }

    /// Takes a link out of a container's hosts file.
    pub(crate) fn forget(&self, dirs: &Dirs, alias: &str) {
        let _writing = self.writing();
        report(dirs, mounted::set_link(&dirs.hosts(), alias, None));
    }
}

fn report(dirs: &Dirs, done: std::io::Result<()>) {
    match done {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            let file = dirs.hosts();
            tracing::warn!(file = %file.display(), %error, "cannot change a container's hosts file");
        }
        _ => {}
    }
}

/// Whether the default bridge is the network that a container was made for.
pub(crate) fn is_on_default(record: &Record) -> bool {
    record.host_config.network_mode == DEFAULT_NETWORK
}

/// Where a container is on the default bridge.
fn address(handle: &Handle) -> Option<IpAddr> {
    let container = handle.now().container;
    let endpoint = container.network.networks.get(DEFAULT_NETWORK)?;
    endpoint.ip_address.parse().ok()
}

fn names(link: &LinkRecord, target: &Record) -> Vec<String> {
    coracle_spec::link_names(&link.alias, &target.config.hostname, &target.name)
}

/// The variables that a container's links give it.
pub(crate) fn environment(record: &Record, ends: &[End]) -> Vec<String> {
    let of = |end: &End| {
        let other = &end.record.config;
        coracle_spec::link_environment(&record.name, &end.alias, end.address, other)
    };
    ends.iter().flat_map(of).collect()
}

/// Removes a link, by `parent/alias`.
pub(crate) async fn remove(containers: &Containers, name: &str) -> Result<()> {
    let target = containers.find(name)?;
    let bare = name.strip_prefix('/').unwrap_or(name);
    let Some((parent, alias)) = bare.split_once('/') else {
        return Err(RuntimeError::InvalidState(format!(
            "Conflict, cannot remove the default link name of the container {}",
            target.name()
        )));
    };
    let alias = alias.to_owned();
    let parent = containers.find(parent)?;
    parent.ask(|reply| Command::Unlink { alias, reply }).await
}

/// All links, as they are shown: with the names of now.
pub(crate) struct Shown {
    links: Vec<Row>,
}

struct Row {
    owner: String,
    owner_name: String,
    target: String,
    target_name: String,
    alias: String,
}

impl Shown {
    pub(crate) fn new(containers: &Containers) -> Self {
        let mut links = Vec::new();
        for handle in containers.all() {
            let record = handle.now().record;
            for link in &record.links {
                let target = containers.get(&link.target);
                links.push(Row {
                    owner: record.id.clone(),
                    owner_name: record.name.clone(),
                    target: link.target.clone(),
                    target_name: target.map_or(link.name.clone(), |target| target.name()),
                    alias: link.alias.clone(),
                });
            }
        }
        Self { links }
    }

    /// Adds the links to what is told of a container.
    pub(crate) fn fill(&self, container: &mut Container) {
        for row in &self.links {
            if row.owner == container.id {
                let (target, own) = (&row.target_name, &row.owner_name);
                let shown = coracle_spec::shown_link(target, own, &row.alias);
                container.host_config.links.push(shown);
            }
            if row.target == container.id {
                let name = format!("{}/{}", row.owner_name, row.alias);
                container.linked_as.push(name);
            }
        }
    }
}
