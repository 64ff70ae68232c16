//! Taps: the interfaces of machines, whose packets a process reads and writes.
//!
//! A tap of ours is persistent: it is made with its network, waits on its bridge for the process
//! that is the machine's other side, and outlives it. Packets carry the header of virtio
//! (`IFF_VNET_HDR`), so that checksums and segments are left to whoever can do them cheaply.
#![allow(unsafe_code)]

use std::ffi::c_int;
use std::io;
use std::os::fd::OwnedFd;
use std::thread;
use std::time::Duration;

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::ioctl::{Opcode, Updater, ioctl, opcode};

use crate::error::{Error, Result};
use crate::ifname::check_ifname;

// <linux/if_tun.h>
const TUNSETIFF: Opcode = opcode::write::<c_int>(b'T', 202);
const TUNGETIFF: Opcode = opcode::read::<c_int>(b'T', 210);
const IFF_TAP: u16 = 0x0002;
const IFF_NO_PI: u16 = 0x1000;
const IFF_VNET_HDR: u16 = 0x4000;
const IFF_PERSIST: u16 = 0x0800;
const KIND: u16 = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR;

/// A process that the maker of the tap has just started shares its descriptors until it executes
/// its program: this often, and at these intervals, a tap that is in use is tried again.
const ATTEMPTS: usize = 50;
const INTERVAL: Duration = Duration::from_millis(2);

const IFNAMSIZ: usize = 16;

/// `struct ifreq` where it is longest.
#[repr(C)]
struct Request {
    name: [u8; IFNAMSIZ],
    flags: u16,
    rest: [u8; 22],
}

impl Request {
    fn new(name: &str, flags: u16) -> Self {
        let mut bytes = [0; IFNAMSIZ];
        for (to, from) in bytes[..IFNAMSIZ - 1].iter_mut().zip(name.bytes()) {
            *to = from;
        }
        Self {
            name: bytes,
            flags,
            rest: [0; 22],
        }
    }
}

/// Opens the tap of this name in the calling thread's network namespace: what a machine's virtual
/// card is to read and write, each packet after a `virtio_net_hdr` of 10 bytes. The descriptor
/// blocks, and is closed on exec.
///
/// # Errors
/// `Invalid` if it is no name, `Tap` if there is no such tap (none is made), or if another process
/// has it open.
pub fn open(name: &str) -> Result<OwnedFd> {
    check_ifname(name)?;
    let open = || -> io::Result<OwnedFd> {
        let mut attempts = 1;
        let tap = loop {
            match attach(name, KIND) {
                Err(e) if e.kind() == io::ErrorKind::ResourceBusy && attempts < ATTEMPTS => {
                    attempts += 1;
                    thread::sleep(INTERVAL);
                }
                result => break result?,
            }
        };
        let mut request = Request::new("", 0);
        // SAFETY: the kernel writes a `struct ifreq`, which `Request` is no shorter than.
        unsafe { ioctl(&tap, Updater::<TUNGETIFF, Request>::new(&mut request)) }?;
        if request.flags & IFF_PERSIST == 0 {
            // The kernel has just made it, and removes it as the descriptor is closed.
            return Err(io::Error::new(
                io::ErrorKind::NotFound,
                "no such interface: attach the machine to its network first",
            ));
        }
        Ok(tap)
    };
    open().map_err(|source| Error::Tap {
        name: name.to_owned(),
        source,
    })
}

/// Opens the tap of this name, or makes one that lives as long as the descriptor.
fn attach(name: &str, flags: u16) -> io::Result<OwnedFd> {
    let open = OFlags::RDWR | OFlags::CLOEXEC;
    let tap = match rustix::fs::open("/dev/net/tun", open, Mode::empty()) {
        Err(Errno::NOENT | Errno::NODEV) => Err(io::Error::new(
            io::ErrorKind::NotFound,
            "no /dev/net/tun: load the kernel module tun",
        )),
        result => Ok(result?),
    }?;
    let mut request = Request::new(name, flags);
    // SAFETY: the kernel reads and writes a `struct ifreq`, which `Request` is no shorter than.
    match unsafe { ioctl(&tap, Updater::<TUNSETIFF, Request>::new(&mut request)) } {
        Err(Errno::BUSY) => Err(io::Error::new(
            io::ErrorKind::ResourceBusy,
            "another process has it",
        )),
        Err(Errno::INVAL) => Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "an interface of this name is there, but it is no tap",
        )),
        Err(e) => Err(e.into()),
        Ok(()) => Ok(tap),
    }
}

#[cfg(feature = "manage")]
pub use make::alone;
#[cfg(feature = "manage")]
pub(crate) use make::{make, persist};

#[cfg(feature = "manage")]
mod make {
    use std::os::fd::AsFd;

    use rustix::ioctl::IntegerSetter;

    use super::*;
    use crate::endpoint::TapOwner;

    const TUNSETPERSIST: Opcode = opcode::write::<c_int>(b'T', 203);
    const TUNSETOWNER: Opcode = opcode::write::<c_int>(b'T', 204);
    const TUNSETGROUP: Opcode = opcode::write::<c_int>(b'T', 206);
    /// Refuses a name that is taken.
    const IFF_TUN_EXCL: u16 = 0x8000;

    /// A tap like those that [`open`] opens, alone in a network namespace of its own: whatever is sent
    /// there is lost. Both go with the descriptor.
    ///
    /// # Errors
    /// `Tap`, if it can't be made.
    pub fn alone() -> Result<OwnedFd> {
        let make = || {
            crate::sys::unshare_net()?;
            attach("tap0", KIND)
        };
        // Its namespace is the thread's, which ends with this.
        let made = thread::Builder::new()
            .stack_size(64 << 10)
            .spawn(make)
            .and_then(|made| {
                made.join()
                    .unwrap_or_else(|_| Err(io::Error::other("the thread that makes it ended")))
            });
        made.map_err(|source| Error::Tap {
            name: "tap0".to_owned(),
            source,
        })
    }

    /// Makes a tap, which goes with its descriptor until it is [`persist`]ed.
    pub(crate) fn make(name: &str, owner: TapOwner) -> io::Result<OwnedFd> {
        let tap = attach(name, KIND | IFF_TUN_EXCL)?;
        if let Some(uid) = owner.uid {
            set::<TUNSETOWNER>(&tap, uid)?;
        }
        if let Some(gid) = owner.gid {
            set::<TUNSETGROUP>(&tap, gid)?;
        }
        Ok(tap)
    }

    /// Has a tap outlive its descriptor.
    pub(crate) fn persist(tap: OwnedFd) -> io::Result<()> {
        set::<TUNSETPERSIST>(tap, 1)
    }

    fn set<const OPCODE: Opcode>(tap: impl AsFd, value: u32) -> io::Result<()> {
        let value = usize::try_from(value).map_err(io::Error::other)?;
        // SAFETY: these requests take a number, and refuse one that they can't use.
        unsafe { ioctl(tap, IntegerSetter::<OPCODE>::new_usize(value)) }.map_err(io::Error::from)
    }
}
