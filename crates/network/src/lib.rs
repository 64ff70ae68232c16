//! Bridges, addresses, published ports.
//!
//! Owns the bridges of a daemon and all that hangs on them: subnets and addresses, network
//! namespaces and the veth pairs into them, the taps of machines, the firewall table, published
//! ports and their user-space proxy, and the texts of `/etc/resolv.conf` and `/etc/hosts`; and the
//! parts of the host's own interfaces (macvlan, ipvlan) that containers get. It knows containers by
//! an opaque id only, and neither their processes nor how they are stored or shown.
//!
//! What to call, in order:
//!
//! 1. At the daemon's start [`Networks::open`], then [`Networks::restore`] with what still runs, and
//!    [`remove_stale_netns`].
//! 2. For a container [`create_netns`], [`Networks::attach`], [`Networks::publish`] and
//!    [`Networks::expose`]; the sockets of the bindings go to its shim, which runs `proxy::serve`
//!    with each. For no network at all [`create_netns`] suffices: it has a loopback.
//!    A machine is attached as [`Place::Machine`]: its shim opens the tap ([`tap::open`]), and its
//!    init makes the interface as [`Endpoint::interface`] says ([`interface::configure`]).
//! 3. While it runs, any [`Networks::attach`] and [`Networks::detach`]. Where they move the default
//!    route, [`Networks::attached`] tells; a machine has to be told in turn.
//! 4. When it has ended [`Networks::release`] and [`remove_netns`], in any order.
//!
//! Invariants:
//! - All steps are idempotent, and what a crash left is found by the next try or by `restore`.
//! - An address has one owner, and is given back only when that one is released.
//! - No other table, bridge or interface than our own is ever changed, nor is a kernel setting that
//!   has the right value.
//! - A thread of the runtime is never in a foreign namespace.
//! - What somebody else removes of ours is made again, once the kernel tells of it.
//! - Of a container's networks one has the default route, by their priorities.
//! - The calling process's network namespace is "the host". The runtime needs its timers enabled.
//!
//! The kernel is spoken to directly (netlink), and `nft` for the firewall alone. Without `nft`
//! ports are served by the proxy, and containers can't reach beyond the host; a warning says so.
//! See `nft/rules.rs` for the rules, and for what a firewall of the host must let pass.

#![deny(unsafe_code)]
// Of what all share, some of the features need but a part.
#![cfg_attr(not(feature = "manage"), allow(dead_code))]

#[cfg(feature = "manage")]
mod bridge;
#[cfg(feature = "manage")]
mod child;
#[cfg(feature = "manage")]
mod config;
#[cfg(feature = "manage")]
mod driver;
#[cfg(feature = "manage")]
mod endpoint;
#[cfg(any(feature = "interface", feature = "tap"))]
mod error;
#[cfg(feature = "manage")]
mod hosts;
#[cfg(any(feature = "interface", feature = "tap"))]
mod ifname;
#[cfg(feature = "interface")]
pub mod interface;
#[cfg(feature = "manage")]
mod ipam;
#[cfg(feature = "interface")]
mod mac;
#[cfg(feature = "interface")]
mod netlink;
#[cfg(feature = "manage")]
mod netns;
#[cfg(feature = "manage")]
mod network;
#[cfg(feature = "manage")]
mod networks;
#[cfg(feature = "manage")]
mod nft;
#[cfg(feature = "manage")]
mod pools;
#[cfg(feature = "manage")]
mod port;
#[cfg(feature = "manage")]
mod ports;
mod proto;
#[cfg(feature = "proxy")]
pub mod proxy;
#[cfg(feature = "manage")]
mod random;
#[cfg(feature = "manage")]
mod resolv;
#[cfg(feature = "manage")]
mod state;
#[cfg(feature = "interface")]
mod subnet;
#[cfg(feature = "manage")]
mod sys;
#[cfg(feature = "interface")]
mod sysctl;
#[cfg(feature = "tap")]
pub mod tap;
#[cfg(feature = "manage")]
mod veth;

#[cfg(any(feature = "interface", feature = "tap"))]
pub use error::{Error, Result};
pub use proto::Proto;
#[cfg(feature = "manage")]
pub use {
    config::{AddressPool, Config, default_pools},
    driver::{Driver, Flag, Mode, Parent},
    endpoint::{Assigned, Endpoint, EndpointConfig, InterfaceSysctl, Place, TapOwner},
    hosts::{HostAddress, HostsFile, hosts_file, parse_extra_host},
    ipam::Ipam,
    netns::{create_netns, remove_netns, remove_stale_netns},
    network::{DEFAULT_NETWORK, Network, NetworkSpec, Pool, PoolSpec},
    networks::{Live, Networks},
    ports::{Exposure, PortBinding, PortMapping, PortRequest, Published},
    resolv::{Dns, Reach, host_resolv_conf_path, resolv_conf},
};
#[cfg(feature = "interface")]
pub use {
    mac::MacAddr,
    subnet::{Subnet, parse_interface_address},
};
