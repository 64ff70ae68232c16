//! The engine as a whole, and guest kernels, which only our own have.

use std::collections::HashMap;

use coracle_native::kernel::{Kernel as KernelTold, KernelInstall};
use coracle_runtime::Result;
use coracle_runtime::kernel::{Kernel, KernelModule, KernelSpec};
use coracle_runtime::system::{DiskUsage, Info, MachineTemplate, RootDisk, Version};

use crate::convert::container::image_id;
use crate::convert::system as convert;
use crate::error::About;
use crate::names;
use crate::runtime::Bridge;

impl Bridge {
    pub(crate) async fn version(&self) -> Result<Version> {
        let told = self.ask(About::Thing, self.client.version()).await?;
        Ok(convert::version(told))
    }

    pub(crate) async fn info(&self) -> Result<Info> {
        let told = self.ask(About::Thing, self.client.info()).await?;
        Ok(convert::info(told))
    }

    /// What the engine counted, with all there is to say of each.
    pub(crate) async fn disk_usage(&self) -> Result<DiskUsage> {
        let told = self.ask(About::Thing, self.client.disk_usage()).await?;
        let mut images = self.list_images(false).await?;
        let counted: HashMap<_, _> = told
            .images
            .unwrap_or_default()
            .into_iter()
            .map(|image| (image_id(image.id), (image.shared_size, image.containers)))
            .collect();
        for image in &mut images {
            let (shared, containers) = counted.get(&image.id).copied().unwrap_or_default();
            image.shared_size = Some(u64::try_from(shared).unwrap_or(0));
            if let Ok(containers) = u64::try_from(containers) {
                image.containers = containers.max(image.containers);
            }
        }
        Ok(DiskUsage {
            layers_size: told.layers_size,
            images,
            containers: self.list_containers(true).await?,
            volumes: told
                .volumes
                .unwrap_or_default()
                .into_iter()
                .map(convert::volume)
                .collect(),
            templates: (told.templates.into_iter())
                .map(|template| MachineTemplate {
                    name: template.name,
                    size: template.size,
                    in_use: template.in_use,
                })
                .collect(),
            root_disks: (told.root_disks.into_iter())
                .map(|disk| RootDisk {
                    name: disk.name,
                    size: disk.size,
                    in_use: disk.in_use,
                })
                .collect(),
        })
    }

    pub(crate) async fn list_kernels(&self) -> Result<Vec<Kernel>> {
        self.can(self.engine.capabilities.kernels, "kernel list")?;
        let native = self.client.native();
        let kernels = self.ask(About::Thing, native.kernels()).await?;
        Ok(kernels.into_iter().map(kernel).collect())
    }

    pub(crate) async fn inspect_kernel(&self, name: &str) -> Result<Kernel> {
        self.can(self.engine.capabilities.kernels, "kernel inspect")?;
        let native = self.client.native();
        let asking = native.kernel(kernel_name(name)?);
        let found = self.ask(About::Thing, asking).await?;
        Ok(kernel(found))
    }

    pub(crate) async fn install_kernel(&self, spec: KernelSpec) -> Result<Kernel> {
        self.can(self.engine.capabilities.kernels, "kernel install")?;
        let native = self.client.native();
        let spec = KernelInstall {
            path: spec.path,
            name: spec.name,
            kind: spec.kind,
            modules: spec.modules,
        };
        let installing = native.install_kernel(&spec);
        Ok(kernel(self.change(About::Name, installing).await?))
    }

    pub(crate) async fn set_default_kernel(&self, name: &str) -> Result<()> {
        self.can(self.engine.capabilities.kernels, "kernel set")?;
        let native = self.client.native();
        let setting = native.set_default_kernel(name);
        self.change(About::Thing, setting).await
    }

    pub(crate) async fn remove_kernel(&self, name: &str) -> Result<()> {
        self.can(self.engine.capabilities.kernels, "kernel remove")?;
        let native = self.client.native();
        let removing = native.remove_kernel(kernel_name(name)?);
        self.change(About::Thing, removing).await
    }
}

/// Kernels' names are parts of paths too.
fn kernel_name(name: &str) -> Result<&str> {
    names::container(name)
        .map_err(|_| coracle_runtime::RuntimeError::NotFound(format!("No such kernel: {name}")))
}

fn kernel(told: KernelTold) -> Kernel {
    let modules = told.modules.into_iter().map(|module| KernelModule {
        name: module.name,
        size: module.size,
        digest: module.digest,
    });
    Kernel {
        name: told.name,
        default: told.default,
        release: told.release,
        arch: told.architecture,
        format: told.format,
        image: told.image,
        size: told.size,
        digest: told.digest,
        modules: modules.collect(),
        config: told.config,
        source: told.source,
        installed: told.installed_at,
    }
}
