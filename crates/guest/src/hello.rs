//! The first frame in each direction.

use std::io;

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::error::{Error, Result};
use crate::frame::{HEADER, Kind, put_frame};

/// The version of the protocol: both sides must have the same.
pub const VERSION: u32 = 4;

/// The payload's length in bytes.
pub(crate) const LENGTH: usize = MAGIC.len() + 4 + NONCE;

const MAGIC: [u8; 8] = *b"coracle\x01";
const NONCE: usize = 16;

/// The most that is passed over before the answer: what a machine can have in its buffers.
const MAX_STALE: usize = 4 << 20;

/// A hello's content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Hello {
    pub(crate) version: u32,
    pub(crate) nonce: [u8; NONCE],
}

impl Hello {
    pub(crate) fn parse(payload: &[u8]) -> Option<Self> {
        let rest = payload.strip_prefix(&MAGIC)?;
        let (version, nonce) = rest.split_first_chunk::<4>()?;
        Some(Self {
            version: u32::from_le_bytes(*version),
            nonce: nonce.try_into().ok()?,
        })
    }

    pub(crate) fn put(self, buf: &mut BytesMut) {
        let mut payload = MAGIC.to_vec();
        payload.extend_from_slice(&self.version.to_le_bytes());
        payload.extend_from_slice(&self.nonce);
        put_frame(buf, Kind::Hello, 0, &payload);
    }
}

/// Says hello and waits for the answer. What is left of the buffer came after it.
pub(crate) async fn greet<S: AsyncRead + AsyncWrite + Unpin>(stream: &mut S) -> Result<BytesMut> {
    let mut nonce = [0; NONCE];
    let flags = rustix::rand::GetRandomFlags::empty();
    rustix::rand::getrandom(&mut nonce[..], flags).map_err(|e| Error::gone(&io::Error::from(e)))?;
    let mut buf = BytesMut::new();
    let hello = Hello {
        version: VERSION,
        nonce,
    };
    hello.put(&mut buf);
    stream.write_all(&buf).await.map_err(|e| Error::gone(&e))?;
    stream.flush().await.map_err(|e| Error::gone(&e))?;
    buf.clear();
    let mut passed = 0;
    loop {
        let answer = scan(&mut buf, &mut passed, |theirs| theirs.nonce == nonce);
        if let Some(theirs) = answer {
            return match theirs.version {
                VERSION => Ok(buf),
                version => Err(Error::Version {
                    theirs: version,
                    ours: VERSION,
                }),
            };
        }
        if passed > MAX_STALE {
            return Err(Error::protocol("no answer to the hello among much else"));
        }
        match read(stream, &mut buf).await {
            Ok(0) => return Err(Error::gone(&io::ErrorKind::UnexpectedEof.into())),
            Ok(_) => {}
            Err(error) => return Err(Error::gone(&error)),
        }
    }
}

/// Waits for somebody's hello; `None` when the stream ends. What comes before it is passed over.
pub(crate) async fn await_hello<S: AsyncRead + Unpin>(
    stream: &mut S,
    buf: &mut BytesMut,
) -> io::Result<Option<Hello>> {
    loop {
        if let Some(hello) = scan(buf, &mut 0, |_| true) {
            return Ok(Some(hello));
        }
        if read(stream, buf).await? == 0 {
            return Ok(None);
        }
    }
}

async fn read<S: AsyncRead + Unpin>(stream: &mut S, buf: &mut BytesMut) -> io::Result<usize> {
    const STEP: u16 = 8 << 10;
    buf.reserve(STEP.into());
    stream.take(STEP.into()).read_buf(buf).await
}

/// Takes the first hello that will do off the buffer, and what is before it; without one, all but
/// what may be the beginning of one.
fn scan(buf: &mut BytesMut, passed: &mut usize, will_do: impl Fn(&Hello) -> bool) -> Option<Hello> {
    const WHOLE: usize = HEADER + LENGTH;
    while let Some(at) = find(buf) {
        let Some(payload) = buf.get(at + HEADER..at + WHOLE) else {
            *passed += at;
            buf.advance(at);
            return None;
        };
        if let Some(hello) = Hello::parse(payload).filter(&will_do) {
            buf.advance(at + WHOLE);
            return Some(hello);
        }
        *passed += at + 1;
        buf.advance(at + 1);
    }
    let stale = buf.len().saturating_sub(HEADER + MAGIC.len() - 1);
    *passed += stale;
    buf.advance(stale);
    None
}

/// Where the header of a hello begins.
fn find(buf: &[u8]) -> Option<usize> {
    let mut frame = BytesMut::new();
    crate::frame::put_header(&mut frame, Kind::Hello, 0, LENGTH);
    frame.extend_from_slice(&MAGIC);
    buf.windows(frame.len())
        .position(|window| window == &frame[..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn stale_bytes_are_passed_over() {
        let (mut host, mut guest) = tokio::io::duplex(1 << 16);
        let answer = tokio::spawn(async move {
            let mut frame = vec![0; HEADER + LENGTH];
            guest.read_exact(&mut frame).await.unwrap();
            guest.write_all(&[7; 5000]).await.unwrap();
            let mut other = frame.clone();
            *other.last_mut().unwrap() ^= 1;
            guest.write_all(&other).await.unwrap();
            guest.write_all(&frame[..20]).await.unwrap();
            guest.write_all(&frame).await.unwrap();
            guest.write_all(b"more").await.unwrap();
            guest
        });
        let mut rest = greet(&mut host).await.unwrap();
        let _guest = answer.await.unwrap();
        while rest.len() < 4 {
            host.read_buf(&mut rest).await.unwrap();
        }
        assert_eq!(&rest[..], b"more");
    }

    #[tokio::test]
    async fn much_noise_is_no_answer() {
        let (mut host, mut guest) = tokio::io::duplex(1 << 16);
        let noise =
            tokio::spawn(async move { while guest.write_all(&[0; 1 << 16]).await.is_ok() {} });
        assert!(matches!(greet(&mut host).await, Err(Error::Gone(_))));
        drop(host);
        noise.await.unwrap();
    }

    #[tokio::test]
    async fn versions_differ() {
        let (mut host, mut guest) = tokio::io::duplex(1 << 16);
        tokio::spawn(async move {
            let mut frame = vec![0; HEADER + LENGTH];
            guest.read_exact(&mut frame).await.unwrap();
            frame[HEADER + MAGIC.len()] = 99;
            guest.write_all(&frame).await.unwrap();
        });
        let error = greet(&mut host).await.unwrap_err();
        assert!(
            matches!(error, Error::Version { theirs: 99, .. }),
            "{error}"
        );
    }
}
