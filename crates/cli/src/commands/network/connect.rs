//! `network connect` and `network disconnect`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use clap::Args;
use coracle_runtime::spec::{EndpointIpam, EndpointSettings};

use crate::app::Run;
use crate::context::Context;
use crate::error::Result;
use crate::options::pairs;

#[derive(Args, Debug)]
pub(crate) struct ConnectArgs {
    /// Further name of the container there
    #[arg(long, value_name = "NAME")]
    alias: Vec<String>,
    /// Driver's option: KEY=VALUE
    #[arg(long, value_name = "KEY=VALUE")]
    driver_opt: Vec<String>,
    /// The highest one gives the default route
    #[arg(
        long,
        value_name = "NUMBER",
        default_value_t = 0,
        hide_default_value = true
    )]
    gw_priority: i64,
    /// IPv4 address
    #[arg(long, value_name = "ADDRESS")]
    ip: Option<Ipv4Addr>,
    /// IPv6 address
    #[arg(long, value_name = "ADDRESS")]
    ip6: Option<Ipv6Addr>,
    /// Link to a container: NAME[:ALIAS]
    #[arg(long, value_name = "LINK")]
    link: Vec<String>,
    /// Link-local address
    #[arg(long, value_name = "ADDRESS")]
    link_local_ip: Vec<IpAddr>,
    /// Network
    network: String,
    /// Container
    container: String,
}

impl Run for ConnectArgs {
    async fn run(self, context: &Context) -> Result<u8> {
        let given = |list: Vec<String>| (!list.is_empty()).then_some(list);
        let ipam = EndpointIpam {
            ipv4_address: self.ip.map(|ip| ip.to_string()).unwrap_or_default(),
            ipv6_address: self.ip6.map(|ip| ip.to_string()).unwrap_or_default(),
            link_local_ips: self.link_local_ip.iter().map(ToString::to_string).collect(),
        };
        let driver = pairs("--driver-opt", &self.driver_opt)?;
        let endpoint = EndpointSettings {
            ipam_config: (ipam != EndpointIpam::default()).then_some(ipam),
            aliases: given(self.alias),
            links: given(self.link),
            driver_opts: (!driver.is_empty()).then_some(driver),
            gw_priority: self.gw_priority,
            ..EndpointSettings::default()
        };
        let client = context.client().await?;
        client
            .connect_network(&self.network, &self.container, endpoint)
            .await?;
        Ok(0)
    }
}

#[derive(Args, Debug)]
pub(crate) struct DisconnectArgs {
    /// Even where the container is gone
    #[arg(short = 'f', long)]
    force: bool,
    /// Network
    network: String,
    /// Container
    container: String,
}

impl Run for DisconnectArgs {
    async fn run(self, context: &Context) -> Result<u8> {
        let client = context.client().await?;
        client
            .disconnect_network(&self.network, &self.container, self.force)
            .await?;
        Ok(0)
    }
}
