//! The client against registries: real ones, and ones that misbehave on purpose.
// Clippy knows only functions with `#[test]` as tests, not what they call.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod auth;
mod docker_config;
mod fake;
mod faults;
mod hostile;
mod image;
mod mirrors;
mod pulls;
mod pushes;
mod real;
mod real_registry;
mod tls;

use std::time::Duration;

use coracle_oci::Reference;
use coracle_registry::Client;
use coracle_registry::Proxies;
use coracle_registry::Puller;
use coracle_registry::RegistriesConfig;
use coracle_registry::RetryPolicy;
use coracle_registry::Timeouts;
use coracle_store::Store;

/// A configuration that the machine's own settings don't reach.
fn registries() -> RegistriesConfig {
    let mut config = RegistriesConfig::default();
    config.certs_dirs = Vec::new();
    config.proxies = Proxies::none();
    config
}

/// A client that doesn't let tests wait.
fn client_with(registries: RegistriesConfig) -> Client {
    let timeouts = Timeouts {
        connect: Duration::from_secs(5),
        answer: Duration::from_secs(5),
        idle: Duration::from_secs(1),
    };
    let retry = RetryPolicy {
        attempts: 4,
        base: Duration::from_millis(20),
        longest: Duration::from_secs(2),
    };
    Client::with_limits(registries, timeouts, retry)
}

fn client() -> Client {
    client_with(registries())
}

/// A store that is gone with its folder.
struct TestStore {
    store: Store,
    dir: tempfile::TempDir,
}

impl TestStore {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        Self {
            store: Store::open(dir.path().join("store")).unwrap(),
            dir,
        }
    }

    fn puller(&self, client: &Client) -> Puller {
        Puller::new(
            client.clone(),
            self.store.clone(),
            Puller::DEFAULT_DOWNLOADS,
        )
    }

    /// The names in a folder of the store.
    fn list(&self, folder: &str) -> Vec<String> {
        let mut names: Vec<String> = std::fs::read_dir(self.dir.path().join("store").join(folder))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }
}

fn reference(text: &str) -> Reference {
    Reference::parse_normalized(text).unwrap()
}
