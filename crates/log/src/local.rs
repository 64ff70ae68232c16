//! The `local` format, which is Docker's: each entry is its length (u32, big endian), a
//! protobuf message, and the length again, so that a file can be read from either end
//! (moby: api/types/plugins/logdriver/entry.proto, daemon/logger/local).
//!
//! ```proto
//! message LogEntry {
//!   string source = 1;                // "stdout" or "stderr"
//!   int64 time_nano = 2;
//!   bytes line = 3;                   // without the newline
//!   bool partial = 4;
//!   PartialLogEntryMetadata partial_log_metadata = 5;
//! }
//! message PartialLogEntryMetadata { bool last = 1; string id = 2; int32 ordinal = 3; }
//! ```

use crate::record::Part;
use crate::record::Record;

const VARINT: u8 = 0;
const BYTES: u8 = 2;

/// Appends a record.
pub(crate) fn encode(record: &Record<'_>, out: &mut Vec<u8>) {
    let start = out.len();
    out.extend_from_slice(&[0; 4]);
    bytes(out, 1, record.stream.name().as_bytes());
    varint_field(out, 2, record.time.cast_unsigned());
    bytes(out, 3, record.line);
    if let Part::Piece { id, ordinal, last } = record.part {
        varint_field(out, 4, 1);
        let mut meta = Vec::with_capacity(32);
        varint_field(&mut meta, 1, u64::from(last));
        bytes(&mut meta, 2, format!("{id:016x}").as_bytes());
        varint_field(&mut meta, 3, u64::from(ordinal));
        bytes(out, 5, &meta);
    }
    // A record has one line of bounded length, so this fits.
    let len = u32::try_from(out.len() - start - 4)
        .unwrap_or(u32::MAX)
        .to_be_bytes();
    if let Some(prefix) = out.get_mut(start..start + 4) {
        prefix.copy_from_slice(&len);
    }
    out.extend_from_slice(&len);
}

fn key(out: &mut Vec<u8>, field: u8, kind: u8) {
    out.push(field << 3 | kind);
}

fn bytes(out: &mut Vec<u8>, field: u8, value: &[u8]) {
    if !value.is_empty() {
        key(out, field, BYTES);
        varint(out, u64::try_from(value.len()).unwrap_or(u64::MAX));
        out.extend_from_slice(value);
    }
}

fn varint_field(out: &mut Vec<u8>, field: u8, value: u64) {
    if value != 0 {
        key(out, field, VARINT);
        varint(out, value);
    }
}

fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push((value & 0x7F) as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entry::Stream;

    #[test]
    fn as_protobuf_defines_it() {
        let mut out = Vec::new();
        let record = Record {
            stream: Stream::Stdout,
            time: 300,
            line: b"hi",
            part: Part::Whole,
        };
        encode(&record, &mut out);
        assert_eq!(
            out,
            b"\0\0\0\x0f\x0a\x06stdout\x10\xac\x02\x1a\x02hi\0\0\0\x0f"
        );
    }
}
