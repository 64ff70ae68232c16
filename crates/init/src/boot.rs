//! From the initial RAM disk to a system that can run containers.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use rustix::io::Errno;
use rustix::mount::MountFlags;

use crate::{modules, sys};

/// What the program is called once it runs from the real root.
const AGENT: &str = "coracle-agent";

/// The root to be.
const NEW: &str = "/new";

/// The kernel's parameters: as on hosts of containers. Memory is promised beyond what the machine
/// has, which is small beside the host; process ids go as far as there.
const SYSCTLS: [(&str, &str); 2] = [("vm/overcommit_memory", "1"), ("kernel/pid_max", "4194304")];

/// A failure of the boot, with what was being done.
fn at<T, E: Into<io::Error>>(what: &str, result: Result<T, E>) -> io::Result<T> {
    result.map_err(|error| {
        let error = error.into();
        io::Error::new(error.kind(), format!("cannot {what}: {error}"))
    })
}

/// Makes the system ready. Ends this program for its own second run the first time.
pub(crate) fn boot() -> io::Result<()> {
    if std::env::args_os().next().as_deref() != Some(OsStr::new(AGENT)) {
        return Err(leave_ram_disk());
    }
    mounts()?;
    at("use the cgroups", cgroups())?;
    for (name, value) in SYSCTLS {
        if let Err(error) = fs::write(Path::new("/proc/sys").join(name), value) {
            crate::complain(&format!("cannot set {name}: {error}"));
        }
    }
    // Memory that the machine gets later is used at once. Kernels that can't grow have no such file.
    let _unless = fs::write("/sys/devices/system/memory/auto_online_blocks", "online");
    if let Err(error) = coracle_network::interface::configure(&[]) {
        crate::complain(&format!("cannot raise the loopback interface: {error}"));
    }
    Ok(())
}

/// Loads the modules, makes a root in memory, moves there, and executes itself anew.
fn leave_ram_disk() -> io::Error {
    match move_root().and_then(|()| at("fix the program's addresses", sys::fix_addresses())) {
        Ok(()) => Command::new("/init").arg0(AGENT).env_clear().exec(),
        Err(error) => error,
    }
}

fn move_root() -> io::Result<()> {
    at("load the modules", modules::load(Path::new("/modules")))?;
    at("make a directory", fs::create_dir_all(NEW))?;
    at(
        "mount the root",
        mount("tmpfs", NEW, MountFlags::empty(), c"mode=0755"),
    )?;
    let init = Path::new(NEW).join("init");
    at("copy the program", fs::copy("/init", &init))?;
    fs::set_permissions(&init, fs::Permissions::from_mode(0o755))?;
    for directory in ["dev", "proc", "sys", "run", "tmp", "etc"] {
        at(
            "make a directory",
            fs::create_dir(Path::new(NEW).join(directory)),
        )?;
    }
    // What the RAM disk holds is memory that nobody can reach afterwards.
    let _stays = fs::remove_dir_all("/modules");
    let _stays = fs::remove_file("/init");
    at("change the root", rustix::process::chdir(NEW))?;
    at("change the root", rustix::mount::mount_move(".", "/"))?;
    at("change the root", rustix::process::chroot("."))?;
    at("change the root", rustix::process::chdir("/"))
}

fn mounts() -> io::Result<()> {
    let plain = MountFlags::NOSUID | MountFlags::NOEXEC;
    let no_devices = plain | MountFlags::NODEV;
    let temporary = MountFlags::NOSUID | MountFlags::NODEV;
    let all = [
        ("devtmpfs", "/dev", plain, c"mode=0755"),
        ("proc", "/proc", no_devices, c""),
        ("sysfs", "/sys", no_devices, c""),
        ("tmpfs", "/run", temporary, c"mode=0755"),
        ("tmpfs", "/tmp", temporary, c"mode=1777"),
        ("cgroup2", "/sys/fs/cgroup", no_devices, c""),
    ];
    for (kind, target, flags, data) in all {
        at(&format!("mount {target}"), mount(kind, target, flags, data))?;
    }
    for (target, link) in [
        ("/proc/self/fd", "/dev/fd"),
        ("fd/0", "/dev/stdin"),
        ("fd/1", "/dev/stdout"),
        ("fd/2", "/dev/stderr"),
    ] {
        match symlink(target, link) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
    }
    at("make /dev/pts", fs::create_dir_all("/dev/pts"))?;
    let data = c"ptmxmode=0666,mode=0620,gid=5";
    at("mount /dev/pts", mount("devpts", "/dev/pts", plain, data))?;
    at("make a directory", fs::create_dir_all(crate::RUN))
}

fn mount(kind: &str, target: &str, flags: MountFlags, data: &std::ffi::CStr) -> io::Result<()> {
    match rustix::mount::mount(kind, target, kind, flags, data) {
        // The kernel may have mounted devtmpfs itself.
        Ok(()) | Err(Errno::BUSY) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}

/// Lets groups below the root limit everything that can be limited, and has one for the agent, whose
/// memory is not taken for containers, and whose turn comes before theirs.
fn cgroups() -> io::Result<()> {
    const ROOT: &str = "/sys/fs/cgroup";
    let root = Path::new(ROOT);
    let controllers = fs::read_to_string(root.join("cgroup.controllers"))?;
    let enabled: Vec<String> = controllers
        .split_ascii_whitespace()
        .map(|controller| format!("+{controller}"))
        .collect();
    let agent = root.join("agent");
    fs::create_dir(&agent)?;
    fs::write(agent.join("cgroup.procs"), "1")?;
    fs::write(root.join("cgroup.subtree_control"), enabled.join(" "))?;
    for (file, value) in [("memory.min", "16777216"), ("cpu.weight", "10000")] {
        if let Err(error) = fs::write(agent.join(file), value) {
            crate::complain(&format!("cannot set the agent's {file}: {error}"));
        }
    }
    Ok(())
}
