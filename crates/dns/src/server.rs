//! The server: what callers use.

use std::collections::HashMap;
use std::ffi::OsString;
use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::net::{TcpListener, UdpSocket};
use tokio::task::AbortHandle;

use crate::answer::Turns;
use crate::error::{Error, Result};
use crate::forward::Forwarder;
use crate::gate::Gate;
use crate::host::Host;
use crate::place::{self, Sockets};
use crate::serve::{Listener, Scope};
use crate::snapshot::Source;
use crate::table::Table;

/// How a server is set up.
#[derive(Clone, Debug)]
pub struct Config {
    /// The host's file that names its resolvers; its changes are followed.
    pub resolv_conf: PathBuf,
    /// Whom to ask instead of the host's resolvers.
    pub resolvers: Option<Vec<SocketAddr>>,
    /// Where the host's own programs ask, if they may.
    pub host: Option<Host>,
    /// The `nft` program, to lead port 53 in a container to the server.
    pub nft: OsString,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            resolv_conf: "/etc/resolv.conf".into(),
            resolvers: None,
            host: None,
            nft: "nft".into(),
        }
    }
}

/// A DNS server for containers. A handle: clones are the same. All listening ends with the last.
#[derive(Clone, Debug)]
pub struct Server {
    core: Arc<Core>,
    nft: OsString,
    listening: Arc<Mutex<HashMap<String, Tasks>>>,
    gate: Gate,
}

/// What the listeners share.
pub(crate) struct Core {
    source: Arc<dyn Source>,
    pub(crate) forwarder: Forwarder,
    /// Counts what has changed.
    generation: AtomicU64,
    /// The table, and the generation that it is of.
    table: Mutex<(u64, Arc<Table>)>,
    pub(crate) turns: Turns,
}

impl fmt::Debug for Core {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Core").finish_non_exhaustive()
    }
}

impl Core {
    /// What is known now.
    pub(crate) fn table(&self) -> Arc<Table> {
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        // Read before the snapshot is: what changes in between is read again.
        let generation = self.generation.load(Ordering::Acquire);
        if table.0 != generation {
            *table = (generation, Arc::new(Table::new(&self.source.snapshot())));
        }
        table.1.clone()
    }
}

/// The tasks of one listener; they end with this.
#[derive(Debug)]
pub(crate) struct Tasks(Vec<AbortHandle>);

impl Drop for Tasks {
    fn drop(&mut self) {
        self.0.iter().for_each(AbortHandle::abort);
    }
}

impl Server {
    /// A server that listens nowhere yet.
    #[must_use]
    pub fn new(config: Config, source: Arc<dyn Source>) -> Self {
        let core = Core {
            source,
            forwarder: Forwarder::new(config.resolv_conf, config.resolvers),
            generation: AtomicU64::new(1),
            table: Mutex::new((0, Arc::default())),
            turns: Turns::default(),
        };
        Self {
            core: Arc::new(core),
            nft: config.nft,
            listening: Arc::default(),
            gate: Gate::new(),
        }
    }

    /// Tells that networks, containers or their names have changed. Cheap.
    pub fn changed(&self) {
        self.core.generation.fetch_add(1, Ordering::AcqRel);
    }

    /// Answers a container at [`ADDRESS`](crate::ADDRESS) in its network namespace. One that is
    /// answered already keeps its sockets.
    ///
    /// # Errors
    /// `Namespace` if there is none, or if something else in it has taken the port.
    pub async fn open(&self, container: &str, netns: &Path) -> Result<()> {
        if self.listening().contains_key(container) {
            return Ok(());
        }
        let (path, nft) = (netns.to_owned(), self.nft.clone());
        let made = tokio::task::spawn_blocking(move || place::in_namespace(&path, &nft))
            .await
            .unwrap_or_else(|error| Err(error.into()));
        let failed = |source| Error::Namespace {
            path: netns.to_owned(),
            source,
        };
        let scope = Scope::Container(container.into());
        let tasks = self.begin(made.map_err(failed)?, scope).map_err(failed)?;
        self.listening().insert(container.to_owned(), tasks);
        Ok(())
    }

    /// Answers at a gateway's address, port 53, those who have an address on the network.
    ///
    /// # Errors
    /// `Gateway` if something else listens there.
    pub fn open_gateway(&self, network: &str, address: IpAddr) -> Result<()> {
        let key = gateway_key(network, address);
        if self.listening().contains_key(&key) {
            return Ok(());
        }
        let failed = |source| Error::Gateway { address, source };
        let sockets = place::at_gateway(address).map_err(failed)?;
        let scope = Scope::Network(network.into());
        let tasks = self.begin(sockets, scope).map_err(failed)?;
        self.listening().insert(key, tasks);
        Ok(())
    }

    /// Answers the host's own programs, as long as there is a server.
    ///
    /// # Errors
    /// `Host` if something else listens there.
    pub fn open_host(&self, host: &Host) -> Result<()> {
        let address = host.address();
        let key = address.to_string();
        if self.listening().contains_key(&key) {
            return Ok(());
        }
        let failed = |source| Error::Host { address, source };
        let sockets = place::on_host(address).map_err(failed)?;
        let scope = Scope::Host(host.domain().into());
        let tasks = self.begin(sockets, scope).map_err(failed)?;
        self.listening().insert(key, tasks);
        Ok(())
    }

    pub(crate) fn begin(&self, sockets: Sockets, scope: Scope) -> io::Result<Tasks> {
        let udp = UdpSocket::from_std(sockets.udp)?;
        let tcp = TcpListener::from_std(sockets.tcp)?;
        let listener = Listener {
            core: self.core.clone(),
            scope,
            door: self.gate.door(),
        };
        Ok(Tasks(vec![
            tokio::spawn(listener.clone().datagrams(udp)).abort_handle(),
            tokio::spawn(listener.connections(tcp)).abort_handle(),
        ]))
    }

    /// Stops answering a container.
    pub fn close(&self, container: &str) {
        self.listening().remove(container);
    }

    /// Stops answering at the gateways of the networks that are gone.
    pub fn close_gateways(&self, is_gone: impl Fn(&str) -> bool) {
        self.listening().retain(|key, _| {
            let network = key.split_once('/').map(|(network, _)| network);
            !network.is_some_and(&is_gone)
        });
    }

    #[cfg(test)]
    pub(crate) fn core(&self) -> &Core {
        &self.core
    }

    pub(crate) fn listening(&self) -> MutexGuard<'_, HashMap<String, Tasks>> {
        // A map is whole after each change.
        self.listening
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// No container has such an id.
fn gateway_key(network: &str, address: IpAddr) -> String {
    format!("{network}/{address}")
}
