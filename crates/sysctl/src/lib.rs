//! Which namespace a kernel parameter (sysctl) belongs to: what a container may set is what is its own.
//!
//! **Must not know** who asks, or what a container has: it is names only. They are checked twice, when a
//! container is made and by whoever sets them, and both have to mean the same.
//!
//! **Invariant**: a parameter that isn't known to belong to a namespace belongs to the host.

#![forbid(unsafe_code)]

/// The namespaces that have parameters of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Namespace {
    /// System V IPC, and POSIX message queues.
    Ipc,
    /// Networks.
    Network,
    /// The domain name. The host's name has a setting of its own.
    Uts,
}

/// Those of System V IPC (sysctl/kernel.rst of the kernel's documentation), the ones that dockerd and runc
/// allow.
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

/// The namespace of a parameter, by its name with dots; none where it is the host's.
pub fn namespace(name: &str) -> Option<Namespace> {
    if IPC.contains(&name) || name.starts_with("fs.mqueue.") {
        Some(Namespace::Ipc)
    } else if name.starts_with("net.") {
        Some(Namespace::Network)
    } else if name == "kernel.domainname" {
        Some(Namespace::Uts)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_known_is_the_hosts() {
        for (name, expected) in [
            ("kernel.shm_rmid_forced", Some(Namespace::Ipc)),
            ("fs.mqueue.msg_max", Some(Namespace::Ipc)),
            ("net.ipv4.ip_forward", Some(Namespace::Network)),
            ("kernel.domainname", Some(Namespace::Uts)),
            ("kernel.hostname", None),
            ("kernel.sem_next_id", None),
            ("fs.mqueue", None),
            ("network", None),
            ("kernel.core_pattern", None),
            ("", None),
        ] {
            assert_eq!(namespace(name), expected, "{name}");
        }
    }
}
