//! Multiplexed streams: output of a process without a terminal, in frames of eight header bytes
//! (stream, three zeros, length big-endian) and payload.

use coracle_runtime::io::StreamKind;

/// Length of a frame's header.
pub const HEADER: usize = 8;

/// The longest payload that is read; writers never come near it.
pub const MAX_PAYLOAD: usize = 16 * 1024 * 1024;

/// What a frame carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameKind {
    /// Standard input (never sent by servers).
    Stdin,
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
    /// An error of the server's, as text.
    SystemError,
}

impl From<StreamKind> for FrameKind {
    fn from(kind: StreamKind) -> Self {
        match kind {
            StreamKind::Stdout => Self::Stdout,
            StreamKind::Stderr => Self::Stderr,
        }
    }
}

/// Why a header is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// The stream's number is unknown.
    #[error("unrecognized stream: {0}")]
    Stream(u8),
    /// The payload is too long to be meant.
    #[error("a frame of {0} bytes is too long")]
    TooLong(usize),
}

/// The header of a frame.
pub fn header(kind: FrameKind, length: u32) -> [u8; HEADER] {
    let stream = match kind {
        FrameKind::Stdin => 0,
        FrameKind::Stdout => 1,
        FrameKind::Stderr => 2,
        FrameKind::SystemError => 3,
    };
    let [a, b, c, d] = length.to_be_bytes();
    [stream, 0, 0, 0, a, b, c, d]
}

/// Reads a header: what the frame carries, and how many bytes.
pub fn parse(header: [u8; HEADER]) -> Result<(FrameKind, usize), FrameError> {
    let [stream, _, _, _, a, b, c, d] = header;
    let kind = match stream {
        0 => FrameKind::Stdin,
        1 => FrameKind::Stdout,
        2 => FrameKind::Stderr,
        3 => FrameKind::SystemError,
        other => return Err(FrameError::Stream(other)),
    };
    let length = u32::from_be_bytes([a, b, c, d]) as usize;
    if length > MAX_PAYLOAD {
        return Err(FrameError::TooLong(length));
    }
    Ok((kind, length))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_read_as_written() {
        let bytes = header(FrameKind::Stderr, 258);
        assert_eq!(bytes, [2, 0, 0, 0, 0, 0, 1, 2]);
        assert_eq!(parse(bytes), Ok((FrameKind::Stderr, 258)));
    }

    #[test]
    fn nonsense_is_refused() {
        assert_eq!(parse(*b"HTTP/1.1"), Err(FrameError::Stream(b'H')));
        assert!(matches!(
            parse([1, 0, 0, 0, 255, 0, 0, 0]),
            Err(FrameError::TooLong(_))
        ));
    }
}
