//! A WebSocket's server side (RFC 6455) as a plain stream of bytes: what messages carry goes in, and
//! each piece that comes out is a message.

use std::io::{Error, ErrorKind, Result};

use base64::Engine;
use bytes::{Buf, BufMut, BytesMut};
use http::{HeaderMap, header};
use tokio::io::{
    AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, ReadHalf, WriteHalf,
};
use tokio::sync::mpsc;

use crate::connection::HijackedIo;

/// What is hashed with the client's key (section 1.3).
const GUID: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
/// Bytes on their way in each direction.
const BUFFER: usize = 32 << 10;
/// The longest control frame (section 5.5).
const MAX_CONTROL: u64 = 125;
/// Pongs that may wait for a client that does not read.
const PONGS: usize = 8;

const CONTINUATION: u8 = 0x0;
const TEXT: u8 = 0x1;
const BINARY: u8 = 0x2;
const CLOSE: u8 = 0x8;
const PING: u8 = 0x9;
const PONG: u8 = 0xA;
/// Codes of section 7.4.1.
const NORMAL: u16 = 1000;
const PROTOCOL_ERROR: u16 = 1002;

/// The answer's `Sec-WebSocket-Accept`; none where the request is no handshake.
pub(crate) fn accept(headers: &HeaderMap) -> Option<String> {
    let has = |name: header::HeaderName, token: &str| {
        headers.get_all(name).iter().any(|value| {
            value.to_str().is_ok_and(|text| {
                text.split(',')
                    .any(|part| part.trim().eq_ignore_ascii_case(token))
            })
        })
    };
    let version = headers.get(header::SEC_WEBSOCKET_VERSION)?;
    if !has(header::CONNECTION, "upgrade")
        || !has(header::UPGRADE, "websocket")
        || version.as_bytes() != b"13"
    {
        return None;
    }
    let key = headers.get(header::SEC_WEBSOCKET_KEY)?.to_str().ok()?;
    let sum = ring::digest::digest(
        &ring::digest::SHA1_FOR_LEGACY_USE_ONLY,
        format!("{}{GUID}", key.trim()).as_bytes(),
    );
    Some(base64::engine::general_purpose::STANDARD.encode(sum))
}

/// Puts a WebSocket between a connection and a session, which gets the other end of the returned
/// stream. The future carries it until the session has closed its end and the client has been told.
pub(crate) fn bridge(io: HijackedIo, text: bool) -> (HijackedIo, impl Future<Output = ()> + Send) {
    let (ours, theirs) = tokio::io::duplex(BUFFER);
    let work = async move {
        let (from_client, to_client) = tokio::io::split(io);
        let (from_session, to_session) = tokio::io::split(ours);
        let (control, controls) = mpsc::channel(PONGS);
        let reading = read(from_client, to_session, control);
        let writing = write(to_client, from_session, controls, text);
        // The session ends it: a client that is gone is the end of its input.
        tokio::pin!(writing);
        tokio::select! {
            () = async { reading.await; std::future::pending().await } => {}
            () = &mut writing => {}
        }
    };
    (Box::pin(theirs), work)
}

/// A control frame to be sent: its kind and content.
type Control = (u8, Vec<u8>);

async fn read(
    mut from: ReadHalf<HijackedIo>,
    mut to: WriteHalf<DuplexStream>,
    control: mpsc::Sender<Control>,
) {
    let code = match frames(&mut from, &mut to, &control).await {
        Ok(()) => NORMAL,
        Err(error) if error.kind() == ErrorKind::InvalidData => PROTOCOL_ERROR,
        Err(_) => NORMAL,
    };
    // The close is answered with a close, once.
    let _ = control.try_send((CLOSE, code.to_be_bytes().to_vec()));
    let _ = to.shutdown().await;
    // What still comes is nobody's, but must not hold the client up.
    let _ = tokio::io::copy(&mut from, &mut tokio::io::sink()).await;
}

fn invalid(what: &'static str) -> Error {
    Error::new(ErrorKind::InvalidData, what)
}

/// Reads frames until a close, the end, or one that is none.
async fn frames(
    from: &mut (impl AsyncRead + Unpin),
    to: &mut (impl AsyncWrite + Unpin),
    control: &mpsc::Sender<Control>,
) -> Result<()> {
    let mut buffer = BytesMut::with_capacity(BUFFER);
    loop {
        let [first, second] = take(from, &mut buffer).await?;
        if first & 0x70 != 0 || second & 0x80 == 0 {
            return Err(invalid("a reserved bit is set, or a mask is missing"));
        }
        let mut left = match second & 0x7F {
            126 => u64::from(u16::from_be_bytes(take(from, &mut buffer).await?)),
            127 => u64::from_be_bytes(take(from, &mut buffer).await?),
            short => u64::from(short),
        };
        let mask: [u8; 4] = take(from, &mut buffer).await?;
        let mut mask = mask.into_iter().cycle();
        let kind = first & 0x0F;
        match kind {
            CONTINUATION | TEXT | BINARY => {}
            CLOSE | PING | PONG if left <= MAX_CONTROL && first & 0x80 != 0 => {}
            _ => return Err(invalid("no frame of this kind")),
        }
        let mut content = Vec::new();
        while left > 0 {
            if buffer.is_empty() && from.read_buf(&mut buffer).await? == 0 {
                return Err(ErrorKind::UnexpectedEof.into());
            }
            let part = buffer
                .len()
                .min(usize::try_from(left).unwrap_or(usize::MAX));
            let mut piece = buffer.split_to(part);
            left -= part as u64;
            for (byte, key) in piece.iter_mut().zip(&mut mask) {
                *byte ^= key;
            }
            if kind >= CLOSE {
                content.extend_from_slice(&piece);
            } else if to.write_all(&piece).await.is_err() {
                // The process reads no more; that is no reason to end what it writes.
                continue;
            }
        }
        match kind {
            CLOSE => return Ok(()),
            // One that does not read its pongs does not need them.
            PING => drop(control.try_send((PONG, content))),
            PONG => {}
            _ => drop(to.flush().await),
        }
    }
}

async fn take<const N: usize>(
    from: &mut (impl AsyncRead + Unpin),
    buffer: &mut BytesMut,
) -> Result<[u8; N]> {
    while buffer.len() < N {
        if from.read_buf(buffer).await? == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
    }
    let mut bytes = [0; N];
    buffer.copy_to_slice(&mut bytes);
    Ok(bytes)
}

/// Sends what the session writes until it ends, and control frames between.
async fn write(
    mut to: WriteHalf<HijackedIo>,
    mut from: ReadHalf<DuplexStream>,
    mut controls: mpsc::Receiver<Control>,
    text: bool,
) {
    let kind = if text { TEXT } else { BINARY };
    let mut buffer = vec![0; BUFFER];
    let mut closed = false;
    loop {
        let (kind, content) = tokio::select! {
            Some((kind, content)) = controls.recv(), if !closed => {
                closed = kind == CLOSE;
                (kind, content)
            }
            read = from.read(&mut buffer) => match read {
                Ok(length) if length > 0 => match buffer.get(..length) {
                    // After a close nothing may follow.
                    Some(bytes) if !closed => (kind, bytes.to_vec()),
                    _ => continue,
                },
                _ => break,
            },
        };
        if to.write_all(&frame(kind, &content)).await.is_err() || to.flush().await.is_err() {
            return;
        }
    }
    if !closed {
        let _ = to.write_all(&frame(CLOSE, &NORMAL.to_be_bytes())).await;
    }
    let _ = to.shutdown().await;
}

fn frame(kind: u8, content: &[u8]) -> BytesMut {
    let mut frame = BytesMut::with_capacity(content.len() + 10);
    frame.put_u8(0x80 | kind);
    match (u8::try_from(content.len()), u16::try_from(content.len())) {
        (Ok(short), _) if short < 126 => frame.put_u8(short),
        (_, Ok(long)) => {
            frame.put_u8(126);
            frame.put_u16(long);
        }
        _ => {
            frame.put_u8(127);
            frame.put_u64(content.len() as u64);
        }
    }
    frame.put_slice(content);
    frame
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn masked(kind: u8, content: &[u8]) -> Vec<u8> {
        let mut bytes = frame(kind, content).to_vec();
        bytes[1] |= 0x80;
        let at = bytes.len() - content.len();
        let key = [1, 2, 3, 4];
        bytes.splice(at..at, key);
        for (byte, key) in bytes[at + 4..].iter_mut().zip(key.into_iter().cycle()) {
            *byte ^= key;
        }
        bytes
    }

    async fn read_all(bytes: &[u8]) -> (Result<()>, Vec<u8>, Vec<Control>) {
        let (control, mut controls) = mpsc::channel(PONGS);
        let mut out = Vec::new();
        let mut from = bytes;
        let result = frames(&mut from, &mut out, &control).await;
        drop(control);
        let mut sent = Vec::new();
        while let Some(control) = controls.recv().await {
            sent.push(control);
        }
        (result, out, sent)
    }

    #[test]
    fn the_answer_is_the_standards() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("connection", "keep-alive, Upgrade"),
            ("upgrade", "websocket"),
            ("sec-websocket-version", "13"),
            ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ] {
            assert_eq!(accept(&headers), None);
            headers.insert(name, value.parse().unwrap());
        }
        assert_eq!(
            accept(&headers).as_deref(),
            Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")
        );
    }

    #[tokio::test]
    async fn frames_are_read() {
        let long = vec![b'x'; 70_000];
        let mut bytes = masked(BINARY, b"one ");
        bytes.extend(masked(PING, b"p"));
        bytes.extend(masked(TEXT, &long));
        bytes.extend(masked(CLOSE, b""));
        bytes.extend(masked(TEXT, b"never"));
        let (result, out, sent) = read_all(&bytes).await;
        result.unwrap();
        assert_eq!(out, [b"one ".as_slice(), &long].concat());
        assert_eq!(sent, [(PONG, b"p".to_vec())]);
        // Without a mask.
        let (result, ..) = read_all(&frame(TEXT, b"x")).await;
        assert_eq!(result.unwrap_err().kind(), ErrorKind::InvalidData);
        let (result, ..) = read_all(&masked(PING, &[0; 126])).await;
        assert_eq!(result.unwrap_err().kind(), ErrorKind::InvalidData);
    }

    proptest! {
        #[test]
        fn rubbish_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let _ = runtime.block_on(read_all(&bytes));
        }
    }
}
