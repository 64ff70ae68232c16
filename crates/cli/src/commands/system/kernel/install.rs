//! `system kernel install`.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use coracle_native::kernel::KernelInstall;

use crate::app::Run;
use crate::context::Context;
use crate::error::{Error, Result};
use crate::output::print;

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Kind {
    /// A Debian package, linux-image-VERSION
    Package,
    /// An image: vmlinux, bzImage, or arm64's Image
    File,
    /// A folder that kernel/build made
    Built,
}

impl Kind {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Package => "package",
            Self::File => "file",
            Self::Built => "built",
        }
    }
}

#[derive(Args, Debug)]
pub(crate) struct InstallArgs {
    /// Name; its release where there is none
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// What is at the path; found out where not given
    #[arg(long = "type", value_name = "KIND")]
    kind: Option<Kind>,
    /// Load this module too, of a package
    #[arg(long, value_name = "MODULE")]
    module: Vec<String>,
    /// Make it the default
    #[arg(long)]
    default: bool,
    /// Package, image or folder on the daemon's host
    #[arg(value_name = "PATH")]
    path: PathBuf,
}

impl Run for InstallArgs {
    async fn run(self, context: &Context) -> Result<u8> {
        let path = std::path::absolute(&self.path)
            .ok()
            .and_then(|path| path.into_os_string().into_string().ok());
        let shown = self.path.display().to_string();
        let path = path.ok_or_else(|| Error::option("PATH", &shown, "want a path in UTF-8"))?;
        let body = KernelInstall {
            name: self.name.unwrap_or_default(),
            kind: self.kind.map(Kind::as_str).unwrap_or_default().to_owned(),
            path,
            modules: self.module,
        };
        let client = context.client().await?.native();
        let kernel = client.install_kernel(&body).await?;
        if self.default && !kernel.default {
            client.set_default_kernel(&kernel.name).await?;
        }
        print(&format!("{}\n", kernel.name))?;
        Ok(0)
    }
}

/// Installs a kernel's file for `run --kernel FILE`, once for each state of the file; its name.
pub(crate) async fn install_file(context: &Context, file: &Path) -> Result<String> {
    let shown = file.display().to_string();
    let found = std::fs::metadata(file).map_err(|error| Error::io(&shown, error))?;
    let path = std::path::absolute(file).map_err(|error| Error::io(&shown, error))?;
    let mut hasher = DefaultHasher::new();
    (&path, found.len(), found.mtime(), found.mtime_nsec()).hash(&mut hasher);
    let name = format!("file-{:016x}", hasher.finish());
    let client = context.client().await?.native();
    let known = client.kernels().await?;
    if !known.iter().any(|kernel| kernel.name == name) {
        let path = path.into_os_string().into_string();
        let path = path.map_err(|_| Error::option("--kernel", &shown, "want a path in UTF-8"))?;
        let body = KernelInstall {
            name: name.clone(),
            path,
            ..Default::default()
        };
        client.install_kernel(&body).await?;
    }
    Ok(name)
}
