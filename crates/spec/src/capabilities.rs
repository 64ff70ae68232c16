//! Which capabilities a container has (`--cap-add`, `--cap-drop`, `--privileged`).

use std::collections::BTreeSet;

use coracle_runtime::spec::HostConfig;

use crate::{Host, SpecError};

/// Docker's default set.
const DEFAULT: [&str; 14] = [
    "CAP_AUDIT_WRITE",
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_MKNOD",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_RAW",
    "CAP_SETFCAP",
    "CAP_SETGID",
    "CAP_SETPCAP",
    "CAP_SETUID",
    "CAP_SYS_CHROOT",
];

/// Every capability there is, by the kernel's number (linux/capability.h, Linux 5.9 and later).
pub const CAPABILITIES: [&str; 41] = [
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_DAC_READ_SEARCH",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETPCAP",
    "CAP_LINUX_IMMUTABLE",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_BROADCAST",
    "CAP_NET_ADMIN",
    "CAP_NET_RAW",
    "CAP_IPC_LOCK",
    "CAP_IPC_OWNER",
    "CAP_SYS_MODULE",
    "CAP_SYS_RAWIO",
    "CAP_SYS_CHROOT",
    "CAP_SYS_PTRACE",
    "CAP_SYS_PACCT",
    "CAP_SYS_ADMIN",
    "CAP_SYS_BOOT",
    "CAP_SYS_NICE",
    "CAP_SYS_RESOURCE",
    "CAP_SYS_TIME",
    "CAP_SYS_TTY_CONFIG",
    "CAP_MKNOD",
    "CAP_LEASE",
    "CAP_AUDIT_WRITE",
    "CAP_AUDIT_CONTROL",
    "CAP_SETFCAP",
    "CAP_MAC_OVERRIDE",
    "CAP_MAC_ADMIN",
    "CAP_SYSLOG",
    "CAP_WAKE_ALARM",
    "CAP_BLOCK_SUSPEND",
    "CAP_AUDIT_READ",
    "CAP_PERFMON",
    "CAP_BPF",
    "CAP_CHECKPOINT_RESTORE",
];

/// The container's capabilities, sorted: Docker's rules, within what the daemon itself may give.
pub fn capabilities(config: &HostConfig, host: &Host) -> Result<BTreeSet<String>, SpecError> {
    let all = || -> BTreeSet<String> { host.capabilities.iter().cloned().collect() };
    if config.privileged {
        return Ok(all());
    }
    let add = normalise(&config.cap_add, "CapAdd")?;
    let drop = normalise(&config.cap_drop, "CapDrop")?;
    let mut set: BTreeSet<String> = if add.contains("ALL") {
        all()
    } else if drop.contains("ALL") {
        BTreeSet::new()
    } else {
        DEFAULT.iter().map(|name| (*name).to_owned()).collect()
    };
    set.retain(|name| !drop.contains(name));
    for name in add.iter().filter(|name| *name != "ALL") {
        if !host.capabilities.contains(name) {
            return Err(SpecError::unsupported(
                "CapAdd",
                format!("{name} is not in the daemon's own bounding set"),
            ));
        }
        set.insert(name.clone());
    }
    // Of the default set, only what the daemon has; Docker does the same.
    set.retain(|name| host.capabilities.contains(name));
    Ok(set)
}

fn normalise(names: &[String], option: &str) -> Result<BTreeSet<String>, SpecError> {
    names
        .iter()
        .map(|given| {
            let upper = given.trim().to_ascii_uppercase();
            if upper == "ALL" {
                return Ok(upper);
            }
            let name = if upper.starts_with("CAP_") {
                upper
            } else {
                format!("CAP_{upper}")
            };
            if CAPABILITIES.contains(&name.as_str()) {
                Ok(name)
            } else {
                Err(SpecError::invalid(format!(
                    "invalid {option}: unknown capability: \"{name}\""
                )))
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(add: &[&str], drop: &[&str]) -> Result<BTreeSet<String>, SpecError> {
        let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let config = HostConfig {
            cap_add: owned(add),
            cap_drop: owned(drop),
            ..Default::default()
        };
        let host = Host {
            capabilities: CAPABILITIES.iter().map(|name| (*name).to_owned()).collect(),
            ..Default::default()
        };
        capabilities(&config, &host)
    }

    #[test]
    fn adds_and_drops_combine_as_dockers_do() {
        assert_eq!(set(&[], &[]).unwrap().len(), DEFAULT.len());
        assert_eq!(set(&["ALL"], &[]).unwrap().len(), CAPABILITIES.len());
        assert_eq!(
            set(&["all"], &["NET_RAW"]).unwrap().len(),
            CAPABILITIES.len() - 1
        );
        let only: Vec<_> = set(&["sys_time"], &["ALL"]).unwrap().into_iter().collect();
        assert_eq!(only, ["CAP_SYS_TIME"]);
        assert!(!set(&[], &["CAP_CHOWN"]).unwrap().contains("CAP_CHOWN"));
    }

    #[test]
    fn unknown_names_are_refused_by_name() {
        let error = set(&["FLY"], &[]).unwrap_err().to_string();
        assert_eq!(error, "invalid CapAdd: unknown capability: \"CAP_FLY\"");
    }
}
