//! Little-endian fields at fixed offsets of a block that is being built.

/// Puts bytes at an offset. What doesn't fit is a bug of the caller's.
pub(crate) fn put(block: &mut [u8], at: usize, bytes: &[u8]) {
    debug_assert!(at + bytes.len() <= block.len());
    if let Some(place) = block.get_mut(at..at + bytes.len()) {
        place.copy_from_slice(bytes);
    }
}

pub(crate) fn put16(block: &mut [u8], at: usize, value: u16) {
    put(block, at, &value.to_le_bytes());
}

pub(crate) fn put32(block: &mut [u8], at: usize, value: u32) {
    put(block, at, &value.to_le_bytes());
}

pub(crate) fn put64(block: &mut [u8], at: usize, value: u64) {
    put(block, at, &value.to_le_bytes());
}

/// The lower half.
pub(crate) fn low(value: u64) -> u32 {
    (value & 0xffff_ffff) as u32
}

/// The upper half.
pub(crate) fn high(value: u64) -> u32 {
    (value >> 32) as u32
}
