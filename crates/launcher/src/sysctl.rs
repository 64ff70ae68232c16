//! Kernel parameters of the container's namespaces.

use std::collections::HashMap;
use std::fs::File;
use std::io::Write;
use std::os::fd::OwnedFd;

use rustix::fs::{Mode, OFlags, ResolveFlags};

use crate::error::{Context, Error, Stage, Step};
use crate::namespaces::Plan;
use crate::sys;

const IPC: [&str; 8] = [
    "kernel.msgmax",
    "kernel.msgmnb",
    "kernel.msgmni",
    "kernel.sem",
    "kernel.shmall",
    "kernel.shmmax",
    "kernel.shmmni",
    "kernel.shm_rmid_forced",
];

/// Refuses parameters that aren't the container's own.
pub(crate) fn check(key: &str, plan: &Plan) -> Result<(), Error> {
    let plain = key
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || b"._-/@:".contains(&byte));
    if !plain || key.contains("..") || key.contains("//") || key.starts_with(['.', '/']) {
        return Err(Error::Invalid(format!(
            "sysctl {key:?} is no parameter's name"
        )));
    }
    let dotted = key.replace('/', ".");
    let own = if IPC.contains(&dotted.as_str()) || dotted.starts_with("fs.mqueue.") {
        plan.has(sys::NEWIPC)
    } else if dotted.starts_with("net.") {
        plan.has(sys::NEWNET)
    } else if dotted == "kernel.domainname" {
        plan.has(sys::NEWUTS)
    } else {
        false
    };
    if own {
        Ok(())
    } else {
        Err(Error::Invalid(format!(
            "sysctl {key:?} is not in a separate kernel namespace"
        )))
    }
}

/// Sets them, by way of the host's /proc: what its `sys` shows depends on who looks.
pub(crate) fn set(parameters: Option<&HashMap<String, String>>, proc: &OwnedFd) -> Step<()> {
    for (key, value) in parameters.into_iter().flatten() {
        let what = || format!("write sysctl key {key}");
        // Names of interfaces may hold dots; then the rest of the key is written with slashes.
        let path = if key.contains('/') {
            format!("sys/{key}")
        } else {
            format!("sys/{}", key.replace('.', "/"))
        };
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
        let flags = OFlags::WRONLY | OFlags::CLOEXEC;
        let file = rustix::fs::openat2(proc, path, flags, Mode::empty(), resolve)
            .during(Stage::Sysctl, what)?;
        File::from(file)
            .write_all(value.as_bytes())
            .during(Stage::Sysctl, what)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_own_parameters_may_be_set() {
        let plan = Plan {
            new: sys::NEWNET | sys::NEWIPC,
            join: Vec::new(),
        };
        assert!(check("net.ipv4.ip_forward", &plan).is_ok());
        assert!(check("net/ipv4/conf/eth0.1/rp_filter", &plan).is_ok());
        assert!(check("fs.mqueue.msg_max", &plan).is_ok());
        assert!(check("kernel.domainname", &plan).is_err());
        assert!(check("vm.swappiness", &plan).is_err());
        assert!(check("net/../kernel/core_pattern", &plan).is_err());
        assert!(check("net.ipv4.ip_forward", &Plan::default()).is_err());
    }
}
