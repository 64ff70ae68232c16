//! Namespaces, users and capabilities.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::process::{Resource, Rlimit};
use rustix::thread::{
    CapabilitiesSecureBits, CapabilitySet, CapabilitySets, Gid, Uid, set_capabilities,
};

use super::{DEATH, Doing, Job, Step, root};
use crate::sys;

/// What the VMM gets of its own. Its network namespace stays empty: its cards' taps are descriptors.
pub(super) const NAMESPACES: u32 =
    sys::NEWNS | sys::NEWPID | sys::NEWNET | sys::NEWIPC | sys::NEWUTS;

/// Whether the system doesn't let us, as opposed to a fault of ours.
pub(super) fn is_refusal(error: &io::Error) -> bool {
    let code = error.raw_os_error();
    [
        libc::EPERM,
        libc::ENOSPC,
        libc::EINVAL,
        libc::EACCES,
        libc::EUSERS,
    ]
    .iter()
    .any(|refusal| code == Some(*refusal))
}

/// An ordinary user may make namespaces only in a user namespace. There it keeps its own id, so
/// that the capabilities that it has until then end when the VMM is executed.
pub(super) fn own_user_namespace(warnings: &mut Vec<String>) -> Step<()> {
    let (uid, gid) = (rustix::process::geteuid(), rustix::process::getegid());
    if uid.is_root() {
        return Ok(());
    }
    match sys::unshare(sys::NEWUSER) {
        Err(error) if is_refusal(&error) => {
            warnings.push(format!("no user namespace of its own: {error}"));
            return Ok(());
        }
        made => made.doing("make a user namespace")?,
    }
    fs::write("/proc/self/setgroups", "deny").doing("deny setgroups")?;
    let line = |id: u32| format!("{id} {id} 1");
    fs::write("/proc/self/uid_map", line(uid.as_raw())).doing("map the user")?;
    fs::write("/proc/self/gid_map", line(gid.as_raw())).doing("map the group")
}

/// Whether device nodes can be made here, which is for the host's root alone (user_namespaces(7)).
pub(super) fn makes_devices() -> bool {
    let map = fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    rustix::process::geteuid().is_root() && map.split_whitespace().eq(["0", "0", "4294967295"])
}

/// The user to become. Where `/dev/kvm` is the host's, that may be one who can't open it, as an
/// ordinary user's subordinate ids are in no group: then the VMM stays who its caller is.
pub(super) fn user(job: &Job, warnings: &mut Vec<String>) -> Option<(u32, u32)> {
    if !job.kvm || makes_devices() || job.user.is_none() {
        return job.user;
    }
    let everyones = |data: fs::Metadata| data.mode() & 0o006 == 0o006;
    if fs::metadata(root::KVM).is_ok_and(everyones) {
        return job.user;
    }
    warnings.push(format!(
        "no user of its own: {} is not for everyone",
        root::KVM
    ));
    None
}

/// Becomes the user, without any capability, now or by any program that is executed.
pub(super) fn drop_privileges(user: Option<(u32, u32)>, warnings: &mut Vec<String>) -> Step<()> {
    let was_root = rustix::process::geteuid().is_root();
    if was_root {
        for number in 0..64 {
            // Those that the kernel doesn't know are refused.
            let Some(bit) = CapabilitySet::from_bits(1 << number) else {
                continue;
            };
            let _ = rustix::thread::remove_capability_from_bounding_set(bit);
        }
        let locked = CapabilitiesSecureBits::NO_ROOT
            | CapabilitiesSecureBits::NO_ROOT_LOCKED
            | CapabilitiesSecureBits::NO_CAP_AMBIENT_RAISE
            | CapabilitiesSecureBits::NO_CAP_AMBIENT_RAISE_LOCKED;
        if let Err(errno) = rustix::thread::set_capabilities_secure_bits(locked) {
            warnings.push(format!("root keeps its special standing: {errno}"));
        }
    }
    match user {
        Some((uid, gid)) if was_root => {
            let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
            rustix::thread::set_thread_groups(&[]).doing("drop groups")?;
            rustix::thread::set_thread_res_gid(gid, gid, gid).doing("set the group")?;
            rustix::thread::set_thread_res_uid(uid, uid, uid).doing("set the user")?;
        }
        Some((uid, _)) if uid != rustix::process::geteuid().as_raw() => {
            return Err(format!("only root can run the VMM as user {uid}"));
        }
        _ => {}
    }
    let none = CapabilitySet::empty();
    let sets = CapabilitySets {
        effective: none,
        permitted: none,
        inheritable: none,
    };
    set_capabilities(None, sets).doing("drop capabilities")?;
    rustix::thread::set_no_new_privs(true).doing("forbid new privileges")?;
    let zero = Rlimit {
        current: Some(0),
        maximum: Some(0),
    };
    rustix::process::setrlimit(Resource::Core, zero).doing("forbid core dumps")
}

/// From here on the process dies when its caller's thread ends. (The kernel forgets that when the
/// user changes: so it is asked for after.)
pub(super) fn die_with_parent(socket: &OwnedFd) -> Step<()> {
    rustix::process::set_parent_process_death_signal(Some(DEATH))
        .doing("set the parent death signal")?;
    // It may have died before.
    let mut polled = [PollFd::new(socket, PollFlags::empty())];
    let now = Timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    rustix::event::poll(&mut polled, Some(&now)).doing("look for the caller")?;
    if polled
        .iter()
        .any(|fd| fd.revents().contains(PollFlags::HUP))
    {
        return Err("the caller is gone".into());
    }
    Ok(())
}
