//! Output of a process: raw, or two streams in frames.

use bytes::{Buf, Bytes, BytesMut};
use coracle_docker::frame::{self, FrameKind, HEADER};
use tokio::io::{AsyncRead, AsyncReadExt};

use crate::error::{Error, Result};

/// Bytes read at once.
const CHUNK: usize = 64 * 1024;

/// A piece of output. A frame may come in several.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// What it is of.
    pub kind: FrameKind,
    /// The bytes.
    pub bytes: Bytes,
}

/// Reads output.
#[derive(Debug)]
pub struct FrameReader<R> {
    reader: R,
    buffer: BytesMut,
    /// The frame that is being read, and what is left of it; none between frames.
    frame: Option<(FrameKind, usize)>,
    framed: bool,
}

impl<R: AsyncRead + Unpin> FrameReader<R> {
    /// Reads frames, or where `framed` is false takes everything for standard output.
    pub fn new(reader: R, framed: bool) -> Self {
        Self {
            reader,
            buffer: BytesMut::new(),
            frame: None,
            framed,
        }
    }

    /// The next piece; none at the end. Safe to drop and call again.
    pub async fn next(&mut self) -> Result<Option<Item>> {
        loop {
            if let Some(item) = self.take()? {
                return Ok(Some(item));
            }
            self.buffer.reserve(CHUNK);
            if self.reader.read_buf(&mut self.buffer).await? == 0 {
                if self.buffer.is_empty() && self.frame.is_none() {
                    return Ok(None);
                }
                return Err(std::io::Error::from(std::io::ErrorKind::UnexpectedEof).into());
            }
        }
    }

    /// The next frame as a whole, at most [`MAX_PAYLOAD`](frame::MAX_PAYLOAD) bytes; without frames
    /// a piece like [`next`](Self::next). Safe to drop and call again.
    pub async fn next_frame(&mut self) -> Result<Option<Item>> {
        if !self.framed {
            return self.next().await;
        }
        loop {
            // A frame that `next` began is given to its end as it is.
            if let Some(frame) = self.take_frame()? {
                return Ok(Some(frame));
            }
            self.buffer.reserve(CHUNK);
            if self.reader.read_buf(&mut self.buffer).await? == 0 {
                if self.buffer.is_empty() && self.frame.is_none() {
                    return Ok(None);
                }
                return Err(std::io::Error::from(std::io::ErrorKind::UnexpectedEof).into());
            }
        }
    }

    /// The frame that the buffer holds already, if it is whole and not empty.
    fn take_frame(&mut self) -> Result<Option<Item>> {
        loop {
            if let Some((kind, length)) = self.frame {
                if self.buffer.len() < length {
                    return Ok(None);
                }
                let bytes = self.buffer.split_to(length).freeze();
                self.frame = None;
                if bytes.is_empty() {
                    continue;
                }
                return Ok(Some(Item { kind, bytes }));
            }
            if !self.head()? {
                return Ok(None);
            }
        }
    }

    /// Reads a frame's head; `false` where the buffer doesn't hold it.
    fn head(&mut self) -> Result<bool> {
        let Some(head) = self.buffer.first_chunk::<HEADER>() else {
            return Ok(false);
        };
        let parsed = frame::parse(*head).map_err(|error| Error::Answer {
            request: "an output stream".to_owned(),
            why: error.to_string(),
        })?;
        self.buffer.advance(HEADER);
        self.frame = Some(parsed);
        Ok(true)
    }

    /// What the buffer holds already.
    fn take(&mut self) -> Result<Option<Item>> {
        if !self.framed {
            let bytes = self.buffer.split().freeze();
            let kind = FrameKind::Stdout;
            return Ok((!bytes.is_empty()).then_some(Item { kind, bytes }));
        }
        loop {
            if let Some((kind, left)) = self.frame {
                let length = left.min(self.buffer.len());
                if length == 0 && left > 0 {
                    return Ok(None);
                }
                let bytes = self.buffer.split_to(length).freeze();
                self.frame = (left > length).then(|| (kind, left - length));
                if bytes.is_empty() {
                    continue;
                }
                return Ok(Some(Item { kind, bytes }));
            }
            if !self.head()? {
                return Ok(None);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn read(bytes: &[u8], framed: bool) -> Result<Vec<Item>> {
        let mut reader = FrameReader::new(bytes, framed);
        let mut items = Vec::new();
        while let Some(item) = reader.next().await? {
            items.push(item);
        }
        Ok(items)
    }

    fn frame_of(kind: FrameKind, payload: &[u8]) -> Vec<u8> {
        let mut bytes = frame::header(kind, payload.len() as u32).to_vec();
        bytes.extend_from_slice(payload);
        bytes
    }

    #[tokio::test]
    async fn frames_are_told_apart() {
        let bytes = [
            frame_of(FrameKind::Stdout, b"out"),
            frame_of(FrameKind::Stdout, b""),
            frame_of(FrameKind::Stderr, b"err"),
        ]
        .concat();
        let items = read(&bytes, true).await.unwrap();
        assert_eq!(items.len(), 2);
        assert_eq!(
            (items[0].kind, &*items[0].bytes),
            (FrameKind::Stdout, &b"out"[..])
        );
        assert_eq!(
            (items[1].kind, &*items[1].bytes),
            (FrameKind::Stderr, &b"err"[..])
        );
        let raw = read(&bytes, false).await.unwrap();
        assert_eq!(&*raw[0].bytes, &*bytes);
    }

    #[tokio::test]
    async fn frames_are_read_whole() {
        let long = vec![7; 200_000];
        let bytes = [
            frame_of(FrameKind::Stdout, &long),
            frame_of(FrameKind::Stderr, b""),
            frame_of(FrameKind::Stderr, b"err"),
        ]
        .concat();
        let mut reader = FrameReader::new(&*bytes, true);
        assert_eq!(&*reader.next_frame().await.unwrap().unwrap().bytes, &*long);
        let last = reader.next_frame().await.unwrap().unwrap();
        assert_eq!((last.kind, &*last.bytes), (FrameKind::Stderr, &b"err"[..]));
        assert_eq!(reader.next_frame().await.unwrap(), None);
        let mut torn = FrameReader::new(&bytes[..100], true);
        assert!(torn.next_frame().await.is_err());
    }

    #[tokio::test]
    async fn a_torn_stream_is_an_error() {
        let bytes = frame_of(FrameKind::Stdout, b"out");
        for length in 1..bytes.len() {
            assert!(read(&bytes[..length], true).await.is_err(), "{length}");
        }
        assert!(read(b"HTTP/1.1 200", true).await.is_err());
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes: Vec<u8>, framed: bool) {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let _ = runtime.block_on(read(&bytes, framed));
        }
    }
}
