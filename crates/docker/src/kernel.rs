//! Guest kernels. Not of Docker's API: below `/api/v1`, in Docker's style.

use crate::time::Seconds;
use crate::wire::wire;

pub use coracle_runtime::kernel::KernelSpec as KernelInstallBody;

wire! {
    /// A kernel, in lists and inspect.
    pub struct KernelInspect {
        /// Name.
        pub name: String,
        /// Whether machines that name none boot it.
        pub default: bool,
        /// As the guest's `uname -r` has it.
        pub release: String,
        /// As `uname -m` has it.
        pub architecture: String,
        /// How it is booted: `pvh`, `bzimage`, `image`.
        pub format: String,
        /// The image on the host.
        pub image: String,
        /// Bytes of the image.
        pub size: u64,
        /// Of image and modules.
        pub digest: String,
        /// In the order of loading.
        pub modules: Vec<KernelModule>,
        /// What it was built with: a file on the host; empty where not known.
        pub config: String,
        /// Where it came from.
        pub source: String,
        /// When it was installed.
        pub installed_at: Seconds,
    }

    /// A kernel's module.
    pub struct KernelModule {
        /// Name.
        pub name: String,
        /// Bytes.
        pub size: u64,
        /// Of the file.
        pub digest: String,
    }

    /// The body of `PUT /api/v1/kernels/default`.
    pub struct KernelDefaultBody {
        /// Name.
        pub name: String,
    }
}
