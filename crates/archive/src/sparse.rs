//! Maps of sparse files: GNU's old format and PAX 0.0, 0.1 and 1.0.
//!
//! See GNU tar's manual, "Storing Sparse Files".

use crate::entry::Segment;
use crate::header::number;

/// Bytes of one offset or length in GNU's old format.
const FIELD: usize = 12;

/// Reads the entries of an old-format map, either the header's four or an extension block's 21.
/// An empty one ends the map.
pub(crate) fn gnu_segments(map: &[u8], out: &mut Vec<Segment>) -> Result<(), String> {
    for pair in map.chunks_exact(2 * FIELD) {
        let (offset, len) = pair.split_at(FIELD);
        let (Some(offset), Some(len)) = (number(offset)?, number(len)?) else {
            return Ok(());
        };
        let (Ok(offset), Ok(len)) = (u64::try_from(offset), u64::try_from(len)) else {
            return Err("a sparse segment is negative".into());
        };
        out.push(Segment { offset, len });
    }
    Ok(())
}

/// Offsets and lengths by turns, as PAX has them.
pub(crate) fn pairs(map: &[u64]) -> Result<Vec<Segment>, String> {
    if !map.len().is_multiple_of(2) {
        return Err("the sparse map has an odd number of elements".into());
    }
    Ok(map
        .chunks_exact(2)
        .filter_map(|pair| match pair {
            [offset, len] => Some(Segment {
                offset: *offset,
                len: *len,
            }),
            _ => None,
        })
        .collect())
}

/// Checks that segments are in order, don't overlap, stay within the file, and amount to just the
/// bytes that the archive stores. Drops empty ones.
pub(crate) fn validate(
    mut segments: Vec<Segment>,
    real_size: u64,
    stored: u64,
) -> Result<Vec<Segment>, String> {
    let mut end = 0u64;
    let mut total = 0u64;
    for segment in &segments {
        if segment.offset < end {
            return Err("sparse segments overlap or are out of order".into());
        }
        end = segment
            .offset
            .checked_add(segment.len)
            .ok_or("a sparse segment is too long")?;
        if end > real_size {
            return Err("a sparse segment reaches beyond the file's end".into());
        }
        total += segment.len;
    }
    if total != stored {
        return Err(format!(
            "the sparse segments hold {total} bytes, the archive {stored}"
        ));
    }
    segments.retain(|segment| segment.len > 0);
    Ok(segments)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seg(offset: u64, len: u64) -> Segment {
        Segment { offset, len }
    }

    #[test]
    fn maps_are_checked() {
        let ok = validate(vec![seg(0, 5), seg(10, 5), seg(20, 0)], 20, 10).unwrap();
        assert_eq!(ok, vec![seg(0, 5), seg(10, 5)]);
        assert!(validate(vec![seg(0, 5), seg(4, 5)], 20, 10).is_err());
        assert!(validate(vec![seg(10, 5), seg(0, 5)], 20, 10).is_err());
        assert!(validate(vec![seg(16, 5)], 20, 5).is_err());
        assert!(validate(vec![seg(0, 5)], 20, 6).is_err());
        assert!(validate(vec![seg(u64::MAX, 5)], u64::MAX, 5).is_err());
        assert!(pairs(&[1, 2, 3]).is_err());
    }
}
