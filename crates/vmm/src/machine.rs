//! The seam: what every VMM does.

use std::fmt;
use std::path::Path;

use async_trait::async_trait;
use tokio::net::UnixStream;

use crate::error::Result;
use crate::spec::{Accelerator, Arch, Disk, MacAddr, MachineSpec, Nic, Shape};
use crate::template::Template;

/// Starts machines.
#[async_trait]
pub trait Vmm: Send + Sync {
    /// Starts the machine from its kernel. Returns when the VMM runs it, not when it is ready.
    ///
    /// # Errors
    /// What is wrong with the request, or what the VMM said when it ended. Nothing is left then.
    async fn boot(&self, spec: MachineSpec) -> Result<Box<dyn Machine>>;

    /// Starts a copy of a template. Returns when it runs.
    ///
    /// # Errors
    /// [`crate::Error::Template`] if the template has another shape than the request, or can't be
    /// read; whatever it is that failed, a cold [`Vmm::boot`] may still work.
    async fn clone_from(&self, template: &Template, spec: MachineSpec) -> Result<Box<dyn Machine>>;

    /// What it says of its version, in one line. May take some 50 milliseconds.
    ///
    /// # Errors
    /// If it doesn't run.
    async fn version(&self) -> Result<String>;

    /// A text that changes with its program: what was found out about it holds as long.
    ///
    /// # Errors
    /// If it can't be found.
    fn identity(&self) -> Result<String>;

    /// What can execute machines of this host's architecture, the best first. The last one is what is
    /// taken where no other works.
    fn accelerators(&self) -> &'static [Accelerator];

    /// The device on which a kernel's console must be for it to reach the console's log, as in
    /// `console=ttyS0`.
    fn console(&self, arch: Arch) -> &'static str;

    /// What a template of this shape is called: a digest of everything that shapes it.
    ///
    /// # Errors
    /// If the kernel, the initrd or the VMM's program can't be found.
    fn key(&self, shape: &Shape) -> Result<String>;
}

/// A machine. Dropping it kills it.
#[async_trait]
pub trait Machine: Send + Sync {
    /// The VMM's process.
    fn pid(&self) -> i32;

    /// What of its confinement could not be had here, for the log.
    fn warnings(&self) -> &[String];

    /// The byte stream to the guest's port `agent`; once, and not if the caller gave its own
    /// ([`MachineSpec::agent`]).
    fn agent(&self) -> Option<UnixStream>;

    /// Plugs a disk in. The guest finds it some time later, by its serial.
    ///
    /// # Errors
    /// If the serial is taken or no place is left; [`crate::Error::Server`] if it is a server's, and
    /// can't be had.
    async fn add_disk(&self, disk: Disk) -> Result<()>;

    /// Puts a disk into a slot ([`crate::Slot`]) in place of what it was started with, which the guest
    /// must not be using: what it has read of it is for it to forget. Once for each slot.
    ///
    /// # Errors
    /// If it is no slot's disk, the slot was filled before, or the VMM can't. The machine is of no use
    /// then.
    async fn fill_slot(&self, disk: Disk) -> Result<()>;

    /// Takes a plugged disk out; returns when the guest has let it go.
    ///
    /// # Errors
    /// If there is none, it is in a slot, or the guest holds on to it.
    async fn remove_disk(&self, serial: &str) -> Result<()>;

    /// Plugs a network card in.
    ///
    /// # Errors
    /// If the address is taken or no place is left.
    async fn add_nic(&self, nic: Nic) -> Result<()>;

    /// Takes a network card out; returns when the guest has let it go.
    ///
    /// # Errors
    /// If there is none, or the guest holds on to it.
    async fn remove_nic(&self, mac: MacAddr) -> Result<()>;

    /// Has the guest's console written to this file from now on: for a machine that was started without
    /// one.
    ///
    /// # Errors
    /// If it can't be made.
    fn log_console(&self, path: &Path) -> Result<()>;

    /// Stops the machine's CPUs.
    ///
    /// # Errors
    /// If it has ended.
    async fn pause(&self) -> Result<()>;

    /// Lets them go on.
    ///
    /// # Errors
    /// If it has ended.
    async fn resume(&self) -> Result<()>;

    /// Has the guest get along with so many bytes. Of less than the shape's memory the rest goes back
    /// to the host, as soon as the guest gives it; of more, up to [`crate::ROOM`] more, this returns
    /// when the guest uses it.
    ///
    /// # Errors
    /// If that is more than it can have, or the guest doesn't take it.
    async fn set_memory(&self, bytes: u64) -> Result<()>;

    /// Gives back memory that the VMM holds to be fast, for a machine that idles: what it needs of it
    /// again it makes again, which takes the guest longer than it took lately. For some milliseconds the
    /// machine stands still, and its clock with it. Whether there was enough to give back; never of a
    /// machine that is paused.
    ///
    /// # Errors
    /// [`crate::Error::Unsupported`] if it can't, now and later; any other if it failed this time.
    async fn shed(&self) -> Result<bool> {
        Ok(false)
    }

    /// Makes a writable disk's image, and the disk, this large. Never smaller.
    ///
    /// # Errors
    /// If there is no such disk, it is read-only, or the image is larger.
    async fn resize_disk(&self, serial: &str, bytes: u64) -> Result<()>;

    /// Makes a template of the machine, which ends by it: for a machine with
    /// [`MachineSpec::template`] set, and nothing plugged in.
    ///
    /// # Errors
    /// If the machine isn't for that. The directory has a whole template or is untouched.
    async fn snapshot(&self, dir: &Path) -> Result<Template>;

    /// Ends the machine at once; returns when it has ended.
    ///
    /// # Errors
    /// If it can't be killed.
    async fn kill(&self) -> Result<()>;

    /// Waits until the machine has ended. Any number of times, and by any number of callers.
    async fn wait(&self) -> Exit;
}

/// How a machine ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exit {
    /// Why.
    pub end: End,
    /// The last that the VMM wrote to its standard error: at most 4 KiB.
    pub stderr: String,
}

/// Why a machine ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The guest powered itself off.
    PowerOff,
    /// The guest rebooted, which machines don't do. With `panic=-1` that is a kernel's panic.
    Reboot,
    /// It was killed by its owner, or ended by a snapshot.
    Killed,
    /// The VMM died of a signal: killed by somebody else (out of memory), or a fault.
    Signal(i32),
    /// The VMM gave up, with this exit code.
    Failed(i32),
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.end {
            End::PowerOff => f.write_str("the guest powered off")?,
            End::Reboot => f.write_str("the guest rebooted or its kernel panicked")?,
            End::Killed => f.write_str("killed")?,
            End::Signal(signal) => write!(f, "the VMM died of signal {signal}")?,
            End::Failed(code) => write!(f, "the VMM exited with status {code}")?,
        }
        match self.stderr.trim_end() {
            "" => Ok(()),
            words => write!(f, ": {words}"),
        }
    }
}
