//! Frames: a length (u32, little endian, without itself), then as many bytes. Before and
//! around an attach they hold JSON, during one a tag byte and data.

use std::io;
use std::pin::Pin;
use std::task::Context;
use std::task::Poll;
use std::task::ready;

use bytes::Buf;
use bytes::BufMut;
use bytes::Bytes;
use bytes::BytesMut;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::AsyncRead;
use tokio::io::AsyncWrite;
use tokio::io::AsyncWriteExt;
use tokio::io::ReadBuf;

use crate::TaskError;

/// The longest frame in bytes, length excluded.
pub const MAX_FRAME: usize = 16 << 20;

/// The most bytes of data that a sender puts into one [`Data`] frame.
pub const MAX_DATA: usize = 64 << 10;

/// A frame that can't be understood. The connection is of no more use.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// The length is above [`MAX_FRAME`].
    #[error("a frame of {0} bytes is over the limit of {MAX_FRAME}")]
    TooLong(usize),
    /// The connection ended within a frame.
    #[error("the connection ended within a frame")]
    Truncated,
    /// The content is not the JSON that was expected.
    #[error("malformed message: {0}")]
    Json(#[from] serde_json::Error),
    /// A data frame without a tag, or with an unknown one.
    #[error("malformed data frame")]
    Data,
}

impl From<FrameError> for TaskError {
    fn from(error: FrameError) -> Self {
        match error {
            FrameError::Truncated => Self::Gone,
            error => Self::Protocol(error.to_string()),
        }
    }
}

/// Takes one whole frame off the front of `buf`; `None` if more bytes are needed.
pub fn take_frame(buf: &mut BytesMut) -> Result<Option<Bytes>, FrameError> {
    let Some(prefix) = buf.first_chunk::<4>() else {
        return Ok(None);
    };
    let len = usize::try_from(u32::from_le_bytes(*prefix)).unwrap_or(usize::MAX);
    if len > MAX_FRAME {
        return Err(FrameError::TooLong(len));
    }
    if buf.len() - 4 < len {
        return Ok(None);
    }
    buf.advance(4);
    Ok(Some(buf.split_to(len).freeze()))
}

/// Encodes `message` as one JSON frame.
pub fn json_frame<T: Serialize>(message: &T) -> Result<Vec<u8>, FrameError> {
    let mut frame = vec![0; 4];
    serde_json::to_writer(&mut frame, message)?;
    let len = frame.len() - 4;
    if len > MAX_FRAME {
        return Err(FrameError::TooLong(len));
    }
    // Not above MAX_FRAME, so it fits.
    let prefix = (len as u32).to_le_bytes();
    frame
        .iter_mut()
        .zip(prefix)
        .for_each(|(to, from)| *to = from);
    Ok(frame)
}

/// The content of a frame during an attach.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Data {
    /// Client to shim: input.
    Stdin(Bytes),
    /// Client to shim: the input ends.
    CloseStdin,
    /// Shim to client.
    Stdout(Bytes),
    /// Shim to client.
    Stderr(Bytes),
    /// Shim to client: the process ended, and this was all of its output.
    End,
}

impl Data {
    const STDIN: u8 = 0;
    const STDOUT: u8 = 1;
    const STDERR: u8 = 2;
    const CLOSE_STDIN: u8 = 3;
    const END: u8 = 4;

    /// Reads the content of a frame.
    pub fn decode(mut frame: Bytes) -> Result<Self, FrameError> {
        let tag = frame.try_get_u8().map_err(|_| FrameError::Data)?;
        match tag {
            Self::STDIN => Ok(Self::Stdin(frame)),
            Self::STDOUT => Ok(Self::Stdout(frame)),
            Self::STDERR => Ok(Self::Stderr(frame)),
            Self::CLOSE_STDIN if frame.is_empty() => Ok(Self::CloseStdin),
            Self::END if frame.is_empty() => Ok(Self::End),
            _ => Err(FrameError::Data),
        }
    }

    /// The bytes that go before the data on the wire: length and tag. Data beyond
    /// [`MAX_DATA`] is for the caller to split.
    #[must_use]
    pub fn header(&self) -> [u8; 5] {
        let (tag, len) = match self {
            Self::Stdin(data) => (Self::STDIN, data.len()),
            Self::Stdout(data) => (Self::STDOUT, data.len()),
            Self::Stderr(data) => (Self::STDERR, data.len()),
            Self::CloseStdin => (Self::CLOSE_STDIN, 0),
            Self::End => (Self::END, 0),
        };
        let [a, b, c, d] = u32::try_from(len + 1).unwrap_or(u32::MAX).to_le_bytes();
        [a, b, c, d, tag]
    }

    /// The data itself; empty for the marks.
    #[must_use]
    pub fn payload(&self) -> &[u8] {
        match self {
            Self::Stdin(data) | Self::Stdout(data) | Self::Stderr(data) => data,
            Self::CloseStdin | Self::End => &[],
        }
    }

    /// Appends the whole frame to `buf`.
    pub fn encode(&self, buf: &mut BytesMut) {
        buf.put_slice(&self.header());
        buf.put_slice(self.payload());
    }
}

/// Reads frames off a byte stream. Cancel safe: what was read stays buffered.
#[derive(Debug)]
pub struct FrameReader<R> {
    io: R,
    buf: BytesMut,
}

impl<R: AsyncRead + Unpin> FrameReader<R> {
    /// Reads from `io`.
    pub fn new(io: R) -> Self {
        Self {
            io,
            buf: BytesMut::new(),
        }
    }

    /// The stream below, to write to.
    pub fn get_mut(&mut self) -> &mut R {
        &mut self.io
    }

    /// Polls for the next frame; `None` at the end of the stream.
    pub fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, TaskError>> {
        loop {
            if let Some(frame) = take_frame(&mut self.buf)? {
                return Poll::Ready(Ok(Some(frame)));
            }
            // In small steps: memory is only used for what really arrives.
            let mut chunk = [0; 16 << 10];
            let mut chunk = ReadBuf::new(&mut chunk);
            ready!(Pin::new(&mut self.io).poll_read(cx, &mut chunk))?;
            if chunk.filled().is_empty() {
                return Poll::Ready(match self.buf.is_empty() {
                    true => Ok(None),
                    false => Err(FrameError::Truncated.into()),
                });
            }
            self.buf.extend_from_slice(chunk.filled());
        }
    }

    /// Waits for the next frame; `None` at the end of the stream.
    pub async fn frame(&mut self) -> Result<Option<Bytes>, TaskError> {
        std::future::poll_fn(|cx| self.poll_frame(cx)).await
    }

    /// Waits for the next message; `None` at the end of the stream.
    pub async fn message<T: DeserializeOwned>(&mut self) -> Result<Option<T>, TaskError> {
        let Some(frame) = self.frame().await? else {
            return Ok(None);
        };
        Ok(Some(
            serde_json::from_slice(&frame).map_err(FrameError::Json)?,
        ))
    }
}

/// Writes one message as a frame.
pub async fn send<W: AsyncWrite + Unpin, T: Serialize>(
    io: &mut W,
    message: &T,
) -> Result<(), TaskError> {
    Ok(io.write_all(&json_frame(message)?).await?)
}

/// Writes one data frame, without copying the data.
pub async fn send_data<W: AsyncWrite + Unpin>(io: &mut W, data: &Data) -> io::Result<()> {
    let header = data.header();
    let mut bytes = Buf::chain(&header[..], data.payload());
    while bytes.has_remaining() {
        if io.write_buf(&mut bytes).await? == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::Hello;
    use crate::Request;

    fn read(bytes: &[u8]) -> Vec<Result<Option<Bytes>, String>> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        runtime.block_on(async {
            let mut reader = FrameReader::new(bytes);
            let mut frames = Vec::new();
            loop {
                let frame = reader.frame().await.map_err(|error| error.to_string());
                let over = !matches!(frame, Ok(Some(_)));
                frames.push(frame);
                if over {
                    return frames;
                }
            }
        })
    }

    #[test]
    fn limits() {
        let too_long = u32::try_from(MAX_FRAME + 1).unwrap().to_le_bytes();
        assert!(matches!(&read(&too_long)[..], [Err(error)] if error.contains("over the limit")));
        assert!(matches!(&read(b"\x02\0\0\0x")[..], [Err(error)] if error.contains("gone")));
        assert_eq!(read(b""), [Ok(None)]);
        let mut longest = u32::try_from(MAX_FRAME).unwrap().to_le_bytes().to_vec();
        longest.resize(MAX_FRAME + 4, 7);
        assert_eq!(
            read(&longest)[0].as_ref().unwrap().as_ref().unwrap().len(),
            MAX_FRAME
        );
        let huge = "x".repeat(MAX_FRAME);
        assert!(matches!(json_frame(&huge), Err(FrameError::TooLong(_))));
    }

    #[test]
    fn json_has_its_length_in_front() {
        let frame = json_frame(&Hello { version: 1 }).unwrap();
        assert_eq!(frame, b"\x0d\0\0\0{\"version\":1}");
    }

    fn data() -> impl Strategy<Value = Data> {
        let bytes = proptest::collection::vec(any::<u8>(), 0..300).prop_map(Bytes::from);
        prop_oneof![
            bytes.clone().prop_map(Data::Stdin),
            bytes.clone().prop_map(Data::Stdout),
            bytes.prop_map(Data::Stderr),
            Just(Data::CloseStdin),
            Just(Data::End),
        ]
    }

    proptest! {
        #[test]
        fn hostile_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            read(&bytes);
            let _ = Data::decode(Bytes::from(bytes.clone()));
            let _ = serde_json::from_slice::<Request>(&bytes);
        }

        #[test]
        fn frames_survive_any_cut(
            all in proptest::collection::vec(data(), 0..6),
            step in 1usize..50,
        ) {
            let mut bytes = BytesMut::new();
            for data in &all {
                data.encode(&mut bytes);
            }
            let mut buf = BytesMut::new();
            let mut seen = Vec::new();
            for chunk in bytes.chunks(step) {
                buf.extend_from_slice(chunk);
                while let Some(frame) = take_frame(&mut buf).unwrap() {
                    seen.push(Data::decode(frame).unwrap());
                }
            }
            prop_assert_eq!(seen, all);
        }
    }
}
