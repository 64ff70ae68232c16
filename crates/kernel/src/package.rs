//! Debian's kernel packages.

use std::collections::BTreeMap;
use std::io::{self, BufReader, Chain, Cursor, Read};
use std::path::{Path, PathBuf};

use coracle_archive::{Decompressor, Entry, Kind, Limits, TarReader};

use crate::ar;
use crate::config::MAX_CONFIG;
use crate::decompress::{self, Compression};
use crate::error::{Error, Result};
use crate::image::{self, Image, MAX_IMAGE};
use crate::modules::{self, Index, MAX_MODULE, ModInfo};

/// What a package may ask for. Debian's largest kernel has some 5000 files in 500 MB.
const LIMITS: Limits = Limits {
    max_entries: 100_000,
    max_bytes: 2 << 30,
    max_path: 1024,
    max_extension: 64 << 10,
    max_segments: 1,
};

/// A package that was looked through once: which kernel it has, and which modules.
pub struct Package {
    path: PathBuf,
    image: Image,
    config: Option<String>,
    index: Index,
}

/// The package's files, one after the other.
struct Files {
    tar: TarReader<Box<dyn Read>>,
}

/// What a file in a package is to us.
enum Use {
    Image,
    Config,
    Builtin,
    BuiltinInfo,
    Module(String),
}

impl Package {
    /// Looks through a package: takes the kernel's image out, and learns what its modules need.
    ///
    /// # Errors
    /// [`Error::Package`] where it is none, or has no kernel; [`Error::Image`],
    /// [`Error::Module`], [`Error::TooLarge`], [`Error::Source`].
    pub fn open(path: &Path) -> Result<Package> {
        let mut files = Files::open(path)?;
        let mut image: Option<(String, Vec<u8>)> = None;
        let mut config = None;
        let mut index = Index::default();
        while let Some((entry, name)) = files.next(path)? {
            match used(&name) {
                Some(Use::Image) => {
                    let bytes = files.contents(&entry, MAX_IMAGE, path)?;
                    if let Some((first, _)) = &image {
                        return Err(bad(path, format!("it has two kernels, {first} and {name}")));
                    }
                    image = Some((name, bytes));
                }
                Some(Use::Config) => {
                    config = String::from_utf8(files.contents(&entry, MAX_CONFIG, path)?).ok();
                }
                Some(Use::Builtin) => {
                    let list = files.contents(&entry, MAX_CONFIG, path)?;
                    index.add_builtin(&String::from_utf8_lossy(&list));
                }
                Some(Use::BuiltinInfo) => {
                    index.add_builtin_info(&files.contents(&entry, MAX_CONFIG, path)?);
                }
                Some(Use::Module(module)) => {
                    let bytes = files.contents(&entry, MAX_MODULE, path)?;
                    let bytes = modules::unpacked(&module, bytes)?;
                    let info = ModInfo::parse(&module, &bytes)?;
                    index.add(module, info)?;
                }
                None => {}
            }
        }
        let (_, bytes) = image.ok_or_else(|| {
            bad(
                path,
                "it has no kernel in /boot; give the package linux-image-VERSION, not the one that \
                 only depends on it"
                    .to_owned(),
            )
        })?;
        Ok(Package {
            path: path.to_owned(),
            image: Image::parse(bytes)?,
            config,
            index,
        })
    }

    /// Whether a file begins as a package does.
    pub(crate) fn is_package(start: &[u8]) -> bool {
        ar::is_archive(start)
    }

    /// Its kernel.
    pub fn image(&self) -> &Image {
        &self.image
    }

    /// What the kernel was built with, where the package says.
    pub fn config(&self) -> Option<&str> {
        self.config.as_deref()
    }

    /// The modules that a guest needs, and those named in `extra`, in the order of loading.
    ///
    /// # Errors
    /// [`Error::Lacking`] where one is not there and not built in.
    pub fn modules(&self, extra: &[String]) -> Result<Vec<String>> {
        self.index.order(extra)
    }

    /// Hands out these modules, unpacked, in the order of the package.
    pub(crate) fn extract(
        &self,
        wanted: &[String],
        mut take: impl FnMut(&str, &[u8]) -> Result<()>,
    ) -> Result<()> {
        let mut missing: BTreeMap<&str, ()> =
            wanted.iter().map(|name| (name.as_str(), ())).collect();
        let mut files = Files::open(&self.path)?;
        while !missing.is_empty() {
            let Some((entry, name)) = files.next(&self.path)? else {
                break;
            };
            let Some(Use::Module(module)) = used(&name) else {
                continue;
            };
            if missing.remove(module.as_str()).is_some() {
                let bytes = files.contents(&entry, MAX_MODULE, &self.path)?;
                take(&module, &modules::unpacked(&module, bytes)?)?;
            }
        }
        match missing.keys().next() {
            None => Ok(()),
            Some(name) => Err(bad(
                &self.path,
                format!("the module {name} has gone from it meanwhile"),
            )),
        }
    }
}

fn bad(path: &Path, reason: impl Into<String>) -> Error {
    Error::Package {
        path: path.display().to_string(),
        reason: reason.into(),
    }
}

/// What a file is for us, by its path without leading `./` and `usr/`.
fn used(path: &str) -> Option<Use> {
    if let Some(file) = path.strip_prefix("boot/") {
        if file.contains('/') {
            return None;
        }
        return match file.split_once('-')?.0 {
            "vmlinuz" | "vmlinux" => Some(Use::Image),
            "config" => Some(Use::Config),
            _ => None,
        };
    }
    let (_release, inside) = path.strip_prefix("lib/modules/")?.split_once('/')?;
    match inside {
        "modules.builtin" => return Some(Use::Builtin),
        "modules.builtin.modinfo" => return Some(Use::BuiltinInfo),
        _ => {}
    }
    modules::name_of(inside.strip_prefix("kernel/")?).map(Use::Module)
}

impl Files {
    fn open(path: &Path) -> Result<Files> {
        let mut file = crate::install::open(path)?;
        let length = ar::find(&mut file, "data.tar")
            .map_err(|error| bad(path, error.to_string()))?
            .ok_or_else(|| bad(path, "it has no data.tar"))?;
        let data = BufReader::with_capacity(128 << 10, file.take(length));
        let stream = uncompressed(data).map_err(|error| bad(path, error.to_string()))?;
        Ok(Files {
            tar: TarReader::new(stream, LIMITS),
        })
    }

    /// The next regular file, with its path in UTF-8; others are skipped.
    fn next(&mut self, path: &Path) -> Result<Option<(Entry, String)>> {
        loop {
            let entry = self
                .tar
                .next_entry()
                .map_err(|error| bad(path, error.to_string()))?;
            let Some(entry) = entry else { return Ok(None) };
            if entry.kind != Kind::File || entry.sparse.is_some() {
                continue;
            }
            let Ok(name) = std::str::from_utf8(&entry.path) else {
                continue;
            };
            let name = name.trim_start_matches("./").trim_start_matches('/');
            let name = name.strip_prefix("usr/").unwrap_or(name).to_owned();
            return Ok(Some((entry, name)));
        }
    }

    fn contents(&mut self, entry: &Entry, limit: usize, path: &Path) -> Result<Vec<u8>> {
        if entry.size > limit as u64 {
            if limit == MAX_IMAGE {
                return Err(image::too_large());
            }
            return Err(Error::TooLarge {
                what: String::from_utf8_lossy(&entry.path).into_owned(),
                limit: limit as u64 >> 20,
            });
        }
        decompress::bounded(&mut self.tar, limit).map_err(|error| bad(path, error.to_string()))
    }
}

/// The tar stream in `data.tar`, however it is compressed.
fn uncompressed(mut data: impl Read + 'static) -> io::Result<Box<dyn Read>> {
    let mut start = [0; 6];
    data.read_exact(&mut start)?;
    let compression = Compression::of(&start);
    let data: Chain<Cursor<[u8; 6]>, _> = Cursor::new(start).chain(data);
    Ok(match compression {
        Some(Compression::Xz) => Box::new(decompress::xz(data)),
        _ => Box::new(Decompressor::new(data).map_err(io::Error::other)?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample;

    fn open(bytes: &[u8]) -> Result<Package> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), bytes).unwrap();
        Package::open(file.path())
    }

    fn order(package: &Package, extra: &[&str]) -> Result<Vec<String>> {
        let extra: Vec<String> = extra.iter().map(|name| (*name).to_owned()).collect();
        package.modules(&extra)
    }

    #[test]
    fn modules_come_after_those_they_need() {
        let package = open(&sample::whole_package("6.1.0-check")).unwrap();
        assert_eq!(package.image().release, "6.1.0-check");
        let needed = [
            "virtio_ring",
            "virtio_pci",
            "virtio_blk",
            "check_generic",
            "overlay",
        ];
        assert_eq!(order(&package, &[]).unwrap(), needed);
        let more = order(&package, &["never", "ext4", "virtio-ring"]).unwrap();
        assert_eq!(more, [&needed[..], &["never"]].concat());
        match order(&package, &["other"]) {
            Err(Error::Lacking(missing)) => assert_eq!(missing, ["module other"]),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn packages_that_cannot_be_used() {
        let kernel = sample::vmlinux("6.1.0-check");
        let two: &[(&str, &[u8])] = &[("boot/vmlinuz-a", &kernel), ("boot/vmlinuz-b", &kernel)];
        let module: &[(&str, &[u8])] = &[("lib/modules/a/kernel/x.ko", b"nonsense")];
        let whole = sample::whole_package("6.1.0-check");
        for (bytes, words) in [
            (sample::package(&[]), "linux-image-VERSION"),
            (sample::package(two), "two kernels"),
            (sample::package(module), "no kernel module"),
            (whole[..whole.len() / 2].to_vec(), "not a usable"),
            (b"!<arch>\n".to_vec(), "no data.tar"),
        ] {
            let error = open(&bytes).err().unwrap().to_string();
            assert!(error.contains(words), "{error}: {words}");
        }
        // One without all that a guest needs is told when its modules are asked for.
        let bare = open(&sample::package(&[("boot/vmlinuz-a", &kernel)])).unwrap();
        assert!(matches!(order(&bare, &[]), Err(Error::Lacking(missing)) if missing.len() == 7));
    }

    proptest::proptest! {
        #[test]
        fn never_a_panic(at: proptest::sample::Index, byte: u8, end: proptest::sample::Index) {
            let mut bytes = sample::whole_package("6.1.0-check");
            let at = at.index(bytes.len());
            bytes[at] = byte;
            bytes.truncate(end.index(bytes.len()).max(at));
            if let Ok(package) = open(&bytes) {
                let _ = package.modules(&[]);
            }
        }
    }
}
