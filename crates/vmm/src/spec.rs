//! What a machine is made of.

use std::fmt;
use std::fs::File;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// How many bytes a machine's memory can grow beyond what it starts with.
pub const ROOM: u64 = 64 << 30;

/// A good [`Shape::code_cache`] for guests of any kind.
pub const CODE_CACHE: u64 = 128 << 20;

/// Whose instructions a guest has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Arch {
    /// 64-bit x86.
    #[serde(rename = "x86_64")]
    X86_64,
    /// 64-bit Arm.
    #[serde(rename = "aarch64")]
    Aarch64,
}

impl Arch {
    /// All that there are machines of.
    pub const ALL: [Arch; 2] = [Arch::X86_64, Arch::Aarch64];

    /// This host's, which is the only one that hardware virtualization executes.
    pub const HOST: Arch = if cfg!(target_arch = "aarch64") {
        Arch::Aarch64
    } else {
        Arch::X86_64
    };

    /// As `uname -m` has it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Arch::X86_64 => "x86_64",
            Arch::Aarch64 => "aarch64",
        }
    }
}

impl fmt::Display for Arch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What executes the guest's instructions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Accelerator {
    /// Linux's hardware virtualization.
    Kvm,
    /// Emulation in software: everywhere, and many times slower.
    Tcg,
}

impl fmt::Display for Accelerator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Accelerator::Kvm => "kvm",
            Accelerator::Tcg => "tcg",
        })
    }
}

/// What machines of one template have in common.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shape {
    /// Whose instructions it has.
    pub arch: Arch,
    /// An uncompressed kernel with a PVH entry (x86), an `Image` (Arm), or any bzImage.
    pub kernel: PathBuf,
    /// The first file system.
    pub initrd: PathBuf,
    /// The kernel's command line. None of the arguments may contain white space.
    pub kernel_args: Vec<String>,
    /// 1 to 255.
    pub cpus: u32,
    /// Bytes: a multiple of 2 MiB, at least 32 MiB.
    pub memory: u64,
    /// What executes it.
    pub accelerator: Accelerator,
    /// Bytes of translated code that emulation keeps: 8 MiB to 2 GiB, in MiB. A guest that runs more has
    /// some of it translated again; what was translated once is never given back.
    pub code_cache: u64,
}

impl Shape {
    /// Refuses what no machine can have.
    pub(crate) fn check(&self) -> Result<()> {
        let bad = |why: String| Err(Error::Invalid(why));
        if self.accelerator == Accelerator::Kvm && self.arch != Arch::HOST {
            return bad(format!(
                "kvm executes {} here, not {}: that needs emulation (tcg)",
                Arch::HOST,
                self.arch
            ));
        }
        if !(1..=255).contains(&self.cpus) {
            return bad(format!("a machine has 1 to 255 CPUs, not {}", self.cpus));
        }
        if self.memory < 32 << 20 || self.memory > 64 << 40 || !self.memory.is_multiple_of(2 << 20)
        {
            return bad(format!(
                "a machine's memory is a multiple of 2 MiB from 32 MiB to 64 TiB, not {} bytes",
                self.memory
            ));
        }
        if !(8 << 20..=2 << 30).contains(&self.code_cache)
            || !self.code_cache.is_multiple_of(1 << 20)
        {
            return bad(format!(
                "the room for translated code is 8 MiB to 2 GiB in MiB, not {} bytes",
                self.code_cache
            ));
        }
        if let Some(arg) = (self.kernel_args.iter())
            .find(|arg| arg.is_empty() || arg.contains(|c: char| c.is_whitespace() || c == '\0'))
        {
            return bad(format!("kernel argument {arg:?} is empty or has a space"));
        }
        Ok(())
    }
}

/// The two disks that every machine has a place for, named by their serials.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Slot {
    /// `root`: read-only.
    Root,
    /// `layer`: read and written.
    Layer,
}

impl Slot {
    /// What an empty slot, and in a clone a filled one until it is resized, claims to hold: 1 TiB.
    pub const CLAIMED: u64 = 1 << 40;

    /// Both, in the order in which guests find them.
    pub(crate) const ALL: [Slot; 2] = [Slot::Root, Slot::Layer];

    /// The disk's serial.
    #[must_use]
    pub fn serial(self) -> &'static str {
        match self {
            Slot::Root => "root",
            Slot::Layer => "layer",
        }
    }

    /// Whether the guest may not write to it.
    #[must_use]
    pub fn read_only(self) -> bool {
        self == Slot::Root
    }
}

/// Where a disk's bytes are.
#[derive(Debug)]
pub enum Source {
    /// In a raw image or block device, open for reading, and for writing if the disk isn't read-only.
    File(OwnedFd),
    /// At a network block device server, to which the caller's process connects: the VMM has no
    /// network. A connection that is lost is made again; what the guest asks for meanwhile waits for
    /// some seconds, and fails then.
    Nbd(coracle_nbd::Uri),
}

/// A disk.
#[derive(Debug)]
pub struct Disk {
    /// Where its bytes are; in a slot, a file.
    pub source: Source,
    /// Whether the guest may not write.
    pub read_only: bool,
    /// How the guest finds it (`/sys/block/*/serial`): 1 to 20 of `A-Z a-z 0-9 - _`.
    pub serial: String,
}

impl Disk {
    /// Opens an image.
    ///
    /// # Errors
    /// If there is none, or it may not be opened so.
    pub fn open(path: &Path, serial: &str, read_only: bool) -> Result<Disk> {
        let file = File::options()
            .read(true)
            .write(!read_only)
            .open(path)
            .map_err(Error::io(format!("opening disk {}", path.display())))?;
        Ok(Disk {
            source: Source::File(file.into()),
            read_only,
            serial: serial.into(),
        })
    }

    /// The descriptor of its image.
    ///
    /// # Errors
    /// If it has none.
    pub fn file(&self) -> Result<&OwnedFd> {
        match &self.source {
            Source::File(file) => Ok(file),
            Source::Nbd(_) => Err(Error::Unsupported(format!(
                "disk {} is no file: a server's disk is plugged in",
                self.serial
            ))),
        }
    }

    pub(crate) fn check(&self) -> Result<()> {
        let name = self.serial.as_bytes();
        let plain = |c: &u8| c.is_ascii_alphanumeric() || *c == b'-' || *c == b'_';
        if name.is_empty() || name.len() > 20 || !name.iter().all(plain) {
            return Err(Error::Invalid(format!(
                "disk serial {:?} is not 1 to 20 letters, digits, - or _",
                self.serial
            )));
        }
        Ok(())
    }
}

/// A network card.
#[derive(Debug)]
pub struct Nic {
    /// A descriptor of a tap, made with `IFF_TAP`, `IFF_NO_PI` and `IFF_VNET_HDR`.
    pub tap: OwnedFd,
    /// The card's address, which names it.
    pub mac: MacAddr,
}

/// An Ethernet address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct MacAddr(pub [u8; 6]);

impl fmt::Display for MacAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl FromStr for MacAddr {
    type Err = Error;

    fn from_str(text: &str) -> Result<MacAddr> {
        let bad = || Error::Invalid(format!("{text:?} is no MAC address"));
        let mut bytes = [0; 6];
        let mut parts = text.split(':');
        for byte in &mut bytes {
            let part = parts.next().filter(|part| part.len() == 2);
            *byte = (part.and_then(|part| u8::from_str_radix(part, 16).ok())).ok_or_else(bad)?;
        }
        if parts.next().is_some() || !text.bytes().all(|c| c == b':' || c.is_ascii_hexdigit()) {
            return Err(bad());
        }
        Ok(MacAddr(bytes))
    }
}

/// Names one run of a machine: a guest that finds a new one takes it that it was copied, and reseeds
/// its random numbers (the "VM generation id").
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Generation(pub [u8; 16]);

impl Generation {
    /// One that nobody had before.
    ///
    /// # Errors
    /// If the system has no random numbers.
    pub fn fresh() -> Result<Generation> {
        let mut bytes = [0; 16];
        ring::rand::SecureRandom::fill(&ring::rand::SystemRandom::new(), &mut bytes)
            .map_err(|_| Error::Start("the system gives no random numbers".into()))?;
        Ok(Generation(bytes))
    }
}

impl fmt::Display for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, byte) in self.0.iter().enumerate() {
            if matches!(index, 4 | 6 | 8 | 10) {
                f.write_str("-")?;
            }
            write!(f, "{byte:02x}")?;
        }
        Ok(())
    }
}

/// One machine.
#[derive(Debug)]
pub struct MachineSpec {
    /// What it shares with others of its kind.
    pub shape: Shape,
    /// Its name among the host's processes: 1 to 128 of `A-Z a-z 0-9 - _ .`.
    pub id: String,
    /// The far end of a stream socket of the caller's own to be the guest's port `agent`, in place
    /// of [`crate::Machine::agent`]: what is written to the near one before the machine runs is
    /// there when its agent wakes up, which saves some milliseconds.
    pub agent: Option<OwnedFd>,
    /// What is in the `root` slot; nothing leaves it empty.
    pub root: Option<Disk>,
    /// What is in the `layer` slot.
    pub layer: Option<Disk>,
    /// More disks, plugged in before the call returns.
    pub disks: Vec<Disk>,
    /// Network cards, plugged in before the call returns.
    pub nics: Vec<Nic>,
    /// Where the guest's serial console is written to: a log of bounded size. Nowhere, if it is empty,
    /// until [`crate::Machine::log_console`].
    pub console: PathBuf,
    /// The user and group that the VMM runs as. Root must name one that is nobody else's; without
    /// one the VMM stays the caller's user, but loses all capabilities.
    pub user: Option<(u32, u32)>,
    /// The `cgroup.procs` files of the control groups that the VMM is put into.
    pub cgroups: Vec<PathBuf>,
    /// Whether [`crate::Machine::snapshot`] shall be possible: a machine that becomes a template.
    pub template: bool,
    /// A fresh one if none is given.
    pub generation: Option<Generation>,
}

impl MachineSpec {
    /// A machine of this shape with nothing plugged in.
    #[must_use]
    pub fn new(shape: Shape, id: impl Into<String>, console: impl Into<PathBuf>) -> MachineSpec {
        MachineSpec {
            shape,
            id: id.into(),
            agent: None,
            root: None,
            layer: None,
            disks: Vec::new(),
            nics: Vec::new(),
            console: console.into(),
            user: None,
            cgroups: Vec::new(),
            template: false,
            generation: None,
        }
    }

    pub(crate) fn check(&self) -> Result<()> {
        self.shape.check()?;
        let name = self.id.as_bytes();
        let plain = |c: &u8| c.is_ascii_alphanumeric() || b"-_.".contains(c);
        if name.is_empty() || name.len() > 128 || !name.iter().all(plain) {
            return Err(Error::Invalid(format!(
                "machine id {:?} is not 1 to 128 letters, digits, -, _ or .",
                self.id
            )));
        }
        for (slot, disk) in [(Slot::Root, &self.root), (Slot::Layer, &self.layer)] {
            if let Some(disk) = disk
                && (disk.serial != slot.serial() || disk.read_only != slot.read_only())
            {
                return Err(Error::Invalid(format!(
                    "the disk in slot {0} must have the serial {0} and be {1}",
                    slot.serial(),
                    if slot.read_only() {
                        "read-only"
                    } else {
                        "writable"
                    },
                )));
            }
        }
        self.disks.iter().try_for_each(Disk::check)
    }

    pub(crate) fn disk(&self, slot: Slot) -> Option<&Disk> {
        match slot {
            Slot::Root => self.root.as_ref(),
            Slot::Layer => self.layer.as_ref(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_and_written() {
        let text = "02:00:ac:11:00:fe";
        assert_eq!(text.parse::<MacAddr>().unwrap().to_string(), text);
        for bad in [
            "",
            "02",
            "02:00:ac:11:00",
            "02:00:ac:11:00:fe:01",
            "+2:00:ac:11:00:fe",
        ] {
            assert!(bad.parse::<MacAddr>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_generation_reads_as_a_uuid() {
        let text = Generation([0xab; 16]).to_string();
        assert_eq!(text, "abababab-abab-abab-abab-abababababab");
        assert_ne!(Generation::fresh().unwrap(), Generation::fresh().unwrap());
    }
}
