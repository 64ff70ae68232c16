//! Who a container's user is: files that are copied in with `copyUIDGID` belong to them.

use std::io::Read;
use std::os::fd::{BorrowedFd, OwnedFd};

use coracle_runtime::{Result, RuntimeError};
use rustix::fs::{Mode, OFlags, ResolveFlags};

/// The most that is read of an account file, in bytes.
const MAX_FILE: u64 = 1 << 20;

/// User and group id of `user` (`name`, `name:group`, ids in place of either) as the files in `root`
/// have them. With an id that they don't know the group is 0, as for a process.
pub(crate) fn in_root(root: BorrowedFd<'_>, user: &str) -> Result<(u32, u32)> {
    let read = |path: &str| {
        read(root, path)
            .map_err(|error| RuntimeError::Internal(format!("cannot read {path}: {error}")))
    };
    find(user, || read("etc/passwd"), || read("etc/group"))
}

/// The same for ids alone, where there are no files to look in.
pub(crate) fn without_files(user: &str) -> Result<(u32, u32)> {
    let none = || Ok(String::new());
    find(user, none, none)
}

fn find(
    user: &str,
    passwd: impl Fn() -> Result<String>,
    group: impl Fn() -> Result<String>,
) -> Result<(u32, u32)> {
    let (user, wanted_group) = user.split_once(':').unwrap_or((user, ""));
    let passwd = passwd()?;
    let account = entries(&passwd).find(|fields| {
        fields.first() == Some(&user) || fields.get(2).is_some_and(|id| *id == user)
    });
    let number = |fields: &[&str], index: usize| fields.get(index)?.parse::<u32>().ok();
    let uid = account
        .as_deref()
        .and_then(|fields| number(fields, 2))
        .or_else(|| user.parse().ok())
        .ok_or_else(|| {
            RuntimeError::InvalidArgument(format!(
                "unable to find user {user}: no matching entries in passwd file"
            ))
        })?;
    let gid = match wanted_group {
        "" => account.as_deref().and_then(|fields| number(fields, 3)),
        wanted => {
            let group = group()?;
            let found = entries(&group)
                .find(|fields| fields.first() == Some(&wanted))
                .and_then(|fields| number(&fields, 2))
                .or_else(|| wanted.parse().ok());
            Some(found.ok_or_else(|| {
                RuntimeError::InvalidArgument(format!(
                    "unable to find group {wanted}: no matching entries in group file"
                ))
            })?)
        }
    };
    Ok((uid, gid.unwrap_or(0)))
}

fn entries(text: &str) -> impl Iterator<Item = Vec<&str>> {
    text.lines().map(|line| line.split(':').collect())
}

/// A file below `root`, which its links can't leave; empty where there is none.
fn read(root: BorrowedFd<'_>, path: &str) -> std::io::Result<String> {
    // Opened without waiting: it could be a pipe.
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    let file: OwnedFd = match rustix::fs::openat2(root, path, flags, Mode::empty(), resolve) {
        Ok(file) => file,
        Err(rustix::io::Errno::NOENT | rustix::io::Errno::NOTDIR) => return Ok(String::new()),
        Err(errno) => return Err(errno.into()),
    };
    let file = std::fs::File::from(file);
    if !file.metadata()?.is_file() {
        return Ok(String::new());
    }
    let mut bytes = Vec::new();
    file.take(MAX_FILE).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use super::*;

    const PASSWD: &str = "root:x:0:0::/:\nweb:x:33:44::/:\nbroken\n";
    const GROUP: &str = "root:x:0:\nstaff:x:50:web\n";

    #[test]
    fn users_are_found_as_processes_have_them() {
        let look = |user: &str| find(user, || Ok(PASSWD.into()), || Ok(GROUP.into()));
        assert_eq!(look("web"), Ok((33, 44)));
        assert_eq!(look("33"), Ok((33, 44)));
        assert_eq!(look("web:staff"), Ok((33, 50)));
        assert_eq!(look("7"), Ok((7, 0)));
        assert_eq!(look("7:9"), Ok((7, 9)));
        assert!(look("nobody").unwrap_err().to_string().contains("nobody"));
        assert!(look("web:none").unwrap_err().to_string().contains("none"));
        assert_eq!(without_files("5:6"), Ok((5, 6)));
        assert!(without_files("web").is_err());
    }

    #[test]
    fn odd_files_are_no_files() {
        let dir = tempfile::tempdir().unwrap();
        let root = std::fs::File::open(dir.path()).unwrap();
        assert_eq!(read(root.as_fd(), "etc/passwd").unwrap(), "");
        std::fs::create_dir_all(dir.path().join("etc/passwd")).unwrap();
        assert_eq!(read(root.as_fd(), "etc/passwd").unwrap(), "");
        std::os::unix::fs::symlink("/../../../../etc/passwd", dir.path().join("etc/group"))
            .unwrap();
        // The link leads to the root's own, which is a directory.
        assert_eq!(read(root.as_fd(), "etc/group").unwrap(), "");
    }
}
