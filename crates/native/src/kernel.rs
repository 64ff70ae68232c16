//! Guest kernels: what virtual machines boot.

use coracle_runtime::kernel as domain;
use jiff::Timestamp;

use crate::wire::{answer, body};

answer! {
    /// An installed kernel.
    pub struct Kernel {
        /// Name.
        name: String,
        /// Whether machines that name none boot it.
        default: bool,
        /// As the guest's `uname -r` has it.
        release: String,
        /// As `uname -m` has it.
        architecture: String,
        /// How it is booted: `pvh`, `bzimage`, `image`.
        format: String,
        /// The image on the host.
        image: String,
        /// Bytes of the image.
        size: u64,
        /// `sha256:…` of image and modules.
        digest: String,
        /// In the order of loading.
        modules: Vec<KernelModule>,
        /// What it was built with: a file on the host; empty where not known.
        config: String,
        /// The file or folder that it came from.
        source: String,
        /// When it was installed.
        installed_at: Timestamp,
    }

    /// A kernel's module.
    pub struct KernelModule {
        /// Name.
        name: String,
        /// Bytes.
        size: u64,
        /// `sha256:…` of the file.
        digest: String,
    }
}

body! {
    /// A kernel to install from the daemon's host.
    pub struct KernelInstall {
        /// Absolute path on the daemon's host.
        path: String,
        ; // What may be left out:
        /// Name; its release where there is none.
        name: String,
        /// What is at the path: `package` (Debian's), `file` (an image), `built` (a folder that
        /// `kernel/build` made); found out where not given.
        kind: String,
        /// Modules to be loaded beyond those that every guest needs; only of a package.
        modules: Vec<String>,
    }

    /// The kernel that is to be the default.
    pub struct KernelDefault {
        /// Name.
        name: String,
        ; // What may be left out:
    }
}

impl From<domain::Kernel> for Kernel {
    fn from(kernel: domain::Kernel) -> Self {
        let modules = kernel.modules.into_iter().map(|module| KernelModule {
            name: module.name,
            size: module.size,
            digest: module.digest,
        });
        Self {
            name: kernel.name,
            default: kernel.default,
            release: kernel.release,
            architecture: kernel.arch,
            format: kernel.format,
            image: kernel.image,
            size: kernel.size,
            digest: kernel.digest,
            modules: modules.collect(),
            config: kernel.config,
            source: kernel.source,
            installed_at: kernel.installed,
        }
    }
}

impl From<KernelInstall> for domain::KernelSpec {
    fn from(body: KernelInstall) -> Self {
        Self {
            name: body.name,
            kind: body.kind,
            path: body.path,
            modules: body.modules,
        }
    }
}
