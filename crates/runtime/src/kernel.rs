//! Guest kernels: what virtual machines boot.

use jiff::Timestamp;

use crate::serde_util::wire;

/// An installed kernel.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Kernel {
    /// Name.
    pub name: String,
    /// Whether machines that name none boot it.
    pub default: bool,
    /// As the guest's `uname -r` has it.
    pub release: String,
    /// As `uname -m` has it.
    pub arch: String,
    /// How it is booted: `pvh`, `bzimage`, `image`.
    pub format: String,
    /// The image on the host.
    pub image: String,
    /// Bytes of the image.
    pub size: u64,
    /// `sha256:…` of image and modules.
    pub digest: String,
    /// Modules that the guest loads, in this order.
    pub modules: Vec<KernelModule>,
    /// What it was built with: a file on the host; empty where not known.
    pub config: String,
    /// The file or folder that it came from.
    pub source: String,
    /// When it was installed.
    pub installed: Timestamp,
}

/// A kernel's module.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KernelModule {
    /// Name.
    pub name: String,
    /// Bytes.
    pub size: u64,
    /// `sha256:…`.
    pub digest: String,
}

wire! {
    /// A kernel to install.
    pub struct KernelSpec {
        /// Name; empty means its release.
        pub name: String,
        /// What is at the path: `package` (Debian's), `file` (an image), `built` (a folder that
        /// `kernel/build` made); empty means that it is found out.
        pub kind: String,
        /// Absolute path on the runtime's host.
        pub path: String,
        /// Modules to be loaded beyond those that every guest needs; only of a package.
        pub modules: Vec<String>,
    }
}
