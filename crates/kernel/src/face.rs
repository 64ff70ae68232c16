//! A store as a `Runtime` shows it.

use std::path::PathBuf;

use coracle_runtime::kernel::{Kernel, KernelModule, KernelSpec};
use coracle_runtime::{Result, RuntimeError};

use crate::error::Error;
use crate::install::{Install, Source};
use crate::store::KernelStore;

/// What stands for the default kernel's name.
const DEFAULT: &str = "default";

impl From<Error> for RuntimeError {
    fn from(error: Error) -> RuntimeError {
        let text = error.to_string();
        match error {
            Error::NotFound(name) => RuntimeError::NotFound(format!("No such kernel: {name}")),
            Error::NoDefault => RuntimeError::NotFound(text),
            Error::AlreadyExists(_) => RuntimeError::AlreadyExists(text),
            Error::IsDefault(_) => RuntimeError::InvalidState(text),
            Error::InvalidName(_)
            | Error::Package { .. }
            | Error::Image(_)
            | Error::Lacking(_)
            | Error::Module { .. }
            | Error::TooLarge { .. }
            | Error::Source { .. } => RuntimeError::InvalidArgument(text),
            Error::Init { .. } | Error::Damaged { .. } | Error::Io { .. } => {
                RuntimeError::Internal(text)
            }
        }
    }
}

/// All kernels, by name.
pub fn list(store: &KernelStore) -> Result<Vec<Kernel>> {
    let default = store.default_name()?;
    let kernels = store.list()?.into_iter();
    Ok(kernels
        .map(|kernel| shown(kernel, default.as_deref()))
        .collect())
}

/// One kernel; `default` is the default one.
pub fn inspect(store: &KernelStore, name: &str) -> Result<Kernel> {
    let default = store.default_name()?;
    let name = Some(name).filter(|name| *name != DEFAULT);
    Ok(shown(store.resolve(name)?, default.as_deref()))
}

/// Installs one.
pub fn install(store: &KernelStore, spec: KernelSpec) -> Result<Kernel> {
    let path = PathBuf::from(&spec.path);
    if !path.is_absolute() {
        return Err(RuntimeError::InvalidArgument(format!(
            "invalid kernel path {:?}: it must be absolute",
            spec.path
        )));
    }
    let source = match spec.kind.as_str() {
        "" => Source::detect(&path)?,
        "package" => Source::Package(path),
        "file" => Source::File(path),
        "built" => Source::Built(path),
        other => {
            return Err(RuntimeError::InvalidArgument(format!(
                "invalid kind of kernel {other:?}: there are package, file and built"
            )));
        }
    };
    let kernel = store.install(&Install {
        name: Some(spec.name).filter(|name| !name.is_empty()),
        source,
        modules: spec.modules,
    })?;
    let default = store.default_name()?;
    Ok(shown(kernel, default.as_deref()))
}

fn shown(kernel: crate::Kernel, default: Option<&str>) -> Kernel {
    let seconds = i64::try_from(kernel.installed).unwrap_or(i64::MAX);
    let text = |path: &std::path::Path| path.to_string_lossy().into_owned();
    let modules = kernel.listed.into_iter().map(|module| KernelModule {
        name: module.name,
        size: module.size,
        digest: module.digest,
    });
    Kernel {
        default: default == Some(kernel.name.as_str()),
        name: kernel.name,
        release: kernel.release,
        arch: kernel.arch.as_str().to_owned(),
        format: kernel.format.as_str().to_owned(),
        image: text(&kernel.image),
        size: kernel.size,
        digest: kernel.digest,
        modules: modules.collect(),
        config: kernel.config.as_deref().map(text).unwrap_or_default(),
        source: kernel.source,
        installed: jiff::Timestamp::from_second(seconds).unwrap_or_default(),
    }
}
