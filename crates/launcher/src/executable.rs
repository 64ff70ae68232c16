//! The program that the helper runs from: this one, in a form that no container can write to.
//!
//! A container's root can open `/proc/PID/exe` of a process in its pid namespace, and so write to
//! the host's program through it (CVE-2019-5736). So the helper is executed either
//!
//! - through a private read-only mount of the program's file, which belongs to no mount namespace
//!   any more, so that nobody can find it by a path or take its read-only flag away (costs next to
//!   nothing, needs the privilege to mount), or
//! - from a sealed copy in memory.

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::OnceLock;

use rustix::fs::{CWD, MemfdFlags, Mode, OFlags, SealFlags};
use rustix::io::Errno;
use rustix::mount::OpenTreeFlags;

use crate::sys;

/// The program, made once per process. Open for reading, close-on-exec.
pub(crate) fn executable() -> io::Result<&'static OwnedFd> {
    static EXECUTABLE: OnceLock<OwnedFd> = OnceLock::new();
    if let Some(fd) = EXECUTABLE.get() {
        return Ok(fd);
    }
    let fd = match detached_mount() {
        Ok(fd) => fd,
        Err(_) => sealed_copy()?,
    };
    Ok(EXECUTABLE.get_or_init(|| fd))
}

fn detached_mount() -> io::Result<OwnedFd> {
    let mount = rustix::mount::open_tree(
        CWD,
        "/proc/self/exe",
        OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC,
    )?;
    let read_only = libc::MOUNT_ATTR_RDONLY | libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NODEV;
    sys::mount_setattr(
        std::os::fd::AsFd::as_fd(&mount),
        false,
        read_only,
        0,
        libc::MS_PRIVATE,
    )?;
    let path = format!("/proc/self/fd/{}", mount.as_raw_fd());
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    // Closing `mount` dissolves the mount's anonymous namespace; the open file keeps the mount
    // itself alive. While the namespace lives, a process with CAP_SYS_ADMIN over its own mount
    // namespace could change the mount's flags through /proc/PID/exe.
    Ok(rustix::fs::open(path, flags, Mode::empty())?)
}

fn sealed_copy() -> io::Result<OwnedFd> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let fd = match rustix::fs::memfd_create("coracle-launch", flags | MemfdFlags::EXEC) {
        // Kernels before 6.3 don't know MFD_EXEC, and take its absence for it.
        Err(Errno::INVAL) => rustix::fs::memfd_create("coracle-launch", flags)?,
        made => made?,
    };
    let mut copy = File::from(fd);
    io::copy(&mut File::open("/proc/self/exe")?, &mut copy)?;
    rustix::fs::fcntl_add_seals(
        &copy,
        SealFlags::SEAL | SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE,
    )?;
    Ok(copy.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::process::Command;

    fn runs_and_is_read_only(fd: &OwnedFd) {
        let path = format!("/proc/self/fd/{}", fd.as_raw_fd());
        let output = Command::new(&path).arg("--list").output().unwrap();
        assert!(output.status.success());
        let written = File::options()
            .write(true)
            .open(&path)
            .and_then(|mut file| file.write(b"x"));
        assert!(written.is_err());
    }

    #[test]
    fn a_sealed_copy_runs() {
        runs_and_is_read_only(&sealed_copy().unwrap());
    }

    #[test]
    fn a_detached_mount_runs_and_its_flags_stay() {
        if !rustix::process::geteuid().is_root() {
            println!("skipped: needs root to mount");
            return;
        }
        let fd = detached_mount().unwrap();
        runs_and_is_read_only(&fd);
        let path = rustix::fs::open(
            format!("/proc/self/fd/{}", fd.as_raw_fd()),
            OFlags::PATH,
            Mode::empty(),
        )
        .unwrap();
        let thawed = sys::mount_setattr(
            std::os::fd::AsFd::as_fd(&path),
            false,
            0,
            libc::MOUNT_ATTR_RDONLY,
            0,
        );
        assert!(thawed.is_err());
    }
}
