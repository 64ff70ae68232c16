//! `system dns`: names of containers on the host.

mod create;
mod list;
mod remove;
mod resolved;

pub(crate) use create::CreateArgs;
pub(crate) use list::ListArgs;
pub(crate) use remove::DeleteArgs;

use std::net::SocketAddr;

use coracle_docker::system::HostDnsInfo;

use crate::error::{Error, Result};

/// Where the daemon answers the host, and what.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Place {
    address: SocketAddr,
    domain: String,
}

impl Place {
    /// What the daemon says, if it makes sense: it is written into files of the host's. Nothing if
    /// it answers no questions of the host's.
    fn of(info: &HostDnsInfo) -> Result<Option<Self>> {
        if info.address.is_empty() {
            return Ok(None);
        }
        let domain = info.domain.clone();
        let letter = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        let sound = !domain.is_empty() && domain.len() <= 255 && domain.chars().all(letter);
        let address: Option<SocketAddr> = info.address.parse().ok();
        match address.filter(|address| sound && address.ip().is_loopback()) {
            Some(address) => Ok(Some(Self { address, domain })),
            None => Err(Error::usage(format!(
                "the daemon's host DNS makes no sense: {:?} for {domain:?}",
                info.address
            ))),
        }
    }
}

/// Does what waits for files and programs.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|error| Error::usage(error.to_string()))?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_daemon_says_is_checked() {
        let place = |address: &str, domain: &str| {
            Place::of(&HostDnsInfo {
                address: address.into(),
                domain: domain.into(),
                ..HostDnsInfo::default()
            })
        };
        assert!(place("", "").unwrap().is_none());
        let made = place("127.0.0.1:2053", "coracle").unwrap().unwrap();
        assert_eq!(made.address.port(), 2053);
        for (address, domain) in [
            ("192.0.2.1:53", "coracle"),
            ("127.0.0.1", "coracle"),
            ("127.0.0.1:2053", ""),
            ("127.0.0.1:2053", "a\nDNS=192.0.2.1"),
            ("127.0.0.1:2053", "a ~."),
        ] {
            assert!(place(address, domain).is_err(), "{address} {domain:?}");
        }
    }
}
