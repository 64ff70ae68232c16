//! Decompression into memory, with a bound on what comes out.

use std::io::{self, Read};

use flate2::read::GzDecoder;
use lzma_rust2::XzReader;

/// The largest dictionary that xz may ask for, in KiB. Linux's own build asks for 128 MiB at most.
const XZ_MEMORY: u32 = 192 << 10;

/// Linux's use of LZ4: the old frame format, of blocks of at most 8 MiB.
const LZ4_BLOCK: usize = 8 << 20;

/// How something is compressed, by its first bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Compression {
    Gzip,
    Xz,
    Zstd,
    Lz4,
}

impl Compression {
    /// None where the bytes are no format that is known here.
    pub(crate) fn of(bytes: &[u8]) -> Option<Compression> {
        match bytes {
            [0x1f, 0x8b, 8, ..] => Some(Compression::Gzip),
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Some(Compression::Xz),
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Some(Compression::Zstd),
            [0x02, 0x21, 0x4c, 0x18, ..] => Some(Compression::Lz4),
            _ => None,
        }
    }
}

/// A stream of xz, which allocates a dictionary of at most 192 MiB.
pub(crate) fn xz<R: Read>(source: R) -> XzReader<R> {
    XzReader::new_mem_limit(source, false, XZ_MEMORY)
}

/// The bytes that `data` begins with, uncompressed; what follows their end is ignored. More than
/// `limit` bytes are an error of kind [`io::ErrorKind::FileTooLarge`].
pub(crate) fn to_memory(
    data: &[u8],
    compression: Compression,
    limit: usize,
) -> io::Result<Vec<u8>> {
    match compression {
        Compression::Gzip => bounded(GzDecoder::new(data), limit),
        Compression::Xz => bounded(xz(data), limit),
        Compression::Zstd => {
            let mut decoder = zstd::stream::read::Decoder::with_buffer(data)?.single_frame();
            decoder.window_log_max(27)?;
            bounded(decoder, limit)
        }
        Compression::Lz4 => lz4(data, limit),
    }
}

/// Reads to the end, or to an error where there are more than `limit` bytes.
pub(crate) fn bounded(source: impl Read, limit: usize) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let read = source
        .take((limit as u64).saturating_add(1))
        .read_to_end(&mut bytes)?;
    if read > limit {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    Ok(bytes)
}

/// The old frame format (`lz4 -l`): blocks, each with its length before it. The data ends where no
/// further length fits.
fn lz4(data: &[u8], limit: usize) -> io::Result<Vec<u8>> {
    let bad = |reason: &'static str| io::Error::new(io::ErrorKind::InvalidData, reason);
    let mut rest = data.get(4..).unwrap_or_default();
    let mut out = Vec::new();
    let mut block = vec![0; LZ4_BLOCK.min(limit.saturating_add(1))];
    while let Some((length, after)) = rest.split_first_chunk::<4>() {
        let length = u32::from_le_bytes(*length) as usize;
        let (compressed, after) = after
            .split_at_checked(length)
            .ok_or_else(|| bad("an LZ4 block is longer than the data"))?;
        let count = lz4_flex::block::decompress_into(compressed, &mut block)
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error.to_string()))?;
        if out.len() + count > limit {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        out.extend_from_slice(block.get(..count).unwrap_or_default());
        rest = after;
    }
    Ok(out)
}
