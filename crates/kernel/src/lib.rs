//! Guest kernels and initial RAM disks.
//!
//! # What it owns
//! - [`KernelStore`]: the kernels that virtual machines boot, each in a directory of its own with
//!   the modules that a guest needs, and which of them is the default.
//! - Taking kernels in: from a Debian package ([`Source::Package`]), a file ([`Source::File`]: an ELF
//!   `vmlinux`, a bzImage, an arm64 Image), or what `kernel/build` made ([`Source::Built`]).
//! - [`write_initrd`]: the initial RAM disk around a static init, and its cache.
//!
//! # What it must not know
//! Containers, machines, QEMU, the agent. The `Runtime` trait's types only in [`face`], behind the
//! feature `runtime`. It is synchronous: callers bring their own thread.
//!
//! # Invariants
//! - Packages and images are hostile: bounded, checked, refused with a typed [`Error`]; nothing half
//!   made is left, and a kernel under its name is whole and on disk, whatever is killed.
//! - One process works on a store at a time; what a dead one left is removed when it is opened.
//! - A kernel is never changed once it is there. Its files may be opened at any time.
//! - The same init and modules give the same initial RAM disk, byte for byte.

#![forbid(unsafe_code)]

mod ar;
mod bzimage;
mod config;
mod cpio;
mod decompress;
mod digest;
mod durable;
mod elf;
mod error;
#[cfg(feature = "runtime")]
pub mod face;
mod image;
mod initrd;
mod install;
mod modules;
mod name;
mod package;
mod record;
#[cfg(any(test, feature = "sample"))]
#[doc(hidden)]
pub mod sample;
mod store;

pub use config::lacking;
pub use error::{Error, Result};
pub use image::{Arch, Format, Image};
pub use initrd::write_initrd;
pub use install::{Install, Source};
pub use package::Package;
pub use record::{Kernel, Module};
pub use store::KernelStore;
