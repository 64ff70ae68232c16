//! The initial RAM disk: an init, and the modules that it loads.

use std::fs::{self, File};
use std::io::{self, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use crate::cpio::Writer;
use crate::digest::{self, Digester};
use crate::durable;
use crate::elf::{self, Elf};
use crate::error::{Error, Result};

/// The most bytes of an init.
const MAX_INIT: u64 = 64 << 20;

/// The most modules: their names begin with three digits.
const MAX_MODULES: usize = 999;

/// RAM disks that are kept; older ones are removed when one is made.
const KEPT: usize = 8;

/// The format's name, part of what RAM disks are kept by: to be changed with what is written.
const LAYOUT: &[u8] = b"coracle initrd 1";

/// Writes an uncompressed initial RAM disk. It holds
/// - `/init`, the program given, which must be linked statically,
/// - `/dev/console`, which the kernel opens for init before it runs,
/// - the empty directories `/dev`, `/proc`, `/sys`, `/run`, `/tmp`,
/// - with modules, `/modules/NNN-name.ko` in their order, and `/modules/order`: these names, one in
///   each line, in the order of loading.
///
/// # Errors
/// [`Error::Init`] where init can't be one, [`Error::Module`], [`Error::Io`].
pub fn write_initrd(out: impl Write, init: &Path, modules: &[PathBuf]) -> Result<()> {
    write(out, &read_init(init)?, modules)
}

fn write(out: impl Write, program: &[u8], modules: &[PathBuf]) -> Result<()> {
    let names = names(modules)?;
    let writing = || "write the initial RAM disk".to_owned();
    let failed = |source| Error::Io {
        doing: writing(),
        source,
    };
    let mut disk = Writer::new(BufWriter::with_capacity(256 << 10, out));
    for directory in ["dev", "proc", "run", "sys", "tmp"] {
        disk.directory(directory).map_err(failed)?;
    }
    disk.device("dev/console", 5, 1).map_err(failed)?;
    disk.file("init", 0o755, program.len() as u64, &mut &*program)
        .map_err(failed)?;
    if !modules.is_empty() {
        disk.directory("modules").map_err(failed)?;
        let order: String = names.iter().map(|name| format!("{name}\n")).collect();
        disk.file(
            "modules/order",
            0o644,
            order.len() as u64,
            &mut order.as_bytes(),
        )
        .map_err(failed)?;
        for (path, name) in modules.iter().zip(&names) {
            let mut file = File::open(path).map_err(Error::io("open", path))?;
            let length = file.metadata().map_err(Error::io("look at", path))?.len();
            disk.file(&format!("modules/{name}"), 0o644, length, &mut file)
                .map_err(Error::io("pack", path))?;
        }
    }
    disk.finish().map_err(failed)?;
    Ok(())
}

/// The names in `/modules`: the place in the order, and the file's own name.
fn names(modules: &[PathBuf]) -> Result<Vec<String>> {
    if modules.len() > MAX_MODULES {
        let list = format!("number {}", modules.len());
        return Err(Error::module(
            &list,
            "there are more than an initial RAM disk takes",
        ));
    }
    modules
        .iter()
        .enumerate()
        .map(|(index, path)| {
            let name = path.file_name().and_then(|name| name.to_str());
            let name = name.filter(|name| name.ends_with(".ko") && name.len() <= 200);
            let name = name.ok_or_else(|| {
                Error::module(&path.display().to_string(), "its file is not named NAME.ko")
            })?;
            // The store's files have such a number already.
            let bare = match name.split_once('-') {
                Some((digits, rest))
                    if digits.len() == 3 && digits.bytes().all(|byte| byte.is_ascii_digit()) =>
                {
                    rest
                }
                _ => name,
            };
            Ok(format!("{index:03}-{bare}"))
        })
        .collect()
}

/// The init's bytes, when it can be one.
fn read_init(path: &Path) -> Result<Vec<u8>> {
    let bad = |reason: &str| Error::Init {
        path: path.display().to_string(),
        reason: reason.to_owned(),
    };
    let file = File::open(path).map_err(Error::io("open", path))?;
    let mut bytes = Vec::new();
    file.take(MAX_INIT + 1)
        .read_to_end(&mut bytes)
        .map_err(Error::io("read", path))?;
    if bytes.len() as u64 > MAX_INIT {
        return Err(bad("it is larger than 64 MiB"));
    }
    let elf = Elf::parse(&bytes).ok_or_else(|| bad("it is no ELF program of 64 bits"))?;
    if !matches!(elf.kind, elf::EXEC | elf::DYN) {
        return Err(bad("it is no program"));
    }
    if elf.is_dynamic() {
        return Err(bad("it is not linked statically; build it for musl"));
    }
    Ok(bytes)
}

/// The RAM disk of these, from `directory`, made where it isn't there. `modules` is a digest of the
/// modules' contents and order.
pub(crate) fn kept(
    directory: &Path,
    init: &Path,
    init_digest: &str,
    modules: &[PathBuf],
    modules_digest: &str,
) -> Result<PathBuf> {
    let mut digester = Digester::new();
    for part in [LAYOUT, init_digest.as_bytes(), modules_digest.as_bytes()] {
        digester.update(&(part.len() as u64).to_le_bytes());
        digester.update(part);
    }
    let digest = digester.finish();
    let name = digest.trim_start_matches("sha256:");
    let path = directory.join(format!("{name}.cpio"));
    if path.exists() {
        return Ok(path);
    }
    fs::create_dir_all(directory).map_err(Error::io("create", directory))?;
    // Two that make the same one at the same time each have a file of their own.
    let staged = directory.join(format!(".new-{name}-{}", crate::store::unique()));
    let made = (|| {
        let file = File::create_new(&staged).map_err(Error::io("create", &staged))?;
        let program = read_init(init)?;
        if digest::of(&program) != init_digest {
            return Err(Error::Init {
                path: init.display().to_string(),
                reason: "it changed while it was read; try again".to_owned(),
            });
        }
        write(&file, &program, modules)?;
        file.sync_all().map_err(Error::io("sync", &staged))?;
        // The first stays: templates know it by its inode.
        match fs::hard_link(&staged, &path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                fs::rename(&staged, &path).map_err(Error::io("rename", &staged))?;
            }
            _ => fs::remove_file(&staged).map_err(Error::io("remove", &staged))?,
        }
        durable::sync_dir(directory).map_err(Error::io("sync", directory))
    })();
    if made.is_err() {
        let _ = fs::remove_file(&staged);
        made?;
    }
    forget_old(directory, &path);
    Ok(path)
}

/// Removes all but the newest. What can't be looked at or removed stays: it costs space only.
fn forget_old(directory: &Path, newest: &Path) {
    let Ok(entries) = fs::read_dir(directory) else {
        return;
    };
    let mut disks: Vec<_> = entries
        .flatten()
        .filter(|entry| entry.path().extension().is_some_and(|end| end == "cpio"))
        .filter(|entry| entry.path() != newest)
        .filter_map(|entry| Some((entry.metadata().ok()?.modified().ok()?, entry.path())))
        .collect();
    disks.sort();
    let excess = (disks.len() + 1).saturating_sub(KEPT);
    for (_, path) in disks.into_iter().take(excess) {
        let _ = fs::remove_file(path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample;

    /// Names, modes and contents, by the format's description.
    fn entries(mut disk: &[u8]) -> Vec<(String, u32, Vec<u8>)> {
        let mut found = Vec::new();
        let mut at = 0;
        loop {
            let field = |index: usize| {
                let digits = &disk[6 + index * 8..14 + index * 8];
                u32::from_str_radix(std::str::from_utf8(digits).unwrap(), 16).unwrap()
            };
            assert_eq!(&disk[..6], b"070701");
            let (mode, length, name) = (field(1), field(6) as usize, field(11) as usize);
            let text = String::from_utf8(disk[110..110 + name - 1].to_vec()).unwrap();
            let start = (at + 110 + name).next_multiple_of(4) - at;
            if text == "TRAILER!!!" {
                return found;
            }
            found.push((text, mode, disk[start..start + length].to_vec()));
            let end = (at + start + length).next_multiple_of(4) - at;
            at += end;
            disk = &disk[end..];
        }
    }

    #[test]
    fn what_is_in_it() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, contents: &[u8]| {
            let path = dir.path().join(name);
            fs::write(&path, contents).unwrap();
            path
        };
        let init = write("coracle-init", &sample::init());
        let modules = [write("b.ko", b"odd"), write("007-a.ko", b"even")];
        let mut disk = Vec::new();
        write_initrd(&mut disk, &init, &modules).unwrap();
        let found = entries(&disk);
        let names: Vec<&str> = found.iter().map(|(name, _, _)| name.as_str()).collect();
        let expected = "dev proc run sys tmp dev/console init modules modules/order \
                        modules/000-b.ko modules/001-a.ko";
        assert_eq!(names.join(" "), expected);
        let of = |name: &str| found.iter().find(|found| found.0 == name).unwrap();
        assert_eq!(of("init").1, 0o100_755);
        assert_eq!(of("init").2, sample::init());
        assert_eq!(of("dev/console").1, 0o20_600);
        assert_eq!(of("modules/order").2, b"000-b.ko\n001-a.ko\n");
        assert_eq!(of("modules/001-a.ko").2, b"even");
        let mut again = Vec::new();
        write_initrd(&mut again, &init, &modules).unwrap();
        assert_eq!(disk, again);
        let mut bare = Vec::new();
        write_initrd(&mut bare, &init, &[]).unwrap();
        assert_eq!(entries(&bare).len(), 7);
    }

    #[test]
    fn what_cannot_be_init() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("init");
        for (contents, words) in [
            (b"#!/bin/sh".to_vec(), "no ELF program"),
            (sample::module(&[]), "no program"),
            (sample::program(3, b"/lib/ld.so", ""), "statically"),
        ] {
            fs::write(&path, contents).unwrap();
            let error = write_initrd(Vec::new(), &path, &[]).unwrap_err();
            assert!(error.to_string().contains(words), "{error}: {words}");
        }
    }
}
