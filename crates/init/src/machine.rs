//! Files, directories, kernel parameters and names of the machine.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::Path;

use coracle_guest::{File as GuestFile, MAX_FRAME, Reply};

use crate::error::{During, Result, invalid};

/// The most bytes of a file that is answered at once, so that the reply fits a frame.
const MAX_FILE: u64 = MAX_FRAME as u64 - 64;

/// Refuses what is no absolute path.
pub(crate) fn absolute(path: &str) -> Result<&Path> {
    match path.starts_with('/') && !path.contains('\0') {
        true => Ok(Path::new(path)),
        false => Err(invalid(format!("{path:?} is not an absolute path"))),
    }
}

fn mode(mode: u32) -> Result<u32> {
    match mode <= 0o7777 {
        true => Ok(mode),
        false => Err(invalid(format!("{mode:o} are no permissions"))),
    }
}

pub(crate) fn make_dir(path: &str, permissions: u32, parents: bool) -> Result<()> {
    let path = absolute(path)?;
    DirBuilder::new()
        .recursive(parents)
        .mode(mode(permissions)?)
        .create(path)
        .during(|| format!("make {}", path.display()))
}

/// Makes what is missing above a path.
pub(crate) fn make_parents(path: &Path) -> Result<()> {
    match path.parent() {
        Some(parent) if !parent.is_dir() => {
            fs::create_dir_all(parent).during(|| format!("make {}", parent.display()))
        }
        _ => Ok(()),
    }
}

pub(crate) fn write_file(file: &GuestFile) -> Result<()> {
    let path = absolute(&file.path)?;
    let permissions = mode(file.mode)?;
    let write = || {
        let mut out = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(permissions)
            .open(path)?;
        out.write_all(&file.data)?;
        fchown(&out, Some(file.uid), Some(file.gid))?;
        out.set_permissions(Permissions::from_mode(permissions))
    };
    let written = match write() {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            make_parents(path)?;
            write()
        }
        written => written,
    };
    written.during(|| format!("write {}", path.display()))
}

pub(crate) fn read_file(path: &str) -> Result<Reply> {
    let path = absolute(path)?;
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(MAX_FILE + 1).read_to_end(&mut bytes))
        .during(|| format!("read {}", path.display()))?;
    if bytes.len() as u64 > MAX_FILE {
        let path = path.display();
        return Err(invalid(format!("{path} is too large to be read at once")));
    }
    Ok(Reply::Bytes(bytes))
}

/// The file of a kernel parameter.
fn parameter(name: &str) -> Result<String> {
    // As sysctl(8): the first separator says which one it is.
    let path = match name.find(['.', '/']) {
        Some(at) if name.as_bytes().get(at) == Some(&b'.') => name
            .chars()
            .map(|c| match c {
                '.' => '/',
                '/' => '.',
                c => c,
            })
            .collect(),
        _ => name.to_owned(),
    };
    let is_plain = |part: &str| !part.is_empty() && part != "." && part != "..";
    match path.split('/').all(is_plain) && !path.contains('\0') {
        true => Ok(format!("/proc/sys/{path}")),
        false => Err(invalid(format!("{name:?} is no kernel parameter"))),
    }
}

pub(crate) fn set_sysctl(name: &str, value: &str) -> Result<()> {
    fs::write(parameter(name)?, value).during(|| format!("set {name} to {value:?}"))
}

/// Sets it, if there is a value, and reads it.
pub(crate) fn sysctl(name: &str, value: Option<&str>) -> Result<String> {
    if let Some(value) = value {
        set_sysctl(name, value)?;
    }
    let text = fs::read_to_string(parameter(name)?).during(|| format!("read {name}"))?;
    Ok(text.trim_end_matches('\n').to_owned())
}

pub(crate) fn set_hostname(name: &str) -> Result<()> {
    rustix::system::sethostname(name.as_bytes()).during(|| format!("set the host name {name:?}"))
}

pub(crate) fn set_machine_id(id: &str) -> Result<()> {
    if id.len() != 32 || !id.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Err(invalid(format!("{id:?} is no machine id")));
    }
    fs::write("/etc/machine-id", format!("{id}\n")).during(|| "write /etc/machine-id")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters() {
        for (name, path) in [
            ("net.ipv4.ip_forward", "/proc/sys/net/ipv4/ip_forward"),
            (
                "net.ipv4.conf.eth0/1.rp_filter",
                "/proc/sys/net/ipv4/conf/eth0.1/rp_filter",
            ),
            (
                "net/ipv4/conf/eth0.1/rp_filter",
                "/proc/sys/net/ipv4/conf/eth0.1/rp_filter",
            ),
        ] {
            assert_eq!(parameter(name).unwrap(), path);
        }
        for bad in ["", "../x", "kernel..x", "a/../../b", "/etc/passwd"] {
            assert!(parameter(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn files_are_written_in_place() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a/b/file");
        let mut file = GuestFile {
            path: path.to_str().unwrap().into(),
            mode: 0o640,
            uid: rustix::process::geteuid().as_raw(),
            gid: rustix::process::getegid().as_raw(),
            data: b"long content".to_vec(),
        };
        write_file(&file).unwrap();
        let held = File::open(&path).unwrap();
        file.data = b"short".to_vec();
        write_file(&file).unwrap();
        assert_eq!(std::io::read_to_string(held).unwrap(), "short");
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o7777,
            0o640
        );
        assert!(matches!(read_file(&file.path).unwrap(), Reply::Bytes(bytes) if bytes == b"short"));
        file.path = "relative".into();
        assert!(write_file(&file).is_err());
    }
}
