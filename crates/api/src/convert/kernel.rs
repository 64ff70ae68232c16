//! Guest kernels.

use coracle_docker::kernel::{KernelInspect, KernelModule};
use coracle_docker::time::Seconds;
use coracle_runtime::kernel::Kernel;

pub(crate) fn inspect(kernel: Kernel) -> KernelInspect {
    let modules = kernel.modules.into_iter().map(|module| KernelModule {
        name: module.name,
        size: module.size,
        digest: module.digest,
    });
    KernelInspect {
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
        installed_at: Seconds(Some(kernel.installed)),
    }
}
