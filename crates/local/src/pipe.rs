//! Between blocking file work and streams.

use std::io::{self, Read, Write};

use bytes::Bytes;
use coracle_runtime::io::ByteStream;
use coracle_runtime::{Result, RuntimeError};
use futures_util::{StreamExt, stream};
use tokio::sync::mpsc::{self, Receiver, Sender};

/// Pieces on their way: enough to keep both ends busy, few enough to bound memory.
const DEPTH: usize = 8;
/// Bytes of one piece.
const PIECE: usize = 64 << 10;

/// A stream as something to read from in blocking code. Must be made within the runtime.
pub(crate) fn reader(mut stream: ByteStream) -> impl Read + Send {
    let (sender, receiver) = mpsc::channel(DEPTH);
    tokio::spawn(async move {
        while let Some(piece) = stream.next().await {
            let failed = piece.is_err();
            if sender.send(piece).await.is_err() || failed {
                return;
            }
        }
    });
    Reader {
        receiver,
        current: Bytes::new(),
    }
}

struct Reader {
    receiver: Receiver<Result<Bytes>>,
    current: Bytes,
}

impl Read for Reader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.current.is_empty() {
            match self.receiver.blocking_recv() {
                None => return Ok(0),
                Some(Ok(piece)) => self.current = piece,
                Some(Err(error)) => return Err(io::Error::other(error.to_string())),
            }
        }
        let length = buffer.len().min(self.current.len());
        buffer[..length].copy_from_slice(&self.current.split_to(length));
        Ok(length)
    }
}

/// What blocking work writes, as a stream. Dropping the stream makes the work's next write fail.
pub(crate) fn stream(
    work: impl FnOnce(&mut dyn Write) -> Result<()> + Send + 'static,
) -> ByteStream {
    let (sender, receiver) = mpsc::channel(DEPTH);
    tokio::task::spawn_blocking(move || {
        let mut writer = Writer {
            sender: sender.clone(),
            buffer: Vec::with_capacity(PIECE),
        };
        let result = work(&mut writer).and_then(|()| {
            writer
                .flush()
                .map_err(|error| RuntimeError::Internal(error.to_string()))
        });
        if let Err(error) = result {
            let _ = sender.blocking_send(Err(error));
        }
    });
    Box::pin(stream::unfold(receiver, |mut receiver| async move {
        receiver.recv().await.map(|piece| (piece, receiver))
    }))
}

struct Writer {
    sender: Sender<Result<Bytes>>,
    buffer: Vec<u8>,
}

impl Write for Writer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.buffer.extend_from_slice(bytes);
        if self.buffer.len() >= PIECE {
            self.flush()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let piece = Bytes::from(std::mem::replace(
            &mut self.buffer,
            Vec::with_capacity(PIECE),
        ));
        self.sender
            .blocking_send(Ok(piece))
            .map_err(|_| io::Error::new(io::ErrorKind::BrokenPipe, "nobody reads any more"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_goes_in_comes_out() {
        let stream = stream(|out| {
            for _ in 0..100 {
                out.write_all(&[7; 10_000]).unwrap();
            }
            Ok(())
        });
        let mut reader = reader(stream);
        let read = tokio::task::spawn_blocking(move || {
            let mut all = Vec::new();
            reader.read_to_end(&mut all).unwrap();
            all
        });
        assert_eq!(read.await.unwrap(), vec![7; 1_000_000]);
    }

    #[tokio::test]
    async fn an_error_ends_the_stream_and_is_told() {
        let mut stream = stream(|_| Err(RuntimeError::Internal("x".into())));
        assert!(stream.next().await.unwrap().is_err());
        assert!(stream.next().await.is_none());
    }
}
