//! What is remembered, and its two files.
//!
//! `networks.json` in the state directory holds the networks; each change is durable before it is
//! reported. `endpoints.json` in the run directory holds who has which address and port. It needn't
//! survive a power cut, because no container does; so it is replaced atomically, but not flushed to
//! the disk: that would cost each start more than all the rest of its network.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::net::IpAddr;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::endpoint::{Assigned, Endpoint};
use crate::error::{Error, Result};
use crate::ipam::Ipam;
use crate::network::{Network, Pool};
use crate::ports::Exposure;

/// No state is this long; a longer file is none of ours.
const MAX_FILE: u64 = 256 << 20;

/// Form of the networks' file.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct NetworksFile {
    pub(crate) networks: Vec<Network>,
}

/// Form of the endpoints' file.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct EndpointsFile {
    /// Where the search for the next address goes on, by subnet.
    #[serde(default)]
    pub(crate) cursors: BTreeMap<String, IpAddr>,
    #[serde(default)]
    pub(crate) endpoints: Vec<Endpoint>,
    #[serde(default)]
    pub(crate) exposed: BTreeMap<String, Exposure>,
}

/// A network with the bookkeeping of its addresses.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) network: Network,
    ipam4: Option<Ipam>,
    ipam6: Option<Ipam>,
}

impl Entry {
    pub(crate) fn new(network: Network) -> Result<Self> {
        let ipam = |pool: &Option<Pool>| pool.as_ref().map(Pool::ipam).transpose();
        Ok(Self {
            ipam4: ipam(&network.ipv4)?,
            ipam6: ipam(&network.ipv6)?,
            network,
        })
    }

    fn ipam(&mut self, ipv4: bool) -> Option<&mut Ipam> {
        if ipv4 {
            self.ipam4.as_mut()
        } else {
            self.ipam6.as_mut()
        }
    }

    /// Takes the wanted address, or the next free one. `None` if the network lacks the family.
    pub(crate) fn take(&mut self, ipv4: bool, wanted: Option<IpAddr>) -> Result<Option<IpAddr>> {
        let name = self.network.name.clone();
        match (self.ipam(ipv4), wanted) {
            (None, Some(ip)) => Err(Error::AddressOutside(ip)),
            (None, None) => Ok(None),
            (Some(ipam), Some(ip)) => ipam.reserve(ip).map(|()| Some(ip)),
            (Some(ipam), None) => {
                let family = if ipv4 { "IPv4" } else { "IPv6" };
                let none = Error::NoAddress {
                    family,
                    network: name,
                };
                ipam.allocate().map(Some).ok_or(none)
            }
        }
    }

    pub(crate) fn give_back(&mut self, ip: IpAddr) {
        if let Some(ipam) = self.ipam(ip.is_ipv4()) {
            ipam.release(ip);
        }
    }

    fn ipams(&self) -> impl Iterator<Item = &Ipam> {
        self.ipam4.iter().chain(&self.ipam6)
    }
}

/// All that is remembered.
#[derive(Debug, Default)]
pub(crate) struct State {
    /// By id.
    pub(crate) networks: BTreeMap<String, Entry>,
    /// Those whose addresses contradict each other: kept in the file for somebody to mend.
    pub(crate) unusable: Vec<Network>,
    /// By network and id.
    pub(crate) endpoints: BTreeMap<(String, String), Endpoint>,
    /// By id.
    pub(crate) exposed: BTreeMap<String, Exposure>,
    /// Counts changes of what the endpoints' file holds.
    pub(crate) generation: u64,
}

impl State {
    /// The network of an id.
    pub(crate) fn entry(&mut self, id: &str) -> Result<&mut Entry> {
        self.networks
            .get_mut(id)
            .ok_or_else(|| Error::NetworkNotFound(id.to_owned()))
    }

    /// Remembers an endpoint and takes its addresses, if its network is there and they are free.
    pub(crate) fn adopt(&mut self, endpoint: Endpoint) -> Result<()> {
        let key = (endpoint.network.clone(), endpoint.id.clone());
        if self.endpoints.contains_key(&key) {
            return Ok(());
        }
        let entry = self.entry(&endpoint.network)?;
        let mut taken = Vec::new();
        for address in endpoint.addresses() {
            if let Err(e) = entry.take(address.ip.is_ipv4(), Some(address.ip)) {
                taken.into_iter().for_each(|ip| entry.give_back(ip));
                return Err(e);
            }
            taken.push(address.ip);
        }
        self.endpoints.insert(key, endpoint);
        self.generation += 1;
        Ok(())
    }

    /// Forgets an endpoint and gives its addresses back.
    pub(crate) fn forget(&mut self, network: &str, id: &str) -> Option<Endpoint> {
        let endpoint = self
            .endpoints
            .remove(&(network.to_owned(), id.to_owned()))?;
        if let Some(entry) = self.networks.get_mut(network) {
            endpoint.addresses().for_each(|a| entry.give_back(a.ip));
        }
        self.generation += 1;
        Some(endpoint)
    }

    /// Settles which of an owner's endpoints the default routes lead to, for IPv4 and IPv6 each;
    /// returns those that have got one which they hadn't.
    pub(crate) fn elect(&mut self, id: &str) -> Vec<Endpoint> {
        let best = |has_gateway: &dyn Fn(&Endpoint) -> bool| {
            let own = self.endpoints.values().filter(|e| e.id == id);
            let candidates = own.filter(|e| e.default_route && has_gateway(e));
            let name = |e: &Endpoint| self.networks.get(&e.network).map(|n| &n.network.name);
            candidates
                .max_by_key(|e| (e.gateway_priority, Reverse(name(e))))
                .map(|e| e.network.clone())
        };
        let leads_out = |e: &Endpoint, a: &Assigned| e.routed || a.gateway.is_some();
        let leader4 = best(&|e| e.ipv4.as_ref().is_some_and(|a| leads_out(e, a)));
        let leader6 = best(&|e| e.ipv6.as_ref().is_some_and(|a| leads_out(e, a)));
        let mut elected = Vec::new();
        for endpoint in self.endpoints.values_mut().filter(|e| e.id == id) {
            let (former4, former6) = (endpoint.leads4, endpoint.leads6);
            endpoint.leads4 = leader4.as_ref() == Some(&endpoint.network);
            endpoint.leads6 = leader6.as_ref() == Some(&endpoint.network);
            if (endpoint.leads4 && !former4) || (endpoint.leads6 && !former6) {
                elected.push(endpoint.clone());
            }
        }
        elected
    }

    pub(crate) fn networks_file(&self) -> NetworksFile {
        let usable = self.networks.values().map(|e| &e.network);
        NetworksFile {
            networks: usable.chain(&self.unusable).cloned().collect(),
        }
    }

    pub(crate) fn endpoints_file(&self) -> EndpointsFile {
        let ipams = self.networks.values().flat_map(Entry::ipams);
        EndpointsFile {
            cursors: ipams
                .map(|i| (i.subnet().to_string(), i.cursor()))
                .collect(),
            endpoints: self.endpoints.values().cloned().collect(),
            exposed: self.exposed.clone(),
        }
    }

    /// Takes over what the endpoints' file says; what doesn't fit the networks is left out.
    pub(crate) fn load_endpoints(&mut self, file: EndpointsFile) {
        for endpoint in file.endpoints {
            let id = endpoint.id.clone();
            if let Err(e) = self.adopt(endpoint) {
                tracing::warn!("endpoint of {id} is dropped: {e}");
            }
        }
        for entry in self.networks.values_mut() {
            for ipam in entry.ipam4.iter_mut().chain(&mut entry.ipam6) {
                if let Some(cursor) = file.cursors.get(&ipam.subnet().to_string()) {
                    ipam.set_cursor(*cursor);
                }
            }
        }
        self.exposed = file.exposed;
    }
}

/// Reads a file; one that isn't there is the default. One that can't be understood is set aside
/// under another name, never deleted.
pub(crate) fn load<T: Default + DeserializeOwned>(path: &Path) -> Result<T> {
    let failed = |source| Error::Io {
        what: format!("read {}", path.display()),
        source,
    };
    let file = match File::open(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(T::default()),
        file => file.map_err(failed)?,
    };
    let mut bytes = Vec::new();
    file.take(MAX_FILE)
        .read_to_end(&mut bytes)
        .map_err(failed)?;
    match serde_json::from_slice(&bytes) {
        Ok(value) => Ok(value),
        Err(e) => {
            let now = SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .map_or(0, |d| d.as_nanos());
            let aside = path.with_extension(format!("broken-{now}"));
            fs::rename(path, &aside).map_err(failed)?;
            tracing::error!("{}: {e}; set aside as {}", path.display(), aside.display());
            Ok(T::default())
        }
    }
}

/// Replaces a file atomically; if `durable`, it is on the disk when this returns.
pub(crate) fn save<T: Serialize>(path: &Path, value: &T, durable: bool) -> Result<()> {
    let failed = |source| Error::Io {
        what: format!("write {}", path.display()),
        source,
    };
    let bytes = serde_json::to_vec(value).map_err(|e| failed(e.into()))?;
    let parent = path.parent().unwrap_or(Path::new("/"));
    let new = path.with_extension("new");
    let write = || -> io::Result<()> {
        let mut file = File::create(&new)?;
        file.write_all(&bytes)?;
        if durable {
            file.sync_all()?;
        }
        fs::rename(&new, path)?;
        if durable {
            File::open(parent)?.sync_all()?;
        }
        Ok(())
    };
    match write() {
        Err(e) if e.kind() == io::ErrorKind::NotFound => fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(parent)
            .and_then(|()| write()),
        result => result,
    }
    .map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broken_file_is_set_aside() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("sub/endpoints.json");
        assert!(load::<EndpointsFile>(&path).unwrap().endpoints.is_empty());
        let mut file = EndpointsFile::default();
        file.cursors
            .insert("10.0.0.0/8".into(), "10.0.0.9".parse().unwrap());
        save(&path, &file, true).unwrap();
        assert_eq!(load::<EndpointsFile>(&path).unwrap().cursors, file.cursors);
        fs::write(&path, "{\"endpoints\": [{}]}").unwrap();
        assert!(load::<EndpointsFile>(&path).unwrap().cursors.is_empty());
        let names: Vec<_> = fs::read_dir(path.parent().unwrap())
            .unwrap()
            .map(|e| e.unwrap().file_name().into_string().unwrap())
            .collect();
        assert_eq!(names.len(), 1);
        assert!(names[0].starts_with("endpoints.broken-"), "{names:?}");
    }
}
