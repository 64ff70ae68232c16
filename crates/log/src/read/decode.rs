//! Takes entries out of bytes. Whatever the bytes, it gives entries or notes, and goes on.

use std::borrow::Cow;
use std::collections::BTreeMap;

use bytes::Bytes;
use jiff::Timestamp;
use serde::Deserialize;

use super::LogEntry;
use super::Skipped;
use crate::config::Driver;
use crate::entry::Stream;

/// The longest entry that is read, in bytes of the file. The longest that is written is
/// 16 KiB of which each byte is escaped to six, and attributes.
pub(crate) const MAX_ENTRY: usize = 1 << 20;

/// What the front of a buffer holds.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Front {
    /// An entry of `size` bytes, its content in `from..to`.
    Entry { size: usize, from: usize, to: usize },
    /// The beginning of an entry.
    More,
    /// An entry that is too long to be one: everything up to the next newline is to be skipped.
    TooLong,
    /// No entry: there is no telling where the next one begins.
    Corrupt,
}

/// Looks for one entry at the front of `buf`.
pub(crate) fn front(driver: Driver, buf: &[u8]) -> Front {
    match driver {
        Driver::Local => local_front(buf),
        _ => match buf.iter().take(MAX_ENTRY).position(|byte| *byte == b'\n') {
            Some(end) => Front::Entry {
                size: end + 1,
                from: 0,
                to: end,
            },
            None if buf.len() >= MAX_ENTRY => Front::TooLong,
            None => Front::More,
        },
    }
}

fn local_front(buf: &[u8]) -> Front {
    let Some(prefix) = buf.first_chunk::<4>() else {
        return Front::More;
    };
    let len = usize::try_from(u32::from_be_bytes(*prefix)).unwrap_or(usize::MAX);
    if len > MAX_ENTRY {
        return Front::Corrupt;
    }
    match buf.get(4 + len..8 + len) {
        None => Front::More,
        Some(suffix) if suffix == prefix => Front::Entry {
            size: len + 8,
            from: 4,
            to: 4 + len,
        },
        Some(_) => Front::Corrupt,
    }
}

/// Reads the content of an entry.
pub(crate) fn decode(driver: Driver, content: &[u8]) -> Result<LogEntry, Skipped> {
    let entry = match driver {
        Driver::Local => local(content),
        _ => json(content),
    };
    entry.ok_or(Skipped::Corrupt(content.len() as u64))
}

#[derive(Deserialize)]
struct Line<'a> {
    #[serde(borrow, default)]
    log: Cow<'a, str>,
    #[serde(borrow)]
    stream: Cow<'a, str>,
    #[serde(default)]
    attrs: BTreeMap<String, String>,
    #[serde(borrow)]
    time: Cow<'a, str>,
}

fn json(content: &[u8]) -> Option<LogEntry> {
    let line: Line<'_> = serde_json::from_slice(content).ok()?;
    Some(LogEntry {
        time: line.time.parse().ok()?,
        stream: Stream::from_name(&line.stream)?,
        partial: !line.log.ends_with('\n'),
        line: Bytes::copy_from_slice(line.log.as_bytes()),
        attrs: line.attrs,
    })
}

/// Reads a protobuf `LogEntry`, see the `local` module. Unknown fields are passed over.
fn local(content: &[u8]) -> Option<LogEntry> {
    let (mut stream, mut time, mut line) = (None, 0, &[][..]);
    let (mut partial, mut last) = (false, false);
    let mut fields = Fields(content);
    while let Some((field, value)) = fields.next()? {
        match (field, value) {
            (1, Value::Bytes(name)) => {
                stream = Stream::from_name(std::str::from_utf8(name).ok()?);
            }
            (2, Value::Varint(nanos)) => time = nanos.cast_signed(),
            (3, Value::Bytes(bytes)) => line = bytes,
            (4, Value::Varint(flag)) => partial = flag != 0,
            (5, Value::Bytes(meta)) => {
                let mut meta = Fields(meta);
                while let Some((field, value)) = meta.next()? {
                    if let (1, Value::Varint(flag)) = (field, value) {
                        last = flag != 0;
                    }
                }
            }
            _ => {}
        }
    }
    let partial = partial && !last;
    let mut bytes = Vec::with_capacity(line.len() + 1);
    bytes.extend_from_slice(line);
    if !partial {
        bytes.push(b'\n');
    }
    Some(LogEntry {
        time: Timestamp::from_nanosecond(i128::from(time)).ok()?,
        stream: stream?,
        line: bytes.into(),
        partial,
        attrs: BTreeMap::new(),
    })
}

enum Value<'a> {
    Varint(u64),
    Bytes(&'a [u8]),
    Fixed,
}

/// The fields of a protobuf message.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    /// The next field; `Some(None)` at the end, `None` if it is malformed.
    fn next(&mut self) -> Option<Option<(u64, Value<'a>)>> {
        if self.0.is_empty() {
            return Some(None);
        }
        let key = self.varint()?;
        let value = match key & 7 {
            0 => Value::Varint(self.varint()?),
            1 => self.bytes(8).map(|_| Value::Fixed)?,
            2 => {
                let len = usize::try_from(self.varint()?).ok()?;
                Value::Bytes(self.bytes(len)?)
            }
            5 => self.bytes(4).map(|_| Value::Fixed)?,
            _ => return None,
        };
        Some(Some((key >> 3, value)))
    }

    fn bytes(&mut self, len: usize) -> Option<&'a [u8]> {
        let (head, tail) = self.0.split_at_checked(len)?;
        self.0 = tail;
        Some(head)
    }

    fn varint(&mut self) -> Option<u64> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let (byte, tail) = self.0.split_first()?;
            self.0 = tail;
            value |= u64::from(byte & 0x7F) << shift;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::json::JsonEncoder;
    use crate::record::Part;
    use crate::record::Record;

    proptest! {
        #[test]
        fn hostile_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            for driver in [Driver::JsonFile, Driver::Local] {
                let _ = front(driver, &bytes);
                let _ = decode(driver, &bytes);
            }
        }

        #[test]
        fn what_is_written_is_read(
            line in proptest::collection::vec(any::<u8>(), 0..100),
            time in 0i64..4_000_000_000_000_000_000,
            piece in any::<Option<(u64, u32, bool)>>(),
            stdout in any::<bool>(),
        ) {
            let stream = if stdout { Stream::Stdout } else { Stream::Stderr };
            let part = match piece {
                None => Part::Whole,
                Some((id, ordinal, last)) => Part::Piece { id, ordinal, last },
            };
            let line: Vec<u8> = line.into_iter().filter(|b| *b != b'\n').collect();
            let record = Record { stream, time, line: &line, part };
            let mut json = Vec::new();
            JsonEncoder::new(&BTreeMap::new()).encode(&record, &mut json);
            let mut local = Vec::new();
            crate::local::encode(&record, &mut local);
            for (driver, bytes) in [(Driver::JsonFile, json), (Driver::Local, local)] {
                let Front::Entry { size, from, to } = front(driver, &bytes) else {
                    panic!("no entry")
                };
                prop_assert_eq!(size, bytes.len());
                for cut in 0..size {
                    prop_assert_eq!(front(driver, &bytes[..cut]), Front::More);
                }
                let entry = decode(driver, &bytes[from..to]).unwrap();
                prop_assert_eq!(entry.time.as_nanosecond(), i128::from(time));
                prop_assert_eq!(entry.stream, stream);
                prop_assert_eq!(entry.partial, !part.ends_line());
                let mut text = line.clone();
                if part.ends_line() {
                    text.push(b'\n');
                }
                if driver == Driver::JsonFile {
                    text = String::from_utf8_lossy(&text).into_owned().into_bytes();
                    // Rust joins bytes of one truncated character, Go (and so we) don't.
                    let count = |t: &[u8]| String::from_utf8_lossy(t).replace('\u{fffd}', "");
                    prop_assert_eq!(count(&entry.line), count(&text));
                } else {
                    prop_assert_eq!(&entry.line[..], &text[..]);
                }
            }
        }
    }
}
