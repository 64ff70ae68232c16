//! Kernel parameters.

use crate::SpecError;

/// Only what belongs to a namespace of the container's own (Docker's list).
pub(super) fn sysctl(
    name: &str,
    value: &str,
    host_network: bool,
    host_ipc: bool,
) -> Result<(), SpecError> {
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
    let of_host = |namespace: &str| {
        SpecError::invalid(format!(
            "sysctl \"{name}\" is not allowed in the host's {namespace} namespace"
        ))
    };
    if name.contains("..") || value.contains('\0') {
        return Err(SpecError::invalid(format!(
            "sysctl '{name}' is not allowed"
        )));
    }
    if IPC.contains(&name) || name.starts_with("fs.mqueue.") {
        return if host_ipc {
            Err(of_host("ipc"))
        } else {
            Ok(())
        };
    }
    if name.starts_with("net.") {
        return if host_network {
            Err(of_host("network"))
        } else {
            Ok(())
        };
    }
    Err(SpecError::invalid(format!(
        "sysctl '{name}' is not allowed: it does not belong to a namespace"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sysctls_belong_to_namespaces() {
        assert!(sysctl("net.core.somaxconn", "1", false, false).is_ok());
        assert!(sysctl("net.core.somaxconn", "1", true, false).is_err());
        assert!(sysctl("kernel.shmmax", "1", false, false).is_ok());
        assert!(sysctl("kernel.panic", "1", false, false).is_err());
        assert!(sysctl("net.../../kernel.panic", "1", false, false).is_err());
    }
}
