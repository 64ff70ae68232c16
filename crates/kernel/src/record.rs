//! A kernel, as its directory describes it.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::digest::Digester;
use crate::error::{Error, Result};
use crate::image::{Arch, Format};

/// The version of `kernel.json`.
const VERSION: u32 = 1;

/// The most bytes of `kernel.json`.
pub(crate) const MAX_RECORD: u64 = 4 << 20;

/// Names in a kernel's directory.
pub(crate) const RECORD: &str = "kernel.json";
pub(crate) const IMAGE: &str = "vmlinux";
pub(crate) const CONFIG: &str = "config";
pub(crate) const MODULES: &str = "modules";

/// A kernel module.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Module {
    /// Its name, with `_` where the file may have `-`.
    pub name: String,
    /// Bytes.
    pub size: u64,
    /// `sha256:…` of its file.
    pub digest: String,
}

/// What `kernel.json` has.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Record {
    pub(crate) version: u32,
    pub(crate) release: String,
    pub(crate) arch: Arch,
    pub(crate) format: Format,
    pub(crate) size: u64,
    pub(crate) image_digest: String,
    pub(crate) source: String,
    /// Seconds since 1970.
    pub(crate) installed: u64,
    pub(crate) config: bool,
    /// In the order of loading.
    pub(crate) modules: Vec<Module>,
}

impl Record {
    pub(crate) const VERSION: u32 = VERSION;

    /// Of image and modules, in their order.
    fn digest(&self) -> String {
        let mut digester = Digester::new();
        digester.update(self.image_digest.as_bytes());
        digester.update(self.modules_digest().as_bytes());
        digester.finish()
    }

    fn modules_digest(&self) -> String {
        let mut digester = Digester::new();
        for module in &self.modules {
            digester.update(format!("{} {}\n", module.name, module.digest).as_bytes());
        }
        digester.finish()
    }

    /// The kernel in `directory`.
    pub(crate) fn into_kernel(self, name: &str, directory: &Path) -> Result<Kernel> {
        let damaged = |reason: &str| Error::Damaged {
            name: name.to_owned(),
            reason: reason.to_owned(),
        };
        if self.version != VERSION {
            return Err(damaged("it was written by another version"));
        }
        let image = directory.join(IMAGE);
        let size = image.metadata().map_err(|_| damaged("its image is gone"))?;
        if size.len() != self.size {
            return Err(damaged("its image has another size"));
        }
        let mut modules = Vec::with_capacity(self.modules.len());
        for (index, module) in self.modules.iter().enumerate() {
            // They become paths.
            let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
            if !module.name.bytes().all(plain) {
                return Err(damaged("a module's name is not one"));
            }
            modules.push(directory.join(MODULES).join(file_name(index, &module.name)));
        }
        Ok(Kernel {
            name: name.to_owned(),
            image,
            format: self.format,
            release: self.release.clone(),
            arch: self.arch,
            size: self.size,
            modules,
            digest: self.digest(),
            modules_digest: self.modules_digest(),
            config: self.config.then(|| directory.join(CONFIG)),
            source: self.source,
            installed: self.installed,
            listed: self.modules,
        })
    }
}

/// A module's file, by its place in the order of loading.
pub(crate) fn file_name(index: usize, name: &str) -> String {
    format!("{index:03}-{name}.ko")
}

/// An installed kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kernel {
    /// What it is called here.
    pub name: String,
    /// The image's file.
    pub image: PathBuf,
    /// How it is booted.
    pub format: Format,
    /// As `uname -r` has it.
    pub release: String,
    /// The machine it is for.
    pub arch: Arch,
    /// Bytes of the image.
    pub size: u64,
    /// The modules' files in the order of loading; none where all is built in.
    pub modules: Vec<PathBuf>,
    /// `sha256:…` of image and modules.
    pub digest: String,
    /// What it was built with: the file, where that is known.
    pub config: Option<PathBuf>,
    /// The file or folder it came from.
    pub source: String,
    /// When it was installed, in seconds since 1970.
    pub installed: u64,
    /// The modules, as [`modules`](Kernel::modules) has their files.
    pub listed: Vec<Module>,
    pub(crate) modules_digest: String,
}
