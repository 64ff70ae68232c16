//! Device nodes and links in the container's /dev.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use oci_spec::runtime::{LinuxDevice, LinuxDeviceType};
use rustix::fs::{AtFlags, FileType, Gid, Mode, Uid};
use rustix::io::Errno;
use rustix::thread::CapabilitySet;

use crate::error::{Context, Failure, Stage, Step};
use crate::mounts::{attach, clone_device};
use crate::path::{Root, stat_in};

/// What every container has.
const DEFAULTS: [(&str, u32, u32); 6] = [
    ("/dev/null", 1, 3),
    ("/dev/zero", 1, 5),
    ("/dev/full", 1, 7),
    ("/dev/random", 1, 8),
    ("/dev/urandom", 1, 9),
    ("/dev/tty", 5, 0),
];

const LINKS: [(&str, &str); 5] = [
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
    ("core", "/proc/kcore"),
];

/// The devices that a container is to have.
pub(crate) struct Devices(Vec<Device>);

struct Device {
    path: PathBuf,
    kind: FileType,
    number: u64,
    mode: u32,
    uid: u32,
    gid: u32,
    /// The host's node, to be bound where none can be made.
    bound: Option<OwnedFd>,
}

impl Devices {
    /// The default ones and those listed, which come first.
    pub(crate) fn prepare(listed: &[LinuxDevice], mapped: bool) -> Step<Devices> {
        let mut devices = Vec::new();
        for device in listed {
            devices.push(Device::listed(device)?);
        }
        for (path, major, minor) in DEFAULTS {
            if !devices.iter().any(|device| device.path == Path::new(path)) {
                devices.push(Device {
                    path: path.into(),
                    kind: FileType::CharacterDevice,
                    number: rustix::fs::makedev(major, minor),
                    mode: 0o666,
                    uid: 0,
                    gid: 0,
                    bound: None,
                });
            }
        }
        let may_make = !mapped
            && rustix::thread::capabilities(None)
                .during(Stage::Devices, || "read the capabilities")?
                .effective
                .contains(CapabilitySet::MKNOD);
        if !may_make {
            for device in &mut devices {
                device.bind()?;
            }
        }
        Ok(Devices(devices))
    }

    /// Makes them, and the links that programs expect.
    pub(crate) fn make(&self, root: &Root) -> Step<()> {
        let dev = root
            .ensure_dir(Path::new("/dev"))
            .during(Stage::Devices, || "open /dev")?;
        for device in &self.0 {
            device
                .make(root, &dev)
                .during(Stage::Devices, || format!("make {}", device.path.display()))?;
        }
        for (name, target) in LINKS {
            link(&dev, name, target)?;
        }
        // An image may have anything here.
        match rustix::fs::unlinkat(&dev, "ptmx", AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(errno) => return Err(errno).during(Stage::Devices, || "remove /dev/ptmx"),
        }
        link(&dev, "ptmx", "pts/ptmx")
    }
}

fn link(dev: &OwnedFd, name: &str, target: &str) -> Step<()> {
    match rustix::fs::symlinkat(target, dev, name) {
        Ok(()) | Err(Errno::EXIST) => Ok(()),
        Err(errno) => Err(errno).during(Stage::Devices, || format!("link /dev/{name}")),
    }
}

impl Device {
    fn listed(device: &LinuxDevice) -> Step<Device> {
        let kind = match device.typ() {
            LinuxDeviceType::C | LinuxDeviceType::U => FileType::CharacterDevice,
            LinuxDeviceType::B => FileType::BlockDevice,
            LinuxDeviceType::P => FileType::Fifo,
            LinuxDeviceType::A => {
                return Err(Failure::new(
                    Stage::Devices,
                    format!("device {} has no type", device.path().display()),
                ));
            }
        };
        let number = |number: i64| {
            u32::try_from(number).map_err(|_| {
                Failure::new(
                    Stage::Devices,
                    format!(
                        "device {}: {number} is no device number",
                        device.path().display()
                    ),
                )
            })
        };
        Ok(Device {
            path: device.path().clone(),
            kind,
            number: match kind {
                FileType::Fifo => 0,
                _ => rustix::fs::makedev(number(device.major())?, number(device.minor())?),
            },
            mode: device.file_mode().unwrap_or(0o666) & 0o7777,
            uid: device.uid().unwrap_or_default(),
            gid: device.gid().unwrap_or_default(),
            bound: None,
        })
    }

    fn is(&self, stat: &rustix::fs::Stat) -> bool {
        FileType::from_raw_mode(stat.st_mode) == self.kind
            && (self.kind == FileType::Fifo || stat.st_rdev == self.number)
    }

    fn bind(&mut self) -> Step<()> {
        if self.kind == FileType::Fifo {
            return Ok(());
        }
        let what = || format!("bind the host's {}", self.path.display());
        let mount = clone_device(&self.path).during(Stage::Devices, what)?;
        let stat = rustix::fs::fstat(&mount).during(Stage::Devices, what)?;
        if !self.is(&stat) {
            return Err(Failure::new(
                Stage::Devices,
                format!(
                    "device {} can't be made here, and the host's is another",
                    self.path.display()
                ),
            ));
        }
        self.bound = Some(mount);
        Ok(())
    }

    fn make(&self, root: &Root, dev: &OwnedFd) -> Result<(), Errno> {
        if let Some(mount) = &self.bound {
            return attach(mount, &root.ensure_file(&self.path)?);
        }
        let elsewhere;
        let (dir, name) = match self.path.parent() {
            Some(parent) if parent == Path::new("/dev") => {
                (dev, self.path.file_name().ok_or(Errno::INVAL)?)
            }
            _ => {
                let (dir, name) = root.ensure_parent(&self.path)?;
                elsewhere = dir;
                (&elsewhere, name)
            }
        };
        let mode = Mode::from_raw_mode(self.mode);
        match rustix::fs::mknodat(dir, name, self.kind, mode, self.number) {
            Ok(()) => {}
            Err(Errno::EXIST) if self.is(&stat_in(dir, name)?) => return Ok(()),
            Err(errno) => return Err(errno),
        }
        if (self.uid, self.gid) != (0, 0) {
            let (uid, gid) = (Uid::from_raw(self.uid), Gid::from_raw(self.gid));
            let flags = AtFlags::SYMLINK_NOFOLLOW;
            rustix::fs::chownat(dir, name, Some(uid), Some(gid), flags)?;
        }
        Ok(())
    }
}
