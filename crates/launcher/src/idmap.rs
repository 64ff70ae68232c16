//! Writes the id maps of a new user namespace, from outside it.

use std::fmt::Write as _;
use std::fs;
use std::io;
use std::process::Command;

use oci_spec::runtime::LinuxIdMapping;
use rustix::thread::CapabilitySet;

use crate::error::Error;

/// Maps the ids of the user namespace that process `pid` (of the caller's pid namespace) is in.
///
/// With CAP_SETUID and CAP_SETGID the maps are written as they are. An ordinary user may map its
/// own ids alone; for more, `newuidmap` and `newgidmap` (package `uidmap`) do it, by /etc/subuid
/// and /etc/subgid.
pub(crate) fn write(
    pid: u32,
    uids: &[LinuxIdMapping],
    gids: &[LinuxIdMapping],
) -> Result<(), Error> {
    let own =
        rustix::thread::capabilities(None).map_or(CapabilitySet::empty(), |sets| sets.effective);
    if own.contains(CapabilitySet::SETUID | CapabilitySet::SETGID) {
        write_map(pid, "uid_map", &lines(uids))?;
        return write_map(pid, "gid_map", &lines(gids));
    }
    let own_uid = rustix::process::geteuid().as_raw();
    let own_gid = rustix::process::getegid().as_raw();
    if is_only(uids, own_uid) && is_only(gids, own_gid) {
        write_map(pid, "setgroups", "deny")?;
        write_map(pid, "uid_map", &lines(uids))?;
        return write_map(pid, "gid_map", &lines(gids));
    }
    run("newuidmap", pid, uids)?;
    run("newgidmap", pid, gids)
}

fn is_only(map: &[LinuxIdMapping], id: u32) -> bool {
    matches!(map, [one] if one.host_id() == id && one.size() == 1)
}

fn lines(map: &[LinuxIdMapping]) -> String {
    map.iter().fold(String::new(), |mut text, line| {
        // Writing to a string can't fail.
        let _ = writeln!(
            text,
            "{} {} {}",
            line.container_id(),
            line.host_id(),
            line.size()
        );
        text
    })
}

fn write_map(pid: u32, file: &str, text: &str) -> Result<(), Error> {
    let path = format!("/proc/{pid}/{file}");
    fs::write(&path, text).map_err(|error| Error::Launcher(format!("writing {path}: {error}")))
}

fn run(program: &str, pid: u32, map: &[LinuxIdMapping]) -> Result<(), Error> {
    let numbers = map
        .iter()
        .flat_map(|line| [line.container_id(), line.host_id(), line.size()])
        .map(|number| number.to_string());
    let output = Command::new(program)
        .arg(pid.to_string())
        .args(numbers)
        .output()
        .map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => Error::Launcher(format!(
                "{program} is needed to map more than the user's own ids, and was not found: \
                 install the package `uidmap`"
            )),
            _ => Error::Launcher(format!("running {program}: {error}")),
        })?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(Error::Launcher(format!("{program}: {}", said.trim())))
}
