//! What a layer still has to take from the layers below it, on disk.
//!
//! The file has one NUL-terminated field after the other: `D` and a directory, or `L`, a link and
//! its target. Names can be any bytes but NUL.

use std::fs;
use std::path::{Path, PathBuf};

use coracle_archive::Pending;

use crate::error::{Error, Result, failed};

/// The file in a layer's directory; a layer without it is settled.
fn file(dir: &Path) -> PathBuf {
    dir.join("pending")
}

pub(crate) fn write(dir: &Path, pending: &Pending) -> Result<()> {
    if pending.is_empty() {
        return Ok(());
    }
    let mut data = Vec::new();
    for path in pending.implied() {
        for field in [&b"D"[..], path] {
            data.extend_from_slice(field);
            data.push(0);
        }
    }
    for (path, target) in pending.links() {
        for field in [&b"L"[..], path, target] {
            data.extend_from_slice(field);
            data.push(0);
        }
    }
    let path = file(dir);
    fs::write(&path, data).map_err(failed("write", &path))
}

/// None where the layer is settled.
pub(crate) fn read(dir: &Path) -> Result<Option<Pending>> {
    let path = file(dir);
    let data = match fs::read(&path) {
        Ok(data) => data,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(failed("read", &path)(e)),
    };
    parse(&data).map(Some).ok_or_else(|| Error::Damaged {
        path,
        reason: "it isn't a list of directories and links".into(),
    })
}

pub(crate) fn exists(dir: &Path) -> bool {
    file(dir).exists()
}

pub(crate) fn remove(dir: &Path) -> Result<()> {
    let path = file(dir);
    fs::remove_file(&path).map_err(failed("remove", &path))
}

fn parse(data: &[u8]) -> Option<Pending> {
    let mut fields = data.strip_suffix(b"\0")?.split(|b| *b == 0);
    let (mut implied, mut links) = (Vec::new(), Vec::new());
    while let Some(kind) = fields.next() {
        match kind {
            b"D" => implied.push(fields.next()?.to_vec()),
            b"L" => links.push((fields.next()?.to_vec(), fields.next()?.to_vec())),
            _ => return None,
        }
    }
    Some(Pending::from_parts(implied, links))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn survives_the_disk() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(read(dir.path()).unwrap(), None);
        write(dir.path(), &Pending::default()).unwrap();
        assert!(!exists(dir.path()));
        let pending = Pending::from_parts(
            vec![b"a/b".to_vec(), b"D".to_vec()],
            vec![(b"L\xff".to_vec(), b"x y\n".to_vec())],
        );
        write(dir.path(), &pending).unwrap();
        assert_eq!(read(dir.path()).unwrap(), Some(pending));
        remove(dir.path()).unwrap();
        assert!(!exists(dir.path()));
        fs::write(file(dir.path()), "X\0y\0").unwrap();
        assert!(matches!(read(dir.path()), Err(Error::Damaged { .. })));
        fs::write(file(dir.path()), "L\0y\0").unwrap();
        assert!(matches!(read(dir.path()), Err(Error::Damaged { .. })));
    }
}
