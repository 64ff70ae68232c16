//! The networks of a daemon: what callers use.

mod attach;
mod publish;
mod topology;
mod watch;

use std::collections::{BTreeMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::OwnedMutexGuard;

use crate::config::Config;
use crate::endpoint::Endpoint;
use crate::error::{Result, blocking};
use crate::nft::elements::Elements;
use crate::nft::{self, Firewall, rules};
use crate::pools;
use crate::port;
use crate::ports::{Exposure, Ports, all_elements};
use crate::state::{self, EndpointsFile, Entry, NetworksFile, State};

/// What still runs when a daemon starts. What it doesn't say is taken from our own files.
#[derive(Debug, Clone, Default)]
pub struct Live {
    /// The id that the endpoints and ports were made with.
    pub id: String,
    /// Its endpoints, as far as the caller knows them.
    pub endpoints: Vec<Endpoint>,
    /// Its published ports, if the caller knows them.
    pub exposure: Option<Exposure>,
}

/// The networks of a daemon. A handle: clones are the same.
#[derive(Clone, Debug)]
pub struct Networks {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    config: Config,
    state: Mutex<State>,
    /// The generation of the state that the endpoints' file holds; held while it is written.
    saved: Arc<tokio::sync::Mutex<u64>>,
    /// Held while networks are made, removed or restored.
    topology: tokio::sync::Mutex<()>,
    /// One of them is held while endpoints of an id are changed: which one follows from the id.
    owners: [Arc<tokio::sync::Mutex<()>>; 64],
    firewall: Firewall,
    ports: Ports,
    warnings: Vec<String>,
    watch: watch::Watch,
}

impl Networks {
    /// Reads what is remembered, and settles the default network's addresses. Changes nothing in
    /// the kernel: [`Networks::restore`] does. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// If the configuration contradicts itself, if files can't be read or written, or if no subnet
    /// is free for the default network.
    pub async fn open(config: Config) -> Result<Self> {
        config.check()?;
        let mut warnings = Vec::new();
        let nft = if config.firewall {
            nft::find(&config.nft)
        } else {
            None
        };
        if nft.is_none() {
            warnings.push(if config.firewall {
                "nft is missing (install nftables): containers can't reach beyond this host, and \
                 published ports are served by the user-space proxy alone"
                    .to_owned()
            } else {
                "firewall rules are switched off: containers can't reach beyond this host unless \
                 it masquerades for them by other rules"
                    .to_owned()
            });
        }
        warnings.iter().for_each(|w| tracing::warn!("{w}"));
        let loading = config.clone();
        let state = blocking(move || load(&loading)).await?;
        let firewall = Firewall::start(nft, config.table());
        let networks = Self {
            inner: Arc::new(Inner {
                config,
                state: Mutex::new(state),
                saved: Arc::default(),
                topology: tokio::sync::Mutex::new(()),
                owners: std::array::from_fn(|_| Arc::default()),
                firewall,
                ports: Ports::default(),
                warnings,
                watch: watch::Watch::default(),
            }),
        };
        Ok(networks)
    }

    /// What the user should know about this host, for `info`.
    #[must_use]
    pub fn warnings(&self) -> &[String] {
        &self.inner.warnings
    }

    /// Makes kernel and memory agree with what runs: bridges and firewall are made (again), live
    /// endpoints are put back onto their bridges, all others are released with their ports. To be
    /// called once, before anything is attached. Containers that run notice nothing.
    ///
    /// From then on bridges, ports and rules that somebody else removes are made again within
    /// moments, as long as a handle is there.
    ///
    /// # Errors
    /// If bridges or rules can't be made. A single endpoint that can't be restored is only logged.
    pub async fn restore(&self, live: Vec<Live>) -> Result<()> {
        {
            let mut state = self.state();
            let ids: HashSet<String> = live.iter().map(|l| l.id.clone()).collect();
            let dead: Vec<_> = state
                .endpoints
                .keys()
                .filter(|(_, id)| !ids.contains(id))
                .cloned()
                .collect();
            for (network, id) in dead {
                state.forget(&network, &id);
            }
            state.exposed.retain(|id, _| ids.contains(id));
            let owners = ids.clone();
            for Live {
                id,
                endpoints,
                exposure,
            } in live
            {
                for endpoint in endpoints {
                    if let Err(e) = state.adopt(endpoint) {
                        tracing::warn!("endpoint of {id} isn't restored: {e}");
                    }
                }
                if let Some(exposure) = exposure {
                    state.exposed.insert(id, exposure);
                }
            }
            for id in owners {
                // What leads where is as it was made.
                state.elect(&id);
            }
            state.generation += 1;
        }
        self.save_endpoints().await?;
        // Before: what is lost meanwhile is made good too.
        self.watch();
        self.make(true).await
    }

    /// Makes bridges and firewall rules (again) where they aren't as they should be. Needed only
    /// where the kernel doesn't tell of changes, which is logged.
    ///
    /// # Errors
    /// As [`Networks::restore`].
    pub async fn ensure(&self) -> Result<()> {
        self.make(false).await
    }

    async fn make(&self, restoring: bool) -> Result<()> {
        let _topology = self.inner.topology.lock().await;
        self.make_links(restoring).await?;
        let published = {
            let state = self.state();
            // Otherwise the firewall knows better: ports may be on their way to it.
            restoring.then(|| all_elements(&state.exposed, self.inner.config.userland_proxy))
        };
        self.make_rules(published).await
    }

    /// Makes bridges as they should be, and puts the endpoints back onto them. To be called with
    /// `topology` held.
    async fn make_links(&self, restoring: bool) -> Result<()> {
        let (networks, endpoints) = {
            let state = self.state();
            let networks: Vec<_> = state.networks.values().map(|e| e.network.clone()).collect();
            let endpoints: Vec<_> = state.endpoints.values().cloned().collect();
            (networks, endpoints)
        };
        let config = self.inner.config.clone();
        let live = restoring.then(|| endpoints.clone());
        blocking(move || topology::make_bridges(&config, &networks, live.as_deref(), false))
            .await?;
        for endpoint in endpoints {
            self.mend_endpoint(&endpoint)
                .await
                .unwrap_or_else(|e| tracing::warn!("endpoint of {}: {e}", endpoint.id));
        }
        Ok(())
    }

    /// Puts an endpoint back onto its bridge, if it is still wanted there.
    async fn mend_endpoint(&self, endpoint: &Endpoint) -> Result<()> {
        // Without it, one that is just being attached or detached would be made between two steps.
        let guard = self.exclusive(&endpoint.id).await;
        let key = (endpoint.network.clone(), endpoint.id.clone());
        let (network, endpoint) = {
            let mut state = self.state();
            match state.endpoints.get(&key).cloned() {
                Some(now) if now.host_ifname == endpoint.host_ifname => {
                    (state.entry(&key.0)?.network.clone(), now)
                }
                _ => return Ok(()),
            }
        };
        blocking(move || {
            let _guard = guard;
            port::repair(&network, &endpoint)
        })
        .await
    }

    /// Makes the firewall's table anew, with other published ports if they are given. To be called
    /// with `topology` held.
    async fn make_rules(&self, published: Option<BTreeMap<String, Elements>>) -> Result<()> {
        let networks = self.rules(&self.state());
        self.inner.firewall.reset(networks, published).await
    }

    fn rules(&self, state: &State) -> rules::Networks {
        let networks = state.networks.values().map(|e| &e.network);
        rules::Networks::new(networks, self.inner.config.userland_proxy)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // The state is changed by code that doesn't panic halfway.
        self.inner
            .state
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until nobody else changes endpoints of this id.
    async fn exclusive(&self, id: &str) -> OwnedMutexGuard<()> {
        let mut hasher = DefaultHasher::new();
        id.hash(&mut hasher);
        let owners = &self.inner.owners;
        let index = usize::try_from(hasher.finish() % owners.len() as u64).unwrap_or(0);
        owners[index].clone().lock_owned().await
    }

    fn with_state<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let mut state = self.state();
        state.generation += 1;
        change(&mut state)
    }

    async fn save_networks(&self) -> Result<()> {
        let file = self.state().networks_file();
        let path = networks_path(&self.inner.config);
        blocking(move || state::save(&path, &file, true)).await
    }

    /// Writes the endpoints' file, unless somebody has written it since the caller's change: those
    /// that wait for a writer are all served by the next one.
    async fn save_endpoints(&self) -> Result<()> {
        let wanted = self.state().generation;
        let mut saved = self.inner.saved.clone().lock_owned().await;
        if *saved >= wanted {
            return Ok(());
        }
        let (generation, file) = {
            let state = self.state();
            (state.generation, state.endpoints_file())
        };
        let path = endpoints_path(&self.inner.config);
        // The guard goes along, so that writers stay in order though a caller gives up.
        blocking(move || {
            state::save(&path, &file, false)?;
            *saved = generation;
            Ok(())
        })
        .await
    }
}

fn networks_path(config: &Config) -> PathBuf {
    config.state_dir.join("networks.json")
}

fn endpoints_path(config: &Config) -> PathBuf {
    config.run_dir.join("endpoints.json")
}

/// Reads both files, and settles the default network.
fn load(config: &Config) -> Result<State> {
    let path = networks_path(config);
    let networks: NetworksFile = state::load(&path)?;
    let endpoints: EndpointsFile = state::load(&endpoints_path(config))?;
    let mut state = State::default();
    let (mut former, mut others) = (None, Vec::new());
    for network in networks.networks {
        if network.is_default() {
            former = Some(network);
        } else {
            others.push(network);
        }
    }
    let in_use = former
        .as_ref()
        .is_some_and(|n| endpoints.endpoints.iter().any(|e| e.network == n.id));
    let default = pools::default_network(config, former.as_ref(), in_use, &others)?;
    let changed = former.as_ref() != Some(&default);
    for network in std::iter::once(default).chain(others) {
        match Entry::new(network.clone()) {
            Ok(entry) => drop(state.networks.insert(entry.network.id.clone(), entry)),
            Err(e) => {
                tracing::error!("network {} can't be used: {e}", network.name);
                state.unusable.push(network);
            }
        }
    }
    state.load_endpoints(endpoints);
    if changed {
        state::save(&path, &state.networks_file(), true)?;
    }
    Ok(state)
}
