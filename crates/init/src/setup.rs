//! Makes the machine ready, as one request says. All at once on the agent's own thread: nothing else
//! goes on meanwhile, and this is a copy's way to its container.

use coracle_guest::{Call, Setup};

use crate::error::{During, Result, invalid};
use crate::{clock, interfaces, machine, mounts, roots, shares, sys};

pub(crate) fn setup(setup: &Setup, channels: &[u32], call: &Call) -> Result<()> {
    if !setup.entropy.is_empty() {
        let random = std::fs::File::open("/dev/urandom").during(|| "open /dev/urandom")?;
        sys::add_entropy(std::os::fd::AsFd::as_fd(&random), &setup.entropy)
            .during(|| "reseed the random number generator")?;
    }
    if setup.shares.len() != channels.len() {
        return Err(invalid("each share needs a channel"));
    }
    if let Some(time) = setup.time {
        clock::set(time)?;
    }
    if let Some(hostname) = &setup.hostname {
        machine::set_hostname(hostname)?;
    }
    if let Some(id) = &setup.machine_id {
        machine::set_machine_id(id)?;
    }
    for (name, value) in &setup.sysctls {
        machine::set_sysctl(name, value)?;
    }
    for root in &setup.roots {
        roots::add(root)?;
    }
    for mount in &setup.mounts {
        mounts::mount(mount)?;
    }
    for (share, channel) in setup.shares.iter().zip(channels) {
        shares::share(share, call.channel(*channel)?)?;
    }
    for file in &setup.files {
        machine::write_file(file)?;
    }
    if !setup.interfaces.is_empty() {
        interfaces::set(&setup.interfaces)?;
    }
    Ok(())
}
