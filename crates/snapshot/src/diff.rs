//! A container's changes as a layer.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::os::fd::AsFd;

use coracle_archive::{TarWriter, WriteOptions, write_tree};
use coracle_oci::{Digest, Digester};
use flate2::Compression;
use flate2::write::GzEncoder;

use crate::container::ContainerFs;
use crate::error::{Result, failed};

/// A layer that was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diff {
    /// Digest of the uncompressed archive.
    pub diff_id: Digest,
    /// Bytes of the uncompressed archive.
    pub uncompressed: u64,
    /// Digest of what was written.
    pub digest: Digest,
    /// Bytes that were written.
    pub size: u64,
}

/// Writes what a container changed as an uncompressed OCI layer: whiteouts, opaque directories,
/// times in whole seconds as Docker's, nothing of overlayfs's own.
///
/// # Errors
/// [`Error::Archive`](crate::Error::Archive), [`Error::Io`](crate::Error::Io).
pub fn diff_tar(fs: &ContainerFs, out: impl Write) -> Result<()> {
    let upper = File::open(&fs.upper).map_err(failed("open", &fs.upper))?;
    let mut tar = TarWriter::new(BufWriter::with_capacity(64 << 10, out));
    let opts = WriteOptions {
        layer: Some(fs.attrs),
        ..WriteOptions::default()
    };
    write_tree(upper.as_fd(), b"", &mut tar, &opts)?;
    tar.finish()?;
    Ok(())
}

/// As [`diff_tar`], compressed, with the digests that a manifest and a configuration need. The
/// same changes give the same bytes.
///
/// # Errors
/// As [`diff_tar`].
pub fn diff_gzip(fs: &ContainerFs, out: impl Write) -> Result<Diff> {
    let out = Hashing {
        digester: Digester::sha256(),
        out,
    };
    let gzip = GzEncoder::new(out, Compression::default());
    let mut plain = Hashing {
        digester: Digester::sha256(),
        out: gzip,
    };
    diff_tar(fs, &mut plain)?;
    let mut packed = plain
        .out
        .finish()
        .and_then(|mut out| out.flush().map(|()| out))
        .map_err(coracle_archive::Error::Write)?;
    packed.out.flush().map_err(coracle_archive::Error::Write)?;
    Ok(Diff {
        uncompressed: plain.digester.bytes(),
        diff_id: plain.digester.finish(),
        size: packed.digester.bytes(),
        digest: packed.digester.finish(),
    })
}

/// Hashes what goes through.
struct Hashing<W> {
    digester: Digester,
    out: W,
}

impl<W: Write> Write for Hashing<W> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        let len = self.out.write(buf)?;
        self.digester.update(buf.get(..len).unwrap_or_default());
        Ok(len)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}
