//! `network create`.

use std::collections::BTreeMap;

use clap::Args;
use coracle_docker::network::NetworkCreateBody;
use coracle_runtime::network::{Ipam, IpamPool};

use crate::app::Run;
use crate::context::Context;
use crate::error::{Error, Result};
use crate::options::pairs;
use crate::output::{print, warn};

#[derive(Args, Debug)]
pub(crate) struct CreateArgs {
    /// Containers may be attached by hand
    #[arg(long)]
    attachable: bool,
    /// Address that is never given out: NAME=ADDRESS
    #[arg(long, value_name = "NAME=ADDRESS")]
    aux_address: Vec<String>,
    /// Driver
    #[arg(short = 'd', long, value_name = "DRIVER", default_value = "bridge")]
    driver: String,
    /// Gateway of a subnet
    #[arg(long, value_name = "ADDRESS")]
    gateway: Vec<String>,
    /// No way out of it
    #[arg(long)]
    internal: bool,
    /// Part of a subnet that addresses are given out of
    #[arg(long, value_name = "CIDR")]
    ip_range: Vec<String>,
    /// Driver of address management
    #[arg(long, value_name = "DRIVER", default_value = "default")]
    ipam_driver: String,
    /// Its options: KEY=VALUE
    #[arg(long, value_name = "KEY=VALUE")]
    ipam_opt: Vec<String>,
    /// IPv4: --ipv4=false makes a network without
    #[arg(
        long, value_name = "BOOL", default_value_t = true, action = clap::ArgAction::Set,
        num_args = 0..=1, require_equals = true, default_missing_value = "true"
    )]
    ipv4: bool,
    /// IPv6, too
    #[arg(long)]
    ipv6: bool,
    /// Label: KEY[=VALUE]
    #[arg(long, value_name = "KEY[=VALUE]")]
    label: Vec<String>,
    /// Driver's option: KEY=VALUE
    #[arg(short = 'o', long, value_name = "KEY=VALUE")]
    opt: Vec<String>,
    /// Scope
    #[arg(long, value_name = "SCOPE")]
    scope: Option<String>,
    /// Subnet
    #[arg(long, value_name = "CIDR")]
    subnet: Vec<String>,
    /// Name
    name: String,
}

impl Run for CreateArgs {
    async fn run(self, context: &Context) -> Result<u8> {
        let body = self.body()?;
        let created = context.client().await?.create_network(&body).await?;
        if !created.warning.is_empty() {
            warn(format_args!("WARNING: {}", created.warning));
        }
        print(&format!("{}\n", created.id))?;
        Ok(0)
    }
}

impl CreateArgs {
    fn body(&self) -> Result<NetworkCreateBody> {
        let ipam_options = pairs("--ipam-opt", &self.ipam_opt)?;
        Ok(NetworkCreateBody {
            name: self.name.clone(),
            driver: self.driver.clone(),
            scope: self.scope.clone().unwrap_or_default(),
            internal: self.internal,
            attachable: self.attachable,
            ipam: Some(Ipam {
                driver: self.ipam_driver.clone(),
                options: (!ipam_options.is_empty()).then_some(ipam_options),
                config: self.pools()?,
            }),
            enable_ipv4: (!self.ipv4).then_some(false),
            enable_ipv6: self.ipv6.then_some(true),
            options: pairs("-o, --opt", &self.opt)?,
            labels: pairs("--label", &self.label)?,
            ..NetworkCreateBody::default()
        })
    }

    /// Subnets, each with what lies in it.
    fn pools(&self) -> Result<Vec<IpamPool>> {
        let mut pools = Vec::new();
        for text in &self.subnet {
            let subnet = Subnet::parse(text)
                .ok_or_else(|| Error::option("--subnet", text, "want ADDRESS/PREFIX"))?;
            let pool = IpamPool {
                subnet: text.clone(),
                ..IpamPool::default()
            };
            pools.push((subnet, pool));
        }
        for text in &self.ip_range {
            let pool = of(&mut pools, "--ip-range", text)?;
            if !pool.ip_range.is_empty() {
                return Err(twice("--ip-range", text));
            }
            pool.ip_range.clone_from(text);
        }
        for text in &self.gateway {
            let pool = of(&mut pools, "--gateway", text)?;
            if !pool.gateway.is_empty() {
                return Err(twice("--gateway", text));
            }
            pool.gateway.clone_from(text);
        }
        for (name, address) in pairs("--aux-address", &self.aux_address)? {
            let pool = of(&mut pools, "--aux-address", &address)?;
            let mut addresses: BTreeMap<_, _> = std::mem::take(&mut pool.auxiliary_addresses);
            addresses.insert(name, address);
            pool.auxiliary_addresses = addresses;
        }
        Ok(pools.into_iter().map(|(_, pool)| pool).collect())
    }
}

fn twice(option: &str, text: &str) -> Error {
    Error::option(option, text, "its subnet has one already")
}

/// The pool that an address or a part lies in.
fn of<'a>(
    pools: &'a mut [(Subnet, IpamPool)],
    option: &str,
    text: &str,
) -> Result<&'a mut IpamPool> {
    let address = text.split('/').next().unwrap_or(text);
    let address = address
        .parse()
        .map_err(|_| Error::option(option, text, "want an address"))?;
    pools
        .iter_mut()
        .find(|(subnet, _)| subnet.contains(address))
        .map(|(_, pool)| pool)
        .ok_or_else(|| Error::option(option, text, "no --subnet contains it"))
}

/// An address and a prefix length.
struct Subnet(std::net::IpAddr, u8);

impl Subnet {
    fn parse(text: &str) -> Option<Self> {
        let (address, length) = text.split_once('/')?;
        let address: std::net::IpAddr = address.parse().ok()?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let length = length.parse().ok().filter(|length| *length <= most)?;
        Some(Self(address, length))
    }

    fn contains(&self, address: std::net::IpAddr) -> bool {
        let bits = |address| match address {
            std::net::IpAddr::V4(v4) => (u128::from(u32::from(v4)) << 96, true),
            std::net::IpAddr::V6(v6) => (u128::from(v6), false),
        };
        let ((own, v4), (other, other_v4)) = (bits(self.0), bits(address));
        let mask = u128::MAX.checked_shl(128 - u32::from(self.1)).unwrap_or(0);
        v4 == other_v4 && own & mask == other & mask
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subnets_contain_addresses() {
        let subnet = Subnet::parse("10.1.0.0/16").unwrap();
        assert!(subnet.contains("10.1.2.3".parse().unwrap()));
        assert!(!subnet.contains("10.2.2.3".parse().unwrap()));
        assert!(!subnet.contains("::1".parse().unwrap()));
        assert!(
            Subnet::parse("0.0.0.0/0")
                .unwrap()
                .contains("1.2.3.4".parse().unwrap())
        );
        assert!(
            Subnet::parse("fd00::/64")
                .unwrap()
                .contains("fd00::1".parse().unwrap())
        );
        for bad in ["10.0.0.0", "10.0.0.0/33", "x/8", "::/129"] {
            assert!(Subnet::parse(bad).is_none(), "{bad}");
        }
    }
}
