//! A root file system to check with.

use std::io;
use std::path::Path;

/// The root of an image like busybox, as a tar: the static busybox at this path with a link for each
/// of its applets, `/etc/passwd`, `/etc/group` and `/tmp`.
///
/// # Errors
/// Where the file can't be read or run.
pub fn busybox_root(busybox: &Path) -> io::Result<Vec<u8>> {
    let listed = std::process::Command::new(busybox).arg("--list").output()?;
    let mut builder = tar::Builder::new(Vec::new());
    for (path, mode) in [
        ("bin/", 0o755),
        ("etc/", 0o755),
        ("home/", 0o755),
        ("root/", 0o700),
        ("tmp/", 0o1777),
        ("usr/", 0o755),
        ("var/", 0o755),
    ] {
        let mut header = header(tar::EntryType::Directory, mode, 0);
        builder.append_data(&mut header, path, io::empty())?;
    }
    let program = std::fs::read(busybox)?;
    append(&mut builder, "bin/busybox", &program, 0o755)?;
    for applet in String::from_utf8_lossy(&listed.stdout).lines() {
        if !matches!(applet, "" | "busybox") && !applet.contains('/') {
            let mut header = header(tar::EntryType::Symlink, 0o777, 0);
            builder.append_link(&mut header, format!("bin/{applet}"), "busybox")?;
        }
    }
    let passwd = "root:x:0:0:root:/root:/bin/sh\n\
                  daemon:x:1:1:daemon:/usr/sbin:/bin/false\n\
                  nobody:x:65534:65534:nobody:/home:/bin/false\n";
    append(&mut builder, "etc/passwd", passwd.as_bytes(), 0o644)?;
    let group = "root:x:0:\ndaemon:x:1:\nnogroup:x:65534:\n";
    append(&mut builder, "etc/group", group.as_bytes(), 0o644)?;
    builder.into_inner()
}

fn header(kind: tar::EntryType, mode: u32, size: u64) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_size(size);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(1_000_000_000);
    header
}

fn append(
    builder: &mut tar::Builder<Vec<u8>>,
    path: &str,
    content: &[u8],
    mode: u32,
) -> io::Result<()> {
    let mut header = header(tar::EntryType::Regular, mode, content.len() as u64);
    builder.append_data(&mut header, path, content)
}
