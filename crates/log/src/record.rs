//! What a writer stores.

use crate::entry::Stream;

/// A line, or a piece of a long one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Record<'a> {
    pub(crate) stream: Stream,
    /// Nanoseconds since 1970.
    pub(crate) time: i64,
    /// Without the newline.
    pub(crate) line: &'a [u8],
    pub(crate) part: Part,
}

/// How a record relates to a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// A whole line.
    Whole,
    /// The `ordinal`th piece (from 1) of the line `id`; a newline followed the last one.
    Piece { id: u64, ordinal: u32, last: bool },
}

impl Part {
    /// Whether a newline followed in the output.
    pub(crate) const fn ends_line(self) -> bool {
        matches!(self, Self::Whole | Self::Piece { last: true, .. })
    }
}
