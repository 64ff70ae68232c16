//! Which subnet a network gets. Blocking.

use std::net::{IpAddr, Ipv6Addr};

use crate::bridge::{default_gateway, is_free};
use crate::config::{AddressPool, Config};
use crate::driver::Driver;
use crate::error::{Error, Result};
use crate::netlink::Netlink;
use crate::netlink::tables::Route;
use crate::network::{DEFAULT_NETWORK, Network, Pool, PoolSpec};
use crate::random;
use crate::subnet::Subnet;

/// How many parts of a pool are looked at: enough for any number of networks.
const MAX_PARTS: usize = 65_536;

/// Finds subnets that neither another network has nor a route of the host leads into.
pub(crate) struct Finder<'a> {
    pools: &'a [AddressPool],
    routes: Vec<Route>,
    taken: Vec<Subnet>,
    own_bridge: Option<u32>,
}

impl<'a> Finder<'a> {
    /// `own_bridge` is the bridge whose own route doesn't count.
    pub(crate) fn new(
        pools: &'a [AddressPool],
        netlink: &mut Netlink,
        networks: &[Network],
        own_bridge: Option<u32>,
    ) -> Result<Self> {
        let routes = netlink
            .routes()
            .map_err(Error::netlink("read the host's routes"))?;
        let taken = networks
            .iter()
            .flat_map(|n| n.pools().map(|p| p.subnet))
            .collect();
        Ok(Self {
            pools,
            routes,
            taken,
            own_bridge,
        })
    }

    /// The addresses of a network, as they are asked for.
    pub(crate) fn pool(&mut self, spec: &PoolSpec, ipv4: bool) -> Result<Pool> {
        let subnet = match spec.subnet {
            Some(subnet) if subnet.is_ipv4() != ipv4 => {
                let family = if ipv4 { "IPv4" } else { "IPv6" };
                return Err(Error::Invalid(format!(
                    "invalid subnet {subnet}: not an {family} one"
                )));
            }
            Some(subnet) if self.taken.iter().any(|t| t.overlaps(&subnet)) => {
                return Err(Error::PoolOverlap);
            }
            Some(subnet) => subnet,
            None if spec.range.is_some() || spec.gateway.is_some() => {
                return Err(Error::invalid("an ip-range or a gateway needs a subnet"));
            }
            None => self.find(ipv4)?,
        };
        if (subnet.is_ipv4() && subnet.prefix() > 30) || subnet.prefix() > 126 {
            return Err(Error::Invalid(format!(
                "invalid subnet {subnet}: too small for a network"
            )));
        }
        self.taken.push(subnet);
        let gateway = match (spec.gateway, spec.range) {
            (Some(gateway), _) => gateway,
            // As in Docker: the first address of what may be given out.
            (None, Some(range)) if subnet.contains_subnet(&range) => {
                let first = default_gateway(&range);
                if first == subnet.network() {
                    default_gateway(&subnet)
                } else {
                    first
                }
            }
            (None, _) => default_gateway(&subnet),
        };
        let mut reserved = spec.reserved.clone();
        reserved.retain(|_, ip| *ip != gateway);
        let pool = Pool {
            subnet,
            range: spec.range,
            gateway,
            reserved,
        };
        pool.ipam()?;
        Ok(pool)
    }

    fn is_free(&self, subnet: &Subnet) -> bool {
        !self.taken.iter().any(|t| t.overlaps(subnet))
            && is_free(subnet, &self.routes, self.own_bridge)
    }

    fn find(&self, ipv4: bool) -> Result<Subnet> {
        let pools = self.pools.iter().filter(|p| p.base.is_ipv4() == ipv4);
        let mut parts = pools
            .clone()
            .flat_map(|p| p.base.parts(p.size).take(MAX_PARTS));
        if let Some(subnet) = parts.find(|s| self.is_free(s)) {
            return Ok(subnet);
        }
        if ipv4 || pools.count() > 0 {
            return Err(Error::NoPool);
        }
        let [a, b, c, d, e] = random::bytes()?;
        let ula = Ipv6Addr::from(u128::from_be_bytes([
            0xfd, a, b, c, d, e, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
        ]));
        Subnet::containing(IpAddr::V6(ula), 64)
    }
}

/// The default network as the configuration wants it. What it leaves open stays as it was; the
/// subnets also do while containers have addresses of them.
pub(crate) fn default_network(
    config: &Config,
    former: Option<&Network>,
    in_use: bool,
    others: &[Network],
) -> Result<Network> {
    let failed = |e| Error::netlink("read the host's interfaces")(e);
    let mut netlink = Netlink::open().map_err(failed)?;
    let bridge = netlink.link(&config.bridge).map_err(failed)?;
    let (exists, own) = (bridge.is_some(), bridge.map(|b| b.index));
    let mut finder = Finder::new(&config.pools, &mut netlink, others, own)?;

    let address = config.default_address()?;
    let wanted4 = PoolSpec {
        subnet: address.map(|(_, subnet)| subnet),
        gateway: address.map(|(ip, _)| ip),
        range: config.fixed_cidr,
        ..PoolSpec::default()
    };
    let former4 = former.and_then(|n| n.ipv4.as_ref());
    let ipv4 = keep_or_find(&mut finder, former4, wanted4, exists, true).map(Some);
    let wanted6 = PoolSpec {
        subnet: config.fixed_cidr_v6,
        ..PoolSpec::default()
    };
    let former6 = former.and_then(|n| n.ipv6.as_ref());
    let ipv6 = config
        .ipv6
        .then(|| keep_or_find(&mut finder, former6, wanted6, exists, false))
        .transpose();
    let (mut ipv4, mut ipv6) = (ipv4?, ipv6?);
    if let Some(former) = former.filter(|f| in_use && (f.ipv4 != ipv4 || f.ipv6 != ipv6)) {
        tracing::warn!(
            "containers have addresses of the default network: its new ones count when the daemon is \
             next started without them"
        );
        (ipv4, ipv6) = (former.ipv4.clone(), former.ipv6.clone());
    }
    Ok(Network {
        id: former.map_or_else(random::id, |n| Ok(n.id.clone()))?,
        name: DEFAULT_NETWORK.to_owned(),
        created: former.map_or_else(random::now, |n| n.created),
        driver: Driver::Bridge,
        bridge: config.bridge.clone(),
        parent: None,
        ipv4,
        ipv6,
        internal: false,
        attachable: false,
        icc: config.icc,
        masquerade: config.ip_masq,
        mtu: config.mtu,
        host_ip: config.default_host_ip,
        options: [].into(),
        labels: [].into(),
    })
}

fn keep_or_find(
    finder: &mut Finder<'_>,
    former: Option<&Pool>,
    mut wanted: PoolSpec,
    bridge_exists: bool,
    ipv4: bool,
) -> Result<Pool> {
    if let Some(former) = former.filter(|_| wanted.subnet.is_none()) {
        let fits = wanted
            .range
            .is_none_or(|range| former.subnet.contains_subnet(&range));
        if fits && (bridge_exists || finder.is_free(&former.subnet)) {
            wanted.subnet = Some(former.subnet);
            wanted.gateway = Some(former.gateway);
        }
    }
    // `--fixed-cidr` without `--bip`: the subnet is the pool's part that holds it.
    if let (None, Some(range)) = (wanted.subnet, wanted.range) {
        let pools = finder.pools.iter();
        let holding = pools.filter(|p| p.base.contains_subnet(&range) && p.size <= range.prefix());
        wanted.subnet = holding
            .map(|p| Subnet::containing(range.network(), p.size))
            .next()
            .unwrap_or(Ok(range))
            .map(Some)?;
    }
    finder.pool(&wanted, ipv4)
}
