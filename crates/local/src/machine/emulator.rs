//! Images of other architectures: which emulator a machine gets for one, and where it comes from.

use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use coracle_oci::Platform;
use coracle_runtime::{Result, RuntimeError};
use coracle_task::{Emulator, Format};

use super::is_machine;
use crate::container::files::blocking;
use crate::container::record::Record;
use crate::engine::Engine;

/// The emulator that a container's machine needs; `None`: its processor runs the image's programs.
pub(crate) async fn of(engine: &Arc<Engine>, record: &Record) -> Result<Option<Emulator>> {
    let Some(architecture) = foreign(&record.platform) else {
        return Ok(None);
    };
    let directory = engine.config.machine.emulators.clone();
    blocking(move || {
        let format = Format::of(&architecture).ok_or_else(|| {
            RuntimeError::InvalidArgument(format!("programs for {architecture} can't be emulated"))
        })?;
        let program = find(&directory, format.qemu).ok_or_else(|| {
            RuntimeError::InvalidArgument(format!(
                "the image is for {architecture}, and there is no static emulator \
                 qemu-{qemu}-static in {directory}; install qemu-user-static, or tell coracled \
                 where it is with --emulators",
                qemu = format.qemu,
                directory = directory.display(),
            ))
        })?;
        Ok(Some(Emulator {
            architecture,
            program,
        }))
    })
    .await
}

/// Says what a program of another architecture needs, where a process was refused because of it.
pub(crate) fn explain(record: &Record, error: &mut RuntimeError) {
    let RuntimeError::InvalidArgument(text) = error else {
        return;
    };
    if !is_machine(&record.host_config)
        && text.ends_with("exec format error")
        && foreign(&record.platform).is_some()
    {
        let host = Platform::host();
        text.push_str(&format!(
            ": the image is for {}, the host is {host}; --runtime vm runs it by emulation",
            record.platform
        ));
    }
}

/// The architecture of a platform whose programs this host's processor does not run.
fn foreign(platform: &str) -> Option<String> {
    let image = Platform::parse(platform).ok()?.architecture;
    let host = Platform::host().architecture;
    let native = image == host || (host == "amd64" && image == "386");
    (!native).then_some(image)
}

/// `qemu-aarch64-static`, or `qemu-aarch64` where a distribution's is static.
fn find(directory: &Path, qemu: &str) -> Option<PathBuf> {
    let names = [format!("qemu-{qemu}-static"), format!("qemu-{qemu}")];
    let paths = names.map(|name| directory.join(name));
    paths
        .into_iter()
        .filter_map(|path| path.canonicalize().ok())
        .find(|path| is_static(path).unwrap_or(false))
}

/// Whether it is a program that needs no dynamic loader: a guest has none (System V ABI, "Program
/// header"; programs of 64 bits in this host's byte order).
fn is_static(path: &Path) -> io::Result<bool> {
    const PT_INTERP: u32 = 3;
    let mut file = std::fs::File::open(path)?;
    let mut header = [0; 64];
    file.read_exact(&mut header)?;
    let (Some((start, _)), Some(size), Some(count)) = (
        header.split_first_chunk::<5>(),
        header.get(54..56),
        header.get(56..58),
    ) else {
        return Ok(false);
    };
    let half = |bytes: &[u8]| bytes.try_into().map_or(0, u16::from_ne_bytes);
    let (size, count) = (usize::from(half(size)), usize::from(half(count)));
    if start != b"\x7fELF\x02" || size < 4 || count > 256 {
        return Ok(false);
    }
    let table = header.get(32..40).and_then(|bytes| bytes.try_into().ok());
    file.seek(SeekFrom::Start(table.map_or(0, u64::from_ne_bytes)))?;
    let mut headers = vec![0; size * count];
    file.read_exact(&mut headers)?;
    let kinds = headers.chunks(size).filter_map(|one| one.first_chunk());
    Ok(!kinds
        .into_iter()
        .any(|kind| u32::from_ne_bytes(*kind) == PT_INTERP))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn foreign_is_what_the_processor_does_not_run() {
        let host = Platform::host().to_string();
        assert_eq!(foreign(&host), None);
        assert_eq!(foreign("linux/s390x"), Some("s390x".into()));
        if host == "linux/amd64" {
            assert_eq!(foreign("linux/386"), None);
            assert_eq!(foreign("linux/arm/v7"), Some("arm".into()));
            assert_eq!(foreign("linux/arm64"), Some("arm64".into()));
        }
    }

    #[test]
    fn emulators_are_static_programs() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(find(dir.path(), "aarch64"), None);
        // A text, and a program with a loader (the one that runs this).
        std::fs::write(dir.path().join("qemu-aarch64-static"), "#!/bin/sh\n").unwrap();
        let shell = Path::new("/bin/bash");
        std::os::unix::fs::symlink(shell, dir.path().join("qemu-aarch64")).unwrap();
        assert_eq!(find(dir.path(), "aarch64"), None);
    }
}
