//! The 512-byte header block (POSIX.1-1988 ustar, GNU, v7).

use crate::entry::{Entry, Kind, Time};

/// The unit of a tar stream.
pub(crate) const BLOCK: usize = 512;

/// Bytes that fill up `size` to a whole block.
pub(crate) fn padding(size: u64) -> u64 {
    size.wrapping_neg() % BLOCK as u64
}

/// Which dialect a header is of: it decides what the bytes after the device numbers mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    V7,
    Ustar,
    Star,
    Gnu,
}

/// A header block that is about to be parsed.
pub(crate) struct Header<'a>(pub(crate) &'a [u8; BLOCK]);

impl Header<'_> {
    pub(crate) fn is_zero(&self) -> bool {
        self.0.iter().all(|b| *b == 0)
    }

    /// A field; the ranges are constants within the block.
    fn field(&self, start: usize, len: usize) -> &[u8] {
        self.0.get(start..start + len).unwrap_or_default()
    }

    /// Whether the sum of the bytes is right, as unsigned or (old archives) as signed ones.
    pub(crate) fn checksum_ok(&self) -> bool {
        let Ok(Some(expected)) = number(self.field(148, 8)) else {
            return false;
        };
        let mut unsigned = 8 * i64::from(b' ');
        let mut signed = unsigned;
        for (i, b) in self.0.iter().enumerate() {
            if !(148..156).contains(&i) {
                unsigned += i64::from(*b);
                signed += i64::from(*b as i8);
            }
        }
        expected == unsigned || expected == signed
    }

    pub(crate) fn format(&self) -> Format {
        match (self.field(257, 6), self.field(263, 2), self.field(508, 4)) {
            (b"ustar ", b" \0", _) => Format::Gnu,
            (b"ustar\0", _, b"tar\0") => Format::Star,
            (b"ustar\0", _, _) => Format::Ustar,
            _ => Format::V7,
        }
    }

    pub(crate) fn type_flag(&self) -> u8 {
        self.0[156]
    }

    /// The file's size on tape.
    pub(crate) fn size(&self) -> Result<u64, String> {
        unsigned("size", self.field(124, 12))
    }

    /// GNU sparse: the file's size with its holes.
    pub(crate) fn gnu_real_size(&self) -> Result<u64, String> {
        unsigned("real size", self.field(483, 12))
    }

    /// GNU sparse: the part of the map that is in this header, and whether more follows.
    pub(crate) fn gnu_map(&self) -> (&[u8], bool) {
        (self.field(386, 96), self.0[482] != 0)
    }

    /// Everything but kind and size, without the extension headers' say.
    pub(crate) fn entry(&self) -> Result<Entry, String> {
        let mut path = self.field(0, 100);
        path = until_nul(path);
        let prefix = match self.format() {
            Format::Ustar => until_nul(self.field(345, 155)),
            Format::Star => until_nul(self.field(345, 131)),
            Format::Gnu | Format::V7 => b"",
        };
        let path = if prefix.is_empty() {
            path.to_vec()
        } else {
            [prefix, b"/", path].concat()
        };
        let device = if self.format() == Format::V7 {
            (0, 0)
        } else {
            (
                small("device", self.field(329, 8))?,
                small("device", self.field(337, 8))?,
            )
        };
        Ok(Entry {
            path,
            link: until_nul(self.field(157, 100)).to_vec(),
            kind: Kind::File,
            mode: (number(self.field(100, 8))?.unwrap_or(0) & 0o7777) as u32,
            uid: id("user", number(self.field(108, 8))?.unwrap_or(0))?,
            gid: id("group", number(self.field(116, 8))?.unwrap_or(0))?,
            size: 0,
            mtime: Time {
                secs: number(self.field(136, 12))?.unwrap_or(0),
                nanos: 0,
            },
            device,
            xattrs: Vec::new(),
            sparse: None,
        })
    }
}

/// An id that chown takes: `u32::MAX` means "unchanged" to it, and is refused.
pub(crate) fn id(what: &str, value: i64) -> Result<u32, String> {
    match u32::try_from(value) {
        Ok(id) if id != u32::MAX => Ok(id),
        _ => Err(format!("{what} id {value} is out of range")),
    }
}

fn unsigned(what: &str, field: &[u8]) -> Result<u64, String> {
    let value = number(field)?.unwrap_or(0);
    u64::try_from(value).map_err(|_| format!("the {what} is negative"))
}

fn small(what: &str, field: &[u8]) -> Result<u32, String> {
    let value = number(field)?.unwrap_or(0);
    u32::try_from(value).map_err(|_| format!("the {what} number is out of range"))
}

pub(crate) fn until_nul(field: &[u8]) -> &[u8] {
    field.split(|b| *b == 0).next().unwrap_or_default()
}

/// A numeric field: octal digits among blanks and NULs, or GNU's base 256. None where it is empty.
pub(crate) fn number(field: &[u8]) -> Result<Option<i64>, String> {
    match field.first() {
        Some(first) if first & 0x80 != 0 => base256(field).map(Some),
        _ => octal(field),
    }
}

fn octal(field: &[u8]) -> Result<Option<i64>, String> {
    let blank = |b: &u8| *b == b' ' || *b == 0;
    let start = field.iter().position(|b| !blank(b)).unwrap_or(field.len());
    let digits = field.get(start..).unwrap_or_default();
    let end = digits.iter().position(blank).unwrap_or(digits.len());
    let (digits, rest) = digits.split_at(end);
    if !rest.iter().all(blank) {
        return Err("a number is followed by something else".into());
    }
    if digits.is_empty() {
        return Ok(None);
    }
    let mut value: i64 = 0;
    for b in digits {
        if !(b'0'..=b'7').contains(b) {
            return Err("a number isn't octal".into());
        }
        value = value
            .checked_mul(8)
            .and_then(|v| v.checked_add(i64::from(b - b'0')))
            .ok_or("a number is too large")?;
    }
    Ok(Some(value))
}

/// Big-endian two's complement after the marker bit.
fn base256(field: &[u8]) -> Result<i64, String> {
    let negative = field.first().is_some_and(|b| b & 0x40 != 0);
    let mut value: i128 = if negative { -1 } else { 0 };
    for (i, b) in field.iter().enumerate() {
        // The marker bit is replaced by a copy of the sign.
        let b = match (i, negative) {
            (0, true) => *b | 0x80,
            (0, false) => *b & 0x7f,
            _ => *b,
        };
        value = (value << 8) | i128::from(b);
        if i64::try_from(value).is_err() {
            return Err("a number is too large".into());
        }
    }
    i64::try_from(value).map_err(|_| "a number is too large".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn octal_fields() {
        assert_eq!(number(b"0000644\0"), Ok(Some(0o644)));
        assert_eq!(number(b"   644 \0"), Ok(Some(0o644)));
        assert_eq!(number(b"\0\0\0\0"), Ok(None));
        assert_eq!(number(b"77777777777\0"), Ok(Some(0o77777777777)));
        assert!(number(b"-1\0").is_err());
        assert!(number(b"12 3\0").is_err());
        assert!(number(b"9\0").is_err());
    }

    #[test]
    fn base256_fields() {
        let mut field = [0u8; 12];
        field[0] = 0x80;
        field[11] = 5;
        assert_eq!(number(&field), Ok(Some(5)));
        assert_eq!(number(&[0xff; 12]), Ok(Some(-1)));
        assert_eq!(number(&[0xff; 8]), Ok(Some(-1)));
        let mut huge = [0xffu8; 12];
        huge[0] = 0xbf;
        assert!(number(&huge).is_err());
    }

    #[test]
    fn padding_fills_blocks() {
        assert_eq!(padding(0), 0);
        assert_eq!(padding(1), 511);
        assert_eq!(padding(512), 0);
        assert_eq!(padding(u64::MAX), 1);
    }
}
