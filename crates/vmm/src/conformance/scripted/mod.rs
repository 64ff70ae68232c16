//! A VMM of nothing: machines without a guest, which do what the suite's guest would.
//!
//! It passes the suite, but for disks of servers, so the suite asks for nothing that is QEMU's; and it
//! shows what another VMM has to bring. A machine's process is a `sleep`; users, control groups and
//! confinement are not for it.

mod guest;
mod machine;

use std::fs;
use std::path::Path;

use async_trait::async_trait;

use super::Guest;
use crate::error::{Error, Result};
use crate::key::Key;
use crate::machine::{Machine, Vmm};
use crate::spec::{Accelerator, Arch, MachineSpec, Shape};
use crate::template::Template;

/// What its kernels begin with.
const KERNEL: &[u8] = b"scripted kernel";

/// What its templates have in place of the devices' state.
const STATE: &[u8] = b"scripted state";

/// The VMM.
#[derive(Debug, Clone, Copy, Default)]
pub struct Scripted;

impl Scripted {
    /// A guest for it, made in a directory.
    ///
    /// # Errors
    /// If it can't be written.
    pub fn guest(dir: &Path) -> std::io::Result<Guest> {
        let (kernel, initrd) = (dir.join("scripted-kernel"), dir.join("scripted-initrd"));
        fs::write(&kernel, KERNEL)?;
        fs::write(&initrd, "")?;
        Ok(Guest::of(Arch::HOST, kernel, initrd))
    }
}

#[async_trait]
impl Vmm for Scripted {
    async fn boot(&self, spec: MachineSpec) -> Result<Box<dyn Machine>> {
        spec.check()?;
        let kernel = fs::read(&spec.shape.kernel).map_err(Error::io("reading the kernel"))?;
        if !kernel.starts_with(KERNEL) {
            return Err(Error::Ended("it is no kernel".into()));
        }
        let key = self.key(&spec.shape)?;
        Ok(Box::new(machine::Scripted::start(spec, key).await?))
    }

    async fn clone_from(&self, template: &Template, spec: MachineSpec) -> Result<Box<dyn Machine>> {
        spec.check()?;
        let key = self.key(&spec.shape)?;
        if key != template.key() {
            return Err(Error::template(template.dir(), "it is of another shape"));
        }
        if spec.template {
            return Err(Error::Invalid("a clone makes no template".into()));
        }
        let (_ram, state) = template.open_files()?;
        let state = std::io::read_to_string(fs::File::from(state));
        if !matches!(state, Ok(state) if state.as_bytes() == STATE) {
            return Err(Error::Ended("the template's state is none".into()));
        }
        Ok(Box::new(machine::Scripted::start(spec, key).await?))
    }

    async fn version(&self) -> Result<String> {
        Ok("scripted".into())
    }

    fn identity(&self) -> Result<String> {
        Ok("scripted".into())
    }

    fn accelerators(&self) -> &'static [Accelerator] {
        &[Accelerator::Tcg]
    }

    fn console(&self, _: Arch) -> &'static str {
        "hvc0"
    }

    fn key(&self, shape: &Shape) -> Result<String> {
        shape.check()?;
        let mut key = Key::new();
        key.file(&shape.kernel)?;
        key.file(&shape.initrd)?;
        shape.kernel_args.iter().for_each(|arg| key.text(arg));
        key.text(&format!("{} {} {}", shape.arch, shape.cpus, shape.memory));
        Ok(key.finish())
    }
}
