//! What a kernel was built with, and whether that serves a guest.

use crate::decompress::{self, Compression};

/// The most bytes of a configuration.
pub(crate) const MAX_CONFIG: usize = 4 << 20;

/// Options without which the guest's init or a container can't work.
const NEEDED: [&str; 22] = [
    "BINFMT_ELF",
    "BLK_DEV_INITRD",
    "CGROUPS",
    "CGROUP_PIDS",
    "DEVTMPFS",
    "EROFS_FS",
    "EXT4_FS",
    "FUSE_FS",
    "INET",
    "MEMCG",
    "NET_NS",
    "OVERLAY_FS",
    "PCI",
    "PID_NS",
    "PROC_FS",
    "SECCOMP_FILTER",
    "SYSFS",
    "TMPFS",
    "UNIX",
    "VIRTIO_BLK",
    "VIRTIO_CONSOLE",
    "VIRTIO_PCI",
];

/// The options that a guest needs and that this configuration (as in `/proc/config.gz`, unpacked)
/// doesn't have. An option that is a module counts if `modules` can be loaded.
pub fn lacking(config: &str, modules: bool) -> Vec<String> {
    let set: std::collections::BTreeMap<&str, &str> = config
        .lines()
        .filter_map(|line| line.strip_prefix("CONFIG_")?.split_once('='))
        .collect();
    NEEDED
        .iter()
        .filter(|option| match set.get(*option) {
            Some(&"y") => false,
            Some(&"m") => !modules,
            _ => true,
        })
        .map(|option| format!("CONFIG_{option}"))
        .collect()
}

/// The configuration that a kernel with `CONFIG_IKCONFIG` holds: gzip between two marks.
pub(crate) fn embedded(image: &[u8]) -> Option<String> {
    let start = memchr::memmem::find(image, b"IKCFG_ST")?.checked_add(8)?;
    let data = image.get(start..)?;
    let text = decompress::to_memory(data, Compression::Gzip, MAX_CONFIG).ok()?;
    String::from_utf8(text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_configuration_lacks() {
        let all: String = NEEDED
            .iter()
            .map(|option| format!("CONFIG_{option}=y\n"))
            .collect();
        assert!(lacking(&all, false).is_empty());
        let some = all
            .replace("CONFIG_PCI=y", "# CONFIG_PCI is not set")
            .replace("EXT4_FS=y", "EXT4_FS=m");
        assert_eq!(lacking(&some, true), ["CONFIG_PCI"]);
        assert_eq!(lacking(&some, false), ["CONFIG_EXT4_FS", "CONFIG_PCI"]);
        assert_eq!(lacking("", true).len(), NEEDED.len());
    }
}
