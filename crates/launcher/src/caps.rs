//! Users and capabilities of the process.

use oci_spec::runtime::{Capabilities, Capability, LinuxCapabilities};
use rustix::io::Errno;
use rustix::thread::{CapabilitySet, CapabilitySets, Gid, Uid};

use crate::error::{Context, Stage, Step};
use crate::user::Identity;

/// The five sets of capabilities(7).
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sets {
    bounding: CapabilitySet,
    ambient: CapabilitySet,
    sets: CapabilitySets,
}

impl Sets {
    /// As the specification says (none of them where it says nothing), less what the launcher itself lacks; that is told as warnings.
    pub(crate) fn of(wanted: Option<&LinuxCapabilities>, warnings: &mut Vec<String>) -> Step<Sets> {
        let own = rustix::thread::capabilities(None)
            .during(Stage::Credentials, || "read the capabilities")?
            .permitted;
        let mut lacking = CapabilitySet::empty();
        let mut set = |of: fn(&LinuxCapabilities) -> &Option<Capabilities>| {
            let names = wanted.and_then(|wanted| of(wanted).as_ref());
            let wanted: CapabilitySet = names.into_iter().flatten().map(bit).collect();
            lacking |= wanted - own;
            wanted & own
        };
        let mut sets = Sets {
            bounding: set(LinuxCapabilities::bounding),
            ambient: set(LinuxCapabilities::ambient),
            sets: CapabilitySets {
                effective: set(LinuxCapabilities::effective),
                permitted: set(LinuxCapabilities::permitted),
                inheritable: set(LinuxCapabilities::inheritable),
            },
        };
        // The kernel allows no others, and runc and crun pass over them as well.
        let possible = sets.sets.permitted & sets.sets.inheritable;
        for (name, _) in (sets.ambient - possible).iter_names() {
            warnings.push(format!(
                "CAP_{name} is not made ambient: it isn't both permitted and inheritable"
            ));
        }
        sets.ambient &= possible;
        for (name, _) in lacking.iter_names() {
            warnings.push(format!(
                "CAP_{name} is left out: the launcher doesn't have it"
            ));
        }
        Ok(sets)
    }

    /// All that needs no further privilege is kept for [`Sets::finish`]; this drops the bounding
    /// set and raises the ambient one, with every permitted capability still effective.
    pub(crate) fn prepare(&self) -> Step<()> {
        let what = || "set the capabilities";
        let now = rustix::thread::capabilities(None).during(Stage::Credentials, what)?;
        let full = CapabilitySets {
            effective: now.permitted,
            permitted: now.permitted,
            inheritable: now.inheritable,
        };
        rustix::thread::set_capabilities(None, full).during(Stage::Credentials, what)?;
        for number in 0..u64::BITS {
            let one = CapabilitySet::from_bits_retain(1 << number);
            match rustix::thread::capability_is_in_bounding_set(one) {
                // The kernel's last one has been passed.
                Err(Errno::INVAL) => break,
                Ok(false) => {}
                Ok(true) if self.bounding.contains(one) => {}
                Ok(true) => rustix::thread::remove_capability_from_bounding_set(one).during(
                    Stage::Credentials,
                    || "drop a capability from the bounding set",
                )?,
                Err(errno) => return Err(errno).during(Stage::Credentials, what),
            }
        }
        let inheriting = CapabilitySets {
            inheritable: self.sets.inheritable,
            ..full
        };
        rustix::thread::set_capabilities(None, inheriting).during(Stage::Credentials, what)?;
        rustix::thread::clear_ambient_capability_set()
            .during(Stage::Credentials, || "clear the ambient capabilities")?;
        for one in self.ambient.iter() {
            rustix::thread::configure_capability_in_ambient_set(one, true)
                .during(Stage::Credentials, || "raise an ambient capability")?;
        }
        Ok(())
    }

    /// The last step: gives up all that isn't wanted.
    pub(crate) fn finish(&self) -> Step<()> {
        rustix::thread::set_capabilities(None, self.sets)
            .during(Stage::Credentials, || "set the capabilities")
    }
}

/// Changes to the user and its groups, keeping the permitted capabilities for what follows.
pub(crate) fn become_user(identity: &Identity) -> Step<()> {
    rustix::thread::set_keep_capabilities(true)
        .during(Stage::Credentials, || "keep the capabilities")?;
    let mapped = |what: &str, id: &dyn std::fmt::Display| {
        format!("change to {what} {id} (is it mapped in the container's user namespace?)")
    };
    let gid = Gid::from_raw(identity.gid);
    let uid = Uid::from_raw(identity.uid);
    let groups: Vec<_> = identity.groups.iter().copied().map(Gid::from_raw).collect();
    match rustix::thread::set_thread_groups(&groups) {
        // An ordinary user's namespace, which may not change groups and has none to give up. Its root
        // has no use for those that an image's root is in.
        Err(Errno::PERM) if groups.is_empty() || identity.uid == 0 => {}
        set => set.during(Stage::Credentials, || {
            mapped("additional groups", &format_args!("{:?}", identity.groups))
        })?,
    }
    rustix::thread::set_thread_res_gid(gid, gid, gid)
        .during(Stage::Credentials, || mapped("gid", &identity.gid))?;
    rustix::thread::set_thread_res_uid(uid, uid, uid)
        .during(Stage::Credentials, || mapped("uid", &identity.uid))
}

fn bit(capability: &Capability) -> CapabilitySet {
    match capability {
        Capability::AuditControl => CapabilitySet::AUDIT_CONTROL,
        Capability::AuditRead => CapabilitySet::AUDIT_READ,
        Capability::AuditWrite => CapabilitySet::AUDIT_WRITE,
        Capability::BlockSuspend => CapabilitySet::BLOCK_SUSPEND,
        Capability::Bpf => CapabilitySet::BPF,
        Capability::CheckpointRestore => CapabilitySet::CHECKPOINT_RESTORE,
        Capability::Chown => CapabilitySet::CHOWN,
        Capability::DacOverride => CapabilitySet::DAC_OVERRIDE,
        Capability::DacReadSearch => CapabilitySet::DAC_READ_SEARCH,
        Capability::Fowner => CapabilitySet::FOWNER,
        Capability::Fsetid => CapabilitySet::FSETID,
        Capability::IpcLock => CapabilitySet::IPC_LOCK,
        Capability::IpcOwner => CapabilitySet::IPC_OWNER,
        Capability::Kill => CapabilitySet::KILL,
        Capability::Lease => CapabilitySet::LEASE,
        Capability::LinuxImmutable => CapabilitySet::LINUX_IMMUTABLE,
        Capability::MacAdmin => CapabilitySet::MAC_ADMIN,
        Capability::MacOverride => CapabilitySet::MAC_OVERRIDE,
        Capability::Mknod => CapabilitySet::MKNOD,
        Capability::NetAdmin => CapabilitySet::NET_ADMIN,
        Capability::NetBindService => CapabilitySet::NET_BIND_SERVICE,
        Capability::NetBroadcast => CapabilitySet::NET_BROADCAST,
        Capability::NetRaw => CapabilitySet::NET_RAW,
        Capability::Perfmon => CapabilitySet::PERFMON,
        Capability::Setgid => CapabilitySet::SETGID,
        Capability::Setfcap => CapabilitySet::SETFCAP,
        Capability::Setpcap => CapabilitySet::SETPCAP,
        Capability::Setuid => CapabilitySet::SETUID,
        Capability::SysAdmin => CapabilitySet::SYS_ADMIN,
        Capability::SysBoot => CapabilitySet::SYS_BOOT,
        Capability::SysChroot => CapabilitySet::SYS_CHROOT,
        Capability::SysModule => CapabilitySet::SYS_MODULE,
        Capability::SysNice => CapabilitySet::SYS_NICE,
        Capability::SysPacct => CapabilitySet::SYS_PACCT,
        Capability::SysPtrace => CapabilitySet::SYS_PTRACE,
        Capability::SysRawio => CapabilitySet::SYS_RAWIO,
        Capability::SysResource => CapabilitySet::SYS_RESOURCE,
        Capability::SysTime => CapabilitySet::SYS_TIME,
        Capability::SysTtyConfig => CapabilitySet::SYS_TTY_CONFIG,
        Capability::Syslog => CapabilitySet::SYSLOG,
        Capability::WakeAlarm => CapabilitySet::WAKE_ALARM,
    }
}
