//! What is at the other end: asked once.

use coracle_client::{Client, Query};
use coracle_docker::API_VERSION;
use coracle_docker::system::{InfoResponse, VersionResponse};
use coracle_runtime::{Capabilities, Result, RuntimeError};
use jiff::Timestamp;

use crate::error::{About, kind};

/// The oldest version of the API that has all that the trait needs: statistics once, without a wait.
const OLDEST: u32 = 41;

/// An engine, as it presented itself.
#[derive(Clone, Debug)]
pub(crate) struct Engine {
    /// The API's minor version that both sides speak.
    pub(crate) minor: u32,
    /// Podman's API differs where podman does.
    pub(crate) podman: bool,
    /// One of our own.
    pub(crate) coracle: bool,
    /// Its own `os/arch`.
    pub(crate) platform: String,
    /// What it can do.
    pub(crate) capabilities: Capabilities,
    /// Its clock, as far as it is not ours: what to add to our time to have at least its.
    pub(crate) ahead: jiff::SignedDuration,
}

impl Engine {
    /// Asks it, and gives the client in the version that both speak.
    pub(crate) async fn meet(client: Client) -> Result<(Client, Self)> {
        let host = client.host().clone();
        let told = |error| kind(About::Thing, error, &host);
        client.ping().await.map_err(told)?;
        let version: VersionResponse = client.get(&Query::new("/version")).await.map_err(told)?;
        let minor = common(&version)?;
        let client = client.with_version(minor);
        let before = Timestamp::now();
        let info: InfoResponse = client.get(&Query::new("/info")).await.map_err(told)?;
        let after = Timestamp::now();
        if info.os_type != "linux" && !info.os_type.is_empty() {
            return Err(RuntimeError::NotSupported(format!(
                "an engine for {}",
                info.os_type
            )));
        }
        let podman = is_podman(&version);
        // Only ours know the route at all.
        let kernels = client.native().kernels().await;
        let coracle = kernels
            .as_ref()
            .map_or_else(|error| error.status() == Some(501), |_| true);
        let kernels = kernels.is_ok();
        // Its own may be behind a bridge as well.
        let secrets = coracle && client.native().secrets().await.is_ok();
        let engine = Self {
            minor,
            podman,
            coracle,
            platform: format!("{}/{}", version.os, version.arch),
            capabilities: Capabilities {
                kernels,
                secrets,
                ..capabilities(podman, &info)
            },
            ahead: ahead(&info.system_time, before, after),
        };
        Ok((client, engine))
    }
}

fn minor_of(version: &str) -> Option<u32> {
    version.strip_prefix("1.")?.parse().ok()
}

/// The newest version that both speak.
fn common(version: &VersionResponse) -> Result<u32> {
    let ours = minor_of(API_VERSION).unwrap_or(OLDEST);
    let theirs = minor_of(&version.api_version).ok_or_else(|| {
        RuntimeError::Backend(format!(
            "the engine's API version {:?} is none",
            version.api_version
        ))
    })?;
    let minor = ours.min(theirs);
    let least = minor_of(&version.min_api_version).unwrap_or(0).max(OLDEST);
    if minor < least {
        return Err(RuntimeError::NotSupported(format!(
            "an engine of API {} to {} (1.{OLDEST} to {API_VERSION} are spoken here); it",
            version.min_api_version, version.api_version
        )));
    }
    Ok(minor)
}

fn is_podman(version: &VersionResponse) -> bool {
    let mut components = version.components.iter();
    components.any(|component| component.name == "Podman Engine")
}

fn capabilities(podman: bool, info: &InfoResponse) -> Capabilities {
    Capabilities {
        // Without control groups nothing can be frozen.
        pause: info.cgroup_driver != "none",
        exec: true,
        attach: true,
        stats: info.cgroup_driver != "none",
        top: true,
        // Podman's Docker API has no such route.
        update: !podman,
        archive: true,
        commit: true,
        registry: true,
        image_archive: true,
        build: false,
        networks: true,
        volumes: true,
        // Docker's are a swarm's.
        secrets: false,
        health: true,
        kernels: false,
        vm: info.runtimes.contains_key("vm"),
    }
}

/// How far the engine's clock is ahead of ours: nothing where it can be the same clock.
fn ahead(told: &str, before: Timestamp, after: Timestamp) -> jiff::SignedDuration {
    let Ok(told) = told.parse::<Timestamp>() else {
        return jiff::SignedDuration::ZERO;
    };
    if before <= told && told <= after {
        return jiff::SignedDuration::ZERO;
    }
    told.duration_since(before)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(least: &str, newest: &str) -> VersionResponse {
        VersionResponse {
            min_api_version: least.into(),
            api_version: newest.into(),
            ..VersionResponse::default()
        }
    }

    #[test]
    fn the_newest_common_version_is_spoken() {
        assert_eq!(common(&version("1.24", "1.45")), Ok(45));
        assert_eq!(common(&version("1.24", "1.99")), Ok(47));
        assert!(common(&version("1.12", "1.30")).is_err());
        assert!(common(&version("1.60", "1.70")).is_err());
        assert!(common(&version("", "two")).is_err());
    }

    #[test]
    fn a_clock_that_may_be_ours_is() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let told = at(5).to_string();
        assert!(ahead(&told, at(4), at(6)).is_zero());
        assert_eq!(ahead(&told, at(1), at(2)).as_secs(), 4);
        assert_eq!(ahead(&told, at(7), at(8)).as_secs(), -2);
        assert!(ahead("never", at(1), at(2)).is_zero());
    }
}
