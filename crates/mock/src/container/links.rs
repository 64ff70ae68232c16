//! Legacy links: checked, shown and told as variables. Nobody here looks names up, so no file follows them.

use coracle_runtime::spec::HostConfig;
use coracle_runtime::{Result, RuntimeError};

use super::Entry;
use crate::engine::State;

/// A link to another container.
#[derive(Clone, Debug)]
pub(crate) struct Link {
    target: String,
    /// Its name when the link was made.
    name: String,
    alias: String,
}

impl State {
    /// The links of a new container.
    pub(crate) fn links(&self, host: &HostConfig) -> Result<Vec<Link>> {
        let mut links: Vec<Link> = Vec::new();
        for link in coracle_spec::legacy_links(host)? {
            let entry = |name: &str| {
                let found = self.container(name);
                found.map_err(|_| coracle_spec::no_link_target(name))
            };
            let mut target = entry(&link.target)?;
            while let Some(other) = target.host_config.network_mode.strip_prefix("container:") {
                target = entry(other)?;
            }
            if target.host_config.network_mode == "host" {
                return Err(coracle_spec::link_to_host());
            }
            if links.iter().all(|known| known.alias != link.alias) {
                links.push(Link {
                    target: target.id.clone(),
                    name: target.name.clone(),
                    alias: link.alias,
                });
            }
        }
        Ok(links)
    }

    fn name_of(&self, link: &Link) -> String {
        let target = self.containers.get(&link.target);
        target.map_or(&link.name, |target| &target.name).clone()
    }

    /// Variables that tell of the others, all of which have to run on the default bridge.
    pub(crate) fn linked(&self, id: &str) -> Result<Vec<String>> {
        let mut env = Vec::new();
        let bridged = |entry: &&Entry| entry.host_config.network_mode == "bridge";
        let Some(entry) = self.containers.get(id).filter(bridged) else {
            return Ok(env);
        };
        for link in &entry.links {
            let name = self.name_of(link);
            let target = self.containers.get(&link.target);
            let target = target
                .filter(|target| target.status().is_alive())
                .ok_or_else(|| coracle_spec::link_not_running(&name, &entry.name, &link.alias))?;
            let endpoint = target.network.networks.get("bridge");
            let address = endpoint.and_then(|endpoint| endpoint.ip_address.parse().ok());
            let address = address.ok_or_else(|| coracle_spec::link_elsewhere(&name))?;
            let other = &target.config;
            env.extend(coracle_spec::link_environment(
                &entry.name,
                &link.alias,
                address,
                other,
            ));
        }
        Ok(env)
    }

    /// The same of a running container; none while it is off the default bridge.
    pub(crate) fn linked_now(&self, entry: &Entry) -> Result<Vec<String>> {
        match entry.network.networks.contains_key("bridge") {
            true => self.linked(&entry.id),
            false => Ok(Vec::new()),
        }
    }

    /// A container by what another calls it: `other/alias`.
    pub(crate) fn find_linked(&self, name: &str) -> Option<String> {
        let (parent, alias) = name.split_once('/')?;
        let parent = self.containers.get(self.names.get(parent)?)?;
        let link = parent.links.iter().find(|link| link.alias == alias)?;
        self.containers
            .contains_key(&link.target)
            .then(|| link.target.clone())
    }

    /// Removes a link, by `other/alias`.
    pub(crate) fn remove_link(&mut self, name: &str) -> Result<()> {
        let bare = name.strip_prefix('/').unwrap_or(name);
        let Some((parent, alias)) = bare.split_once('/') else {
            return Err(RuntimeError::InvalidState(format!(
                "Conflict, cannot remove the default link name of the container {bare}"
            )));
        };
        let id = self.find(parent)?;
        let parent = self.container_mut(&id)?;
        parent.links.retain(|link| link.alias != alias);
        Ok(())
    }

    /// How inspection shows them.
    pub(crate) fn shown_links(&self, entry: &Entry) -> Vec<String> {
        let shown =
            |link: &Link| coracle_spec::shown_link(&self.name_of(link), &entry.name, &link.alias);
        entry.links.iter().map(shown).collect()
    }

    /// What others call a container.
    pub(crate) fn linked_as(&self, id: &str) -> Vec<String> {
        let mut names = Vec::new();
        for entry in self.containers.values() {
            for link in entry.links.iter().filter(|link| link.target == id) {
                names.push(format!("{}/{}", entry.name, link.alias));
            }
        }
        names
    }
}
