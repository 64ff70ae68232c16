//! Layers come plain, as gzip or as zstd; the first bytes tell.

use std::io::{self, BufReader, Chain, Cursor, Read};

use flate2::bufread::MultiGzDecoder;

use crate::error::{Error, Result};

/// Compressed bytes read at once.
const BUFFER: usize = 128 << 10;

/// How a stream is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// Not at all.
    None,
    /// gzip, any number of members.
    Gzip,
    /// zstd, any number of frames, windows up to 128 MiB.
    Zstd,
}

/// The uncompressed bytes of a stream. How many may come out is for the one who reads them to
/// bound, see [`Limits::max_bytes`](crate::Limits::max_bytes).
pub struct Decompressor<R: Read> {
    inner: Inner<R>,
}

/// A stream whose first bytes were looked at.
type Peeked<R> = BufReader<Chain<Cursor<Vec<u8>>, R>>;

enum Inner<R: Read> {
    Plain(Peeked<R>),
    Gzip(Box<MultiGzDecoder<Peeked<R>>>),
    Zstd(zstd::stream::read::Decoder<'static, Peeked<R>>),
}

impl<R: Read> Decompressor<R> {
    /// Looks at the first bytes of `source`.
    ///
    /// # Errors
    /// [`Error::UnsupportedCompression`] for xz, bzip2, lzip, lz4 and compress,
    /// [`Error::Read`] where the source fails.
    pub fn new(mut source: R) -> Result<Decompressor<R>> {
        let mut magic = Vec::with_capacity(6);
        while magic.len() < 6 {
            let mut rest = [0u8; 6];
            let space = rest.get_mut(magic.len()..).unwrap_or_default();
            match source.read(space) {
                Ok(0) => break,
                Ok(n) => magic.extend_from_slice(space.get(..n).unwrap_or_default()),
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(Error::Read(e)),
            }
        }
        let compression = sniff(&magic)?;
        let source = BufReader::with_capacity(BUFFER, Cursor::new(magic).chain(source));
        let inner = match compression {
            Compression::None => Inner::Plain(source),
            Compression::Gzip => Inner::Gzip(Box::new(MultiGzDecoder::new(source))),
            Compression::Zstd => {
                let mut decoder =
                    zstd::stream::read::Decoder::with_buffer(source).map_err(Error::Read)?;
                decoder.window_log_max(27).map_err(Error::Read)?;
                Inner::Zstd(decoder)
            }
        };
        Ok(Decompressor { inner })
    }

    /// What the first bytes said.
    pub fn compression(&self) -> Compression {
        match self.inner {
            Inner::Plain(_) => Compression::None,
            Inner::Gzip(_) => Compression::Gzip,
            Inner::Zstd(_) => Compression::Zstd,
        }
    }

    /// The source, with what of it was read ahead lost.
    pub fn into_inner(self) -> R {
        let peeked = match self.inner {
            Inner::Plain(source) => source,
            Inner::Gzip(decoder) => decoder.into_inner(),
            Inner::Zstd(decoder) => decoder.finish(),
        };
        peeked.into_inner().into_inner().1
    }
}

fn sniff(magic: &[u8]) -> Result<Compression> {
    match magic {
        [0x1f, 0x8b, ..] => Ok(Compression::Gzip),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => Ok(Compression::Zstd),
        // A skippable frame, which some writers put first.
        [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Ok(Compression::Zstd),
        [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Err(Error::UnsupportedCompression("xz")),
        [b'B', b'Z', b'h', b'1'..=b'9', ..] => Err(Error::UnsupportedCompression("bzip2")),
        [b'L', b'Z', b'I', b'P', ..] => Err(Error::UnsupportedCompression("lzip")),
        [0x04, 0x22, 0x4d, 0x18, ..] => Err(Error::UnsupportedCompression("lz4")),
        [0x1f, 0x9d, ..] => Err(Error::UnsupportedCompression("compress")),
        _ => Ok(Compression::None),
    }
}

impl<R: Read> Read for Decompressor<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        match &mut self.inner {
            Inner::Plain(source) => source.read(buf),
            Inner::Gzip(decoder) => decoder.read(buf),
            Inner::Zstd(decoder) => decoder.read(buf),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn gzip(data: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(data).unwrap();
        encoder.finish().unwrap()
    }

    fn all(data: &[u8]) -> io::Result<Vec<u8>> {
        let mut out = Vec::new();
        Decompressor::new(data)
            .map_err(io::Error::other)?
            .read_to_end(&mut out)?;
        Ok(out)
    }

    #[test]
    fn kinds_are_recognised() {
        let data = b"hello hello hello".repeat(1000);
        assert_eq!(all(&data).unwrap(), data);
        assert_eq!(all(&gzip(&data)).unwrap(), data);
        let zstd = zstd::encode_all(&data[..], 1).unwrap();
        assert_eq!(all(&zstd).unwrap(), data);
        assert_eq!(
            Decompressor::new(&zstd[..]).unwrap().compression(),
            Compression::Zstd
        );
        assert_eq!(all(b"").unwrap(), b"");
        assert_eq!(all(b"ab").unwrap(), b"ab");
    }

    #[test]
    fn members_and_frames_are_joined() {
        let both = [gzip(b"one "), gzip(b"two")].concat();
        assert_eq!(all(&both).unwrap(), b"one two");
        let mut both = zstd::encode_all(&b"one "[..], 1).unwrap();
        both.extend([0x50, 0x2a, 0x4d, 0x18, 2, 0, 0, 0, 9, 9]);
        both.extend(zstd::encode_all(&b"two"[..], 1).unwrap());
        assert_eq!(all(&both).unwrap(), b"one two");
    }

    #[test]
    fn damage_is_an_error() {
        let data = b"hello hello hello".repeat(1000);
        let packed = gzip(&data);
        assert!(all(&packed[..packed.len() - 5]).is_err());
        assert!(all(&[packed.clone(), b"garbage".to_vec()].concat()).is_err());
        let packed = zstd::encode_all(&data[..], 1).unwrap();
        assert!(all(&packed[..packed.len() - 3]).is_err());
    }

    #[test]
    fn others_are_refused_by_name() {
        for (magic, name) in [
            (&[0xfd, b'7', b'z', b'X', b'Z', 0][..], "xz"),
            (b"BZh91AY", "bzip2"),
            (&[0x04, 0x22, 0x4d, 0x18, 0, 0], "lz4"),
        ] {
            match Decompressor::new(magic) {
                Err(Error::UnsupportedCompression(found)) => assert_eq!(found, name),
                _ => panic!("{name} was taken"),
            }
        }
    }
}
