//! The image that the simulation knows how to run.

use coracle_oci::ContainerConfig;

use crate::fs::{Node, Tree};
use crate::shell;

/// What a simulated program's file holds: enough to be taken for one.
const PROGRAM: &[u8] = b"\x7fELF (simulated)\n";

/// The root of an image like busybox.
pub(crate) fn busybox() -> Tree {
    let mut tree = Tree::default();
    tree.put("/bin/busybox", Node::file(PROGRAM, 0o755));
    for name in shell::NAMES.into_iter().filter(|name| *name != "busybox") {
        tree.put(&format!("/bin/{name}"), Node::symlink("busybox"));
    }
    let passwd = "root:x:0:0:root:/root:/bin/sh\n\
                  daemon:x:1:1:daemon:/usr/sbin:/bin/false\n\
                  nobody:x:65534:65534:nobody:/home:/bin/false\n";
    let group = "root:x:0:\ndaemon:x:1:\nnogroup:x:65534:\n";
    tree.put("/etc/passwd", Node::file(passwd, 0o644));
    tree.put("/etc/group", Node::file(group, 0o644));
    for dir in ["/dev", "/home", "/proc", "/root", "/sys", "/usr", "/var"] {
        tree.put(dir, Node::dir());
    }
    let mut tmp = Node::dir();
    tmp.mode = 0o1777;
    tree.put("/tmp", tmp);
    tree
}

/// How containers of it start.
pub(crate) fn config() -> ContainerConfig {
    ContainerConfig {
        env: vec![format!("PATH={}", shell::PATH)],
        cmd: Some(vec!["sh".into()]),
        ..ContainerConfig::default()
    }
}
