//! Virtual machines: what starts, copies, changes and ends them.
//!
//! [`Vmm`] and [`Machine`] are the seam; [`Qemu`] is behind it. A machine is either booted from a
//! kernel, or it is a clone of a [`Template`]: a booted machine's memory and device state, kept in a
//! directory, that costs a tenth of a boot to continue.
//!
//! # What it must not know
//! Containers, images, and what the guest's agent says: a machine has one byte stream to whatever
//! listens in the guest, and that is all. Whether a guest is "ready" is asked of the caller.
//!
//! # Invariants
//! - No machine outlives the process that started it, nor its [`Machine`]: dropping it kills it.
//! - Clones never change their template: its memory reaches them as a read-only descriptor.
//! - A damaged template or one of another shape is refused ([`Error::Template`]), never used.
//! - The VMM's process holds no descriptor, path or privilege that its machine doesn't need. What
//!   of its confinement could not be had here is told by [`Machine::warnings`].
//! - The VMM has no network. To a server whose disk is plugged in its caller's process connects.
//! - Nothing is left on the host: no socket, no file, no process. Only what the caller named (the
//!   console's file, a template's directory) is written.
//! - Everything that the VMM says is bounded, and is checked like any stranger's word.
//!
//! Whoever starts machines has its VMM from [`open`], and knows the traits only: another VMM is added
//! here, and nowhere else.
//!
//! Programs that start machines must call [`run_if_helper`] first in `main`.

#![deny(unsafe_code)]

#[cfg(feature = "conformance")]
pub mod conformance;
mod error;
mod helper;
mod key;
mod machine;
mod probe;
mod qemu;
mod spawn;
mod spec;
mod sys;
mod template;
mod trace;

pub use coracle_nbd::Uri as NbdUri;
pub use error::{Error, Result};
pub use helper::run_if_helper;
pub use machine::{End, Exit, Machine, Vmm};
pub use probe::{Choice, Ready, choose};
pub use qemu::Qemu;
pub use spec::{
    Accelerator, Arch, CODE_CACHE, Disk, Generation, MacAddr, MachineSpec, Nic, ROOM, Shape, Slot,
    Source,
};
pub use template::{FORMAT, Template};

/// The VMM whose program this is.
///
/// # Errors
/// [`Error::NotInstalled`] if there is no such program.
pub fn open(program: &std::path::Path) -> Result<Box<dyn Vmm>> {
    Ok(Box::new(Qemu::at(program)?))
}
