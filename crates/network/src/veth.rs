//! veth pairs: one end on the bridge, the other one in a namespace with addresses and routes.
//! Blocking.

use std::io;
use std::os::fd::AsFd;
use std::path::Path;

use crate::endpoint::Endpoint;
use crate::error::{Error, Result};
use crate::interface;
use crate::netlink::Netlink;
use crate::netlink::make::VethPair;
use crate::network::Network;
use crate::{netns, port};

/// Makes an endpoint's pair. Its caller removes what a failure leaves.
pub(crate) fn make(
    netlink: &mut Netlink,
    bridge: u32,
    network: &Network,
    endpoint: &Endpoint,
    netns: &Path,
) -> Result<()> {
    let failed = |e| Error::netlink(format!("attach {} to {}", endpoint.ifname, network.name))(e);
    let netns = netns::open(netns)?;
    let pair = VethPair {
        host: &endpoint.host_ifname,
        bridge,
        peer: &endpoint.ifname,
        peer_mac: endpoint.mac,
        peer_netns: netns.as_fd(),
        mtu: network.mtu,
    };
    netlink.add_veth(&pair).map_err(|e| match e.kind() {
        io::ErrorKind::AlreadyExists => Error::Invalid(format!(
            "interface {} exists already in the container's namespace",
            endpoint.ifname
        )),
        _ => failed(e),
    })?;
    port::settle(netlink, network, endpoint)
        .and_then(|()| netns::within(netns.as_fd(), || interface::configure_endpoint(endpoint)))
        .map_err(failed)
}
