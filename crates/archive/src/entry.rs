//! One entry of an archive.

/// A point in time: seconds since the epoch, and nanoseconds after that (below 10⁹).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Time {
    /// Seconds since 1970, may be negative.
    pub secs: i64,
    /// Nanoseconds, added to the seconds even where these are negative.
    pub nanos: u32,
}

/// What an entry is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A regular file.
    #[default]
    File,
    /// Another name of an entry seen before, named by [`Entry::link`].
    HardLink,
    /// A symbolic link to [`Entry::link`].
    Symlink,
    /// A character device.
    CharDevice,
    /// A block device.
    BlockDevice,
    /// A directory.
    Directory,
    /// A named pipe.
    Fifo,
}

/// A run of data in a sparse file; everything between segments is a hole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Segment {
    /// Where in the file.
    pub offset: u64,
    /// How many bytes.
    pub len: u64,
}

/// An entry's header, extension headers merged in. Names are bytes, as archived.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Entry {
    /// The name, not normalised; see [`Limits::max_path`](crate::Limits::max_path).
    pub path: Vec<u8>,
    /// What a hard or symbolic link points to.
    pub link: Vec<u8>,
    /// What it is.
    pub kind: Kind,
    /// Permissions with setuid, setgid and sticky: 12 bits.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Size of a regular file, holes included; 0 for everything else.
    pub size: u64,
    /// Time of the last modification.
    pub mtime: Time,
    /// Device numbers, major and minor.
    pub device: (u32, u32),
    /// Extended attributes.
    pub xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    /// A sparse file's data; the stream holds just these, one after the other.
    pub sparse: Option<Vec<Segment>>,
}
