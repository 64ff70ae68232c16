//! QEMU behind the [`Vmm`] trait.

mod arch;
mod code;
mod command;
mod launch;
mod logs;
mod machine;
mod memory;
mod nbd;
mod plug;
mod qmp;
mod snapshot;

use std::path::{Path, PathBuf};
use std::process::Stdio;

use async_trait::async_trait;

use crate::error::{Error, Result};
use crate::key::Key;
use crate::machine::{Machine, Vmm};
use crate::qemu::arch::Board;
use crate::spec::{Accelerator, Arch, MachineSpec, Shape};
use crate::template::{FORMAT, Template};

/// One of QEMU's programs, each of which has the machines of one architecture.
#[derive(Debug, Clone)]
pub struct Qemu {
    program: PathBuf,
}

impl Qemu {
    /// The one for machines of an architecture that is found on `PATH`.
    ///
    /// # Errors
    /// [`Error::NotInstalled`].
    pub fn discover(arch: Arch) -> Result<Qemu> {
        let name = Board::of(arch).program;
        let path = std::env::var_os("PATH").unwrap_or_else(|| "/usr/bin:/bin".into());
        std::env::split_paths(&path)
            .filter(|dir| dir.is_absolute())
            .find_map(|dir| Qemu::at(&dir.join(name)).ok())
            .ok_or_else(|| Error::NotInstalled(name.into()))
    }

    /// The one at a path.
    ///
    /// # Errors
    /// [`Error::NotInstalled`] if there is no such program.
    pub fn at(path: &Path) -> Result<Qemu> {
        // Where it really is: the VMM's own root has no links but the system's.
        let program = std::fs::canonicalize(path)
            .ok()
            .filter(|path| {
                path.is_file() && rustix::fs::access(path, rustix::fs::Access::EXEC_OK).is_ok()
            })
            .ok_or_else(|| Error::NotInstalled(path.display().to_string()))?;
        Ok(Qemu { program })
    }

    /// Where it is.
    #[must_use]
    pub fn program(&self) -> &Path {
        &self.program
    }
}

#[async_trait]
impl Vmm for Qemu {
    async fn version(&self) -> Result<String> {
        let program = self.program.clone();
        let output = tokio::task::spawn_blocking(move || {
            std::process::Command::new(program)
                .arg("--version")
                .stdin(Stdio::null())
                .stderr(Stdio::null())
                .output()
        })
        .await
        .map_err(|error| Error::Start(error.to_string()))?
        .map_err(Error::io(format!("running {}", self.program.display())))?;
        let text = String::from_utf8_lossy(&output.stdout);
        let line: String = text
            .lines()
            .next()
            .unwrap_or_default()
            .chars()
            .take(200)
            .collect();
        if line.is_empty() || !output.status.success() {
            return Err(Error::Start(format!(
                "{} doesn't tell its version",
                self.program.display()
            )));
        }
        Ok(line)
    }

    fn identity(&self) -> Result<String> {
        let mut key = Key::new();
        key.file(&self.program)?;
        Ok(key.finish())
    }

    fn accelerators(&self) -> &'static [Accelerator] {
        &[Accelerator::Kvm, Accelerator::Tcg]
    }

    fn console(&self, arch: Arch) -> &'static str {
        Board::of(arch).console
    }

    async fn boot(&self, spec: MachineSpec) -> Result<Box<dyn Machine>> {
        launch::launch(self, spec, None).await
    }

    async fn clone_from(&self, template: &Template, spec: MachineSpec) -> Result<Box<dyn Machine>> {
        launch::launch(self, spec, Some(template)).await
    }

    fn key(&self, shape: &Shape) -> Result<String> {
        shape.check()?;
        let mut key = Key::new();
        key.text(&format!("coracle template {FORMAT}"));
        key.file(&self.program)?;
        key.file(&shape.kernel)?;
        key.file(&shape.initrd)?;
        for part in [shape.kernel_args.clone(), command::shape(shape)] {
            key.text(&part.len().to_string());
            part.iter().for_each(|arg| key.text(arg));
        }
        Ok(key.finish())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_follows_everything_that_shapes_a_machine() {
        let dir = tempfile::tempdir().unwrap();
        let (kernel, initrd) = (dir.path().join("k"), dir.path().join("i"));
        std::fs::write(&kernel, "kernel").unwrap();
        std::fs::write(&initrd, "initrd").unwrap();
        let qemu = Qemu::at(&std::env::current_exe().unwrap()).unwrap();
        let shape = Shape {
            arch: Arch::HOST,
            kernel: kernel.clone(),
            initrd,
            kernel_args: vec!["a".into(), "b".into()],
            cpus: 1,
            memory: 64 << 20,
            accelerator: Accelerator::Tcg,
            code_cache: crate::CODE_CACHE,
        };
        let key = qemu.key(&shape).unwrap();
        assert_eq!(key, qemu.key(&shape.clone()).unwrap());
        let changed = |change: fn(&mut Shape)| {
            let mut other = shape.clone();
            change(&mut other);
            qemu.key(&other).unwrap()
        };
        for other in [
            changed(|shape| shape.arch = Arch::Aarch64),
            changed(|shape| shape.cpus = 2),
            changed(|shape| shape.memory *= 2),
            changed(|shape| shape.kernel_args = vec!["ab".into()]),
            changed(|shape| shape.accelerator = Accelerator::Kvm),
            changed(|shape| shape.kernel = shape.initrd.clone()),
        ] {
            assert_ne!(key, other);
        }
        std::fs::write(&kernel, "another kernel").unwrap();
        assert_ne!(key, qemu.key(&shape).unwrap());
        std::fs::remove_file(&kernel).unwrap();
        assert!(qemu.key(&shape).is_err());
    }

    #[test]
    fn a_program_that_is_not_there_is_told() {
        let error = Qemu::at(Path::new("/nonexistent/qemu")).unwrap_err();
        assert!(matches!(error, Error::NotInstalled(_)));
    }
}
