//! How much an archive may ask for.

/// Bounds on an archive. Exceeding one is [`Error::LimitExceeded`](crate::Error::LimitExceeded).
#[derive(Debug, Clone)]
pub struct Limits {
    /// Headers in the stream, extension headers included.
    pub max_entries: u64,
    /// Bytes of the uncompressed stream (holes of sparse files are not in it).
    pub max_bytes: u64,
    /// Bytes in one path, the link's target included. The kernel's own limit is 4095.
    pub max_path: usize,
    /// Bytes in one extension header (PAX records or a GNU long name).
    pub max_extension: u64,
    /// Data segments of one sparse file.
    pub max_segments: usize,
}

impl Default for Limits {
    /// 8 million headers, 512 GiB, paths of 4095 bytes, extension headers of 1 MiB (as Go's
    /// archive/tar), a million segments.
    fn default() -> Limits {
        Limits {
            max_entries: 8 << 20,
            max_bytes: 512 << 30,
            max_path: 4095,
            max_extension: 1 << 20,
            max_segments: 1 << 20,
        }
    }
}
