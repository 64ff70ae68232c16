//! What the guest is told before its container starts: which disks, interfaces, shares and files.
//! The container's configuration is rewritten for the guest, where paths of this host mean nothing.

use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;

use coracle_guest::File;
use coracle_guest::Root;
use coracle_guest::Setup;
use coracle_guest::Time;
use coracle_task::MachineConfig;
use coracle_task::MachineInterface;
use coracle_task::Rootfs;
use coracle_task::TaskConfig;

use super::interfaces;
use super::mounts::Socket;
use super::mounts::Source;
use super::mounts::is_bind;
use super::mounts::is_by_host;
use super::place::Place;
use super::secrets;
use crate::Result;
use crate::SandboxError;

/// The guest's directory for what belongs to containers.
pub(crate) const GUEST: &str = "/run/coracle";
/// All that is done to make a machine ready.
pub(crate) struct Plan {
    pub(crate) setup: Setup,
    /// What is served on the channels of `setup.shares`, in their order.
    pub(crate) shares: Vec<Source>,
    pub(crate) sockets: Vec<Socket>,
    /// Secrets that were too large to go with the set-up.
    pub(crate) secrets: Vec<File>,
    /// Files that are copied, and where to in the guest.
    pub(crate) copies: Vec<(PathBuf, String)>,
    /// The interfaces that the machine has from its start.
    pub(crate) interfaces: Vec<MachineInterface>,
    /// The container, as the guest is to make it.
    pub(crate) config: TaskConfig,
}

/// Works out what to do. `whole`: with everything that the container sees, else its disks alone.
pub(crate) fn plan(
    config: &TaskConfig,
    machine: &MachineConfig,
    place: &Place,
    whole: bool,
    handed: Option<&OwnedFd>,
) -> Result<Plan> {
    let mut setup = match place.is_member {
        true => Setup::default(),
        false => identity(config).map_err(|error| {
            SandboxError::internal(format!("cannot read random numbers: {error}"))
        })?,
    };
    setup.roots.push(Root {
        container: config.id.clone(),
        image: place.image.clone(),
        layer: Some(place.layer.clone()),
        journal: machine.journal.clone(),
    });
    let mut plan = Plan {
        setup,
        shares: Vec::new(),
        sockets: Vec::new(),
        copies: Vec::new(),
        secrets: Vec::new(),
        interfaces: Vec::new(),
        config: guest_config(config),
    };
    if !whole {
        return Ok(plan);
    }
    plan.setup.interfaces = machine
        .interfaces
        .iter()
        .map(interfaces::to_guest)
        .collect::<Result<_>>()?;
    plan.interfaces.clone_from(&machine.interfaces);
    let mut mounts = plan.config.spec.mounts().clone().unwrap_or_default();
    for (number, mount) in mounts.iter_mut().enumerate() {
        if let Some(name) = secrets::name(mount) {
            let secret = secrets::carry(handed, &name, &own(&config.id), number, mount).map_err(
                |error| {
                    let at = mount.destination().display();
                    SandboxError::internal(format!("cannot mount the secret at {at}: {error}"))
                },
            )?;
            plan.add_secret(secret);
        } else if is_by_host(mount) {
            plan.carry_filesystem(number, mount)?;
        } else if is_bind(mount) {
            plan.carry(number, mount, &machine.copies, place)?;
        }
    }
    if !place.is_member {
        plan.copy_for_members(config, &machine.copies)?;
    }
    plan.config.spec.set_mounts(Some(mounts));
    Ok(plan)
}

/// What every machine needs: an identity of its own.
fn identity(config: &TaskConfig) -> io::Result<Setup> {
    let machine_id = random::<16>()?;
    let machine_id = machine_id
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    Ok(Setup {
        entropy: random::<64>()?.to_vec(),
        time: Some(now()),
        hostname: config.spec.hostname().clone(),
        machine_id: Some(machine_id),
        ..Default::default()
    })
}

/// This host's time.
pub(super) fn now() -> Time {
    let now = jiff::Timestamp::now();
    Time {
        seconds: now.as_second(),
        nanos: u32::try_from(now.subsec_nanosecond()).unwrap_or_default(),
    }
}

fn random<const N: usize>() -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    let mut filled = 0;
    while let Some(rest) = bytes.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        filled += rustix::rand::getrandom(rest, rustix::rand::GetRandomFlags::empty())?;
    }
    Ok(bytes)
}

fn guest_config(config: &TaskConfig) -> TaskConfig {
    let own = PathBuf::from(own(&config.id));
    TaskConfig {
        rootfs: Rootfs::Overlay {
            lower: vec![own.join("image")],
            upper: own.join("layer/upper"),
            work: own.join("layer/work"),
        },
        cgroup_parent: "/coracle".into(),
        cgroup_name: config.id.clone(),
        // The whole disk is written when the machine ends.
        durable: false,
        ports: Vec::new(),
        published: Vec::new(),
        sockets: 0,
        machine: None,
        ..config.clone()
    }
}

/// A container's directory in the guest.
pub(super) fn own(id: &str) -> String {
    format!("{GUEST}/{id}")
}
