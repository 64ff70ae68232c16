//! Taking a kernel in: from its source into a directory that has no name yet.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::config;
use crate::decompress;
use crate::digest;
use crate::durable;
use crate::error::{Error, Result};
use crate::image::{self, Image, MAX_IMAGE};
use crate::name;
use crate::package::Package;
use crate::record::{CONFIG, IMAGE, MODULES, Module, RECORD, Record, file_name};

/// Where a kernel comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A Debian kernel package (`linux-image-VERSION_….deb`), with the modules that a guest needs.
    Package(PathBuf),
    /// An image: vmlinux, bzImage, arm64 Image. All that a guest needs is built in.
    File(PathBuf),
    /// A folder that `kernel/build` made, with `vmlinux` and `config`.
    Built(PathBuf),
}

impl Source {
    /// What is at this path: a folder is [`Built`](Source::Built), a Debian package a
    /// [`Package`](Source::Package), anything else a [`File`](Source::File).
    ///
    /// # Errors
    /// [`Error::Source`] where it can't be read.
    pub fn detect(path: &Path) -> Result<Source> {
        if path.is_dir() {
            return Ok(Source::Built(path.to_owned()));
        }
        let mut file = open(path)?;
        let mut start = [0; 8];
        match file.read_exact(&mut start) {
            Ok(()) if Package::is_package(&start) => Ok(Source::Package(path.to_owned())),
            Ok(()) => Ok(Source::File(path.to_owned())),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                Ok(Source::File(path.to_owned()))
            }
            Err(error) => Err(Error::source(path)(error)),
        }
    }

    /// The path given.
    pub fn path(&self) -> &Path {
        match self {
            Source::Package(path) | Source::File(path) | Source::Built(path) => path,
        }
    }
}

/// What is to be installed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Install {
    /// What it will be called; without, its release.
    pub name: Option<String>,
    /// Where it comes from.
    pub source: Source,
    /// Modules to load beyond those that every guest needs; only of a package.
    pub modules: Vec<String>,
}

/// Writes all files of a kernel; gives its name.
pub(crate) fn fill(staged: &Path, install: &Install) -> Result<String> {
    let path = install.source.path();
    let mut modules = Vec::new();
    let package;
    let built;
    let (image, config) = match &install.source {
        Source::Package(path) => {
            package = Package::open(path)?;
            let order = package.modules(&install.modules)?;
            modules = write_modules(staged, &package, &order)?;
            let config = package.config().map(str::to_owned);
            (package.image(), config)
        }
        Source::File(_) | Source::Built(_) if !install.modules.is_empty() => {
            return Err(Error::Lacking(
                install
                    .modules
                    .iter()
                    .map(|name| format!("module {name} (only packages have modules)"))
                    .collect(),
            ));
        }
        Source::File(path) => {
            built = Image::parse(read(path)?)?;
            (&built, config::embedded(&built.bytes))
        }
        Source::Built(path) => {
            built = Image::parse(read(&path.join(IMAGE))?)?;
            let config = path.join(CONFIG);
            let config = match open(&config) {
                Ok(file) => {
                    let bytes = decompress::bounded(file, config::MAX_CONFIG)
                        .map_err(Error::source(&config))?;
                    String::from_utf8(bytes).ok()
                }
                Err(_) => config::embedded(&built.bytes),
            };
            (&built, config)
        }
    };
    if let Some(config) = &config {
        let lacking = config::lacking(config, matches!(install.source, Source::Package(_)));
        if !lacking.is_empty() {
            return Err(Error::Lacking(lacking));
        }
        let path = staged.join(CONFIG);
        durable::create(&path, config.as_bytes()).map_err(Error::io("write", &path))?;
    }
    let file = staged.join(IMAGE);
    durable::create(&file, &image.bytes).map_err(Error::io("write", &file))?;
    let record = Record {
        version: Record::VERSION,
        release: image.release.clone(),
        arch: image.arch,
        format: image.format,
        size: image.bytes.len() as u64,
        image_digest: digest::of(&image.bytes),
        source: path.display().to_string(),
        installed: SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| since.as_secs()),
        config: config.is_some(),
        modules,
    };
    let file = staged.join(RECORD);
    let json = serde_json::to_vec_pretty(&record).map_err(|error| Error::Io {
        doing: format!("write {RECORD}"),
        source: error.into(),
    })?;
    durable::create(&file, &json).map_err(Error::io("write", &file))?;
    durable::sync_dir(staged).map_err(Error::io("sync", staged))?;
    // A release may have `+` and `~`, a name may not.
    let name = match &install.name {
        Some(name) => name.clone(),
        None => image.release.replace(['+', '~'], "-"),
    };
    name::check(&name)?;
    Ok(name)
}

/// Writes `modules/` in the order of loading.
fn write_modules(staged: &Path, package: &Package, order: &[String]) -> Result<Vec<Module>> {
    let directory = staged.join(MODULES);
    fs::create_dir(&directory).map_err(Error::io("create", &directory))?;
    let places: HashMap<&str, usize> = order
        .iter()
        .enumerate()
        .map(|(index, name)| (name.as_str(), index))
        .collect();
    let mut modules = vec![None; order.len()];
    package.extract(order, |name, bytes| {
        let place = places.get(name).copied();
        let Some((index, slot)) = place.and_then(|index| Some((index, modules.get_mut(index)?)))
        else {
            return Ok(());
        };
        let path = directory.join(file_name(index, name));
        durable::create(&path, bytes).map_err(Error::io("write", &path))?;
        *slot = Some(Module {
            name: name.to_owned(),
            size: bytes.len() as u64,
            digest: digest::of(bytes),
        });
        Ok(())
    })?;
    durable::sync_dir(&directory).map_err(Error::io("sync", &directory))?;
    Ok(modules.into_iter().flatten().collect())
}

/// Opens a regular file. Anything else is refused, and not waited for: nobody may ever write to a pipe.
pub(crate) fn open(path: &Path) -> Result<File> {
    let flags = rustix::fs::OFlags::NONBLOCK.bits();
    let file = File::options()
        .read(true)
        .custom_flags(flags.cast_signed())
        .open(path)
        .map_err(Error::source(path))?;
    let found = file.metadata().map_err(Error::source(path))?;
    if !found.is_file() {
        let refused = io::Error::new(io::ErrorKind::InvalidInput, "it is no regular file");
        return Err(Error::source(path)(refused));
    }
    Ok(file)
}

/// Reads an image's file.
fn read(path: &Path) -> Result<Vec<u8>> {
    let file = open(path)?;
    decompress::bounded(file, MAX_IMAGE).map_err(|error| {
        if error.kind() == io::ErrorKind::FileTooLarge {
            return image::too_large();
        }
        Error::source(path)(error)
    })
}
