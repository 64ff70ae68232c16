//! Published ports, as long as the container runs.

use std::os::fd::OwnedFd;

use coracle_network::proxy;
use coracle_task::Proto;
use coracle_task::ProxyPort;
use tokio::task::JoinSet;

/// What keeps the ports taken and served: all of it is closed when this is dropped.
pub(crate) struct Ports {
    _proxies: JoinSet<()>,
    /// Sockets that nothing is to be read from: the firewall does their work.
    _kept: Vec<OwnedFd>,
}

/// Serves the ports, and keeps the sockets that are not to be served.
pub(crate) fn serve(ports: &[ProxyPort], mut listeners: Vec<Option<OwnedFd>>) -> Ports {
    let mut proxies = JoinSet::new();
    for port in ports {
        // Checked at the start of the shim.
        let Some(listener) = listeners.get_mut(port.fd_index).and_then(Option::take) else {
            continue;
        };
        let proto = match port.proto {
            Proto::Tcp => coracle_network::Proto::Tcp,
            Proto::Udp => coracle_network::Proto::Udp,
        };
        let target = port.target;
        proxies.spawn(async move {
            if let Err(error) = proxy::serve(listener, proto, target).await {
                crate::complain(&error);
            }
        });
    }
    Ports {
        _proxies: proxies,
        _kept: listeners.into_iter().flatten().collect(),
    }
}
