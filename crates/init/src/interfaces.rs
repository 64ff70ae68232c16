//! Network interfaces.

use std::net::IpAddr;
use std::time::Duration;

use coracle_guest::{Failure, Interface};
use coracle_network::interface as net;
use coracle_network::{MacAddr, Subnet};
use coracle_task::ErrorKind;

use crate::error::{Result, invalid};

/// How long a card that was just plugged in may take.
const PATIENCE: Duration = Duration::from_secs(15);

/// Makes interfaces as they are asked for.
pub(crate) fn set(interfaces: &[Interface]) -> Result<()> {
    let wanted: Vec<_> = interfaces.iter().map(convert).collect::<Result<_>>()?;
    net::configure_within(&wanted, PATIENCE).map_err(|error| failure(&error))
}

/// Takes what it has away from an interface.
pub(crate) fn unset(interface: &Interface) -> Result<()> {
    net::unconfigure(&convert(interface)?).map_err(|error| failure(&error))
}

fn convert(interface: &Interface) -> Result<net::Interface> {
    let routes = interface.routes.iter().map(|route| {
        let destination = Subnet::containing(route.network, route.prefix);
        let destination = destination.map_err(|error| failure(&error))?;
        Ok(net::Route {
            destination,
            gateway: route.gateway,
        })
    });
    let mut gateways = (None, None);
    for gateway in &interface.gateways {
        let is_second = match gateway {
            IpAddr::V4(ip) => gateways.0.replace(*ip).is_some(),
            IpAddr::V6(ip) => gateways.1.replace(*ip).is_some(),
        };
        if is_second {
            return Err(invalid(format!(
                "{} has two default routes",
                interface.name
            )));
        }
    }
    Ok(net::Interface {
        mac: MacAddr(interface.mac),
        name: interface.name.clone(),
        mtu: interface.mtu,
        addresses: interface.addresses.clone(),
        gateway4: gateways.0,
        gateway6: gateways.1,
        routes: routes.collect::<Result<_>>()?,
    })
}

fn failure(error: &coracle_network::Error) -> Failure {
    let kind = match error {
        coracle_network::Error::Invalid(_) => ErrorKind::InvalidArgument,
        _ => ErrorKind::Internal,
    };
    Failure::new(kind, error.to_string())
}
