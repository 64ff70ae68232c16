//! Connections that were taken over: a process's input one way, its output the other.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncWrite, AsyncWriteExt, ReadHalf, WriteHalf};

use crate::error::Result;
use crate::frames::FrameReader;

/// A process's output.
pub type HijackedReader = FrameReader<ReadHalf<TokioIo<Upgraded>>>;

/// A connection taken over.
pub struct Hijacked(TokioIo<Upgraded>);

impl Hijacked {
    pub(crate) fn new(upgraded: Upgraded) -> Self {
        Self(TokioIo::new(upgraded))
    }

    /// Both directions. `tty` says whether the process has a terminal, and so one stream only.
    pub fn split(self, tty: bool) -> (HijackedReader, HijackedWriter) {
        let (reader, writer) = tokio::io::split(self.0);
        (FrameReader::new(reader, !tty), HijackedWriter(writer))
    }
}

/// A process's input.
pub struct HijackedWriter(WriteHalf<TokioIo<Upgraded>>);

impl HijackedWriter {
    /// Sends input.
    pub async fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.0.write_all(bytes).await?;
        self.0.flush().await?;
        Ok(())
    }

    /// Says that there is no more input; output goes on.
    pub async fn close(&mut self) -> Result<()> {
        self.0.shutdown().await?;
        Ok(())
    }
}

impl AsyncWrite for HijackedWriter {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}
