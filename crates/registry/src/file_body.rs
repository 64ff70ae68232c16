//! A part of a file as the body of a request.

use std::fs::File;
use std::io;
use std::io::Read;
use std::io::Seek;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::task::Context;
use std::task::Poll;

use bytes::Bytes;
use http_body::Frame;
use http_body::SizeHint;
use http_body_util::BodyExt;
use tokio::sync::mpsc;

use crate::transport::Body;
use crate::transport::empty;

const PIECE_BYTES: usize = 128 << 10;

/// Opens the content of a blob, from its start, whenever it has to be read.
pub(crate) type Open = Arc<dyn Fn() -> io::Result<File> + Send + Sync>;

/// How much was sent, for whoever shows it.
pub(crate) type Sent = Arc<AtomicU64>;

/// A part of a file as the body of a request, read on a blocking thread.
pub(crate) struct FileBody {
    pieces: mpsc::Receiver<io::Result<Bytes>>,
    left: u64,
    sent: Sent,
}

impl FileBody {
    pub(crate) fn start(open: Open, start: u64, end: u64, sent: Sent) -> Body {
        if start >= end {
            return empty();
        }
        sent.store(start, Ordering::Relaxed);
        let (queue, pieces) = mpsc::channel(2);
        tokio::spawn(async move {
            // The end of the queue is the end of the body: on a failure the error goes first.
            if let Err(error) = feed(open, start, end, &queue).await {
                let _ = queue.send(Err(error)).await;
            }
        });
        Self {
            pieces,
            left: end - start,
            sent,
        }
        .boxed_unsync()
    }
}

async fn feed(
    open: Open,
    start: u64,
    end: u64,
    queue: &mpsc::Sender<io::Result<Bytes>>,
) -> io::Result<()> {
    let mut file = tokio::task::spawn_blocking(move || {
        let mut file = open()?;
        file.seek(io::SeekFrom::Start(start))?;
        Ok::<_, io::Error>(file)
    })
    .await
    .map_err(io::Error::other)??;
    let mut left = end - start;
    while left > 0 {
        let wanted = left.min(PIECE_BYTES as u64) as usize;
        let read = tokio::task::spawn_blocking(move || {
            let mut piece = vec![0; wanted];
            file.read_exact(&mut piece)?;
            Ok::<_, io::Error>((file, piece))
        });
        let (back, piece) = read.await.map_err(io::Error::other)??;
        file = back;
        left -= piece.len() as u64;
        if queue.send(Ok(piece.into())).await.is_err() {
            // The request is over.
            return Ok(());
        }
    }
    Ok(())
}

impl http_body::Body for FileBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        match self.pieces.poll_recv(cx) {
            Poll::Ready(Some(Ok(bytes))) => {
                self.left = self.left.saturating_sub(bytes.len() as u64);
                self.sent.fetch_add(bytes.len() as u64, Ordering::Relaxed);
                Poll::Ready(Some(Ok(Frame::data(bytes))))
            }
            Poll::Ready(Some(Err(error))) => Poll::Ready(Some(Err(error))),
            Poll::Ready(None) => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }
}
