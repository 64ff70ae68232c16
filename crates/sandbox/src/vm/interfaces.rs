//! The network cards of a machine, and its guest's interfaces on them.

use coracle_guest::Interface;
use coracle_network::tap;
use coracle_task::MachineInterface;
use coracle_vmm::Nic;

use super::Running;
use super::from_guest;
use super::from_vmm;
use crate::Result;
use crate::SandboxError;

/// Makes a machine's interfaces these; `now` is kept to what it has.
pub(crate) async fn set(
    running: &Running,
    now: &mut Vec<MachineInterface>,
    wanted: &[MachineInterface],
) -> Result<()> {
    let of = |list: &[MachineInterface], mac: &str| {
        let found = list.iter().find(|interface| interface.mac == mac);
        found.cloned()
    };
    for old in now.clone() {
        match of(wanted, &old.mac) {
            Some(same) if same == old => continue,
            kept => {
                let unset = running.agent.unset_interface(&to_guest(&old)?).await;
                unset.map_err(from_guest)?;
                if kept.is_none() {
                    let mac = old.mac.parse().map_err(from_vmm)?;
                    running.machine.remove_nic(mac).await.map_err(from_vmm)?;
                }
                now.retain(|interface| interface.mac != old.mac || kept.is_some());
            }
        }
    }
    for new in wanted {
        let known = of(now, &new.mac);
        if known.as_ref() == Some(new) {
            continue;
        }
        if known.is_none() {
            let tap =
                tap::open(&new.tap).map_err(|error| SandboxError::internal(error.to_string()))?;
            let mac = new.mac.parse().map_err(from_vmm)?;
            let plugged = running.machine.add_nic(Nic { tap, mac }).await;
            plugged.map_err(from_vmm)?;
            now.push(new.clone());
        }
        let set = running.agent.set_interface(&to_guest(new)?).await;
        set.map_err(from_guest)?;
        if let Some(place) = now.iter_mut().find(|interface| interface.mac == new.mac) {
            *place = new.clone();
        }
    }
    Ok(())
}

/// An interface as the guest is told of it.
pub(super) fn to_guest(given: &MachineInterface) -> Result<Interface> {
    let mac: coracle_vmm::MacAddr = given.mac.parse().map_err(from_vmm)?;
    Ok(Interface {
        mac: mac.0,
        name: given.name.clone(),
        mtu: given.mtu,
        addresses: given.addresses.clone(),
        gateways: given.gateway4.into_iter().chain(given.gateway6).collect(),
        routes: Vec::new(),
    })
}
