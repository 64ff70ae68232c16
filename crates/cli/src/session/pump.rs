//! The bytes of a session, both ways.

use coracle_client::{Hijacked, HijackedWriter};
use coracle_docker::frame::FrameKind;
use tokio::sync::mpsc;

use super::detach::DetachKeys;
use super::input;
use crate::error::{Error, Result};
use crate::output::{Output, warn};

/// Which streams a session has.
#[derive(Debug)]
pub(crate) struct Streams {
    pub(crate) stdin: bool,
    pub(crate) stdout: bool,
    pub(crate) stderr: bool,
    pub(crate) tty: bool,
    /// The keys that detach; only where a terminal is typed on.
    pub(crate) detach: Option<DetachKeys>,
}

/// What ended a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// The output.
    Output,
    /// The keys that detach.
    Detached,
}

/// Copies until the output ends, or the keys that detach are typed. Where there is no output to be
/// attached to, the daemon's end of the connection is what is waited for.
pub(crate) async fn pump(hijacked: Hijacked, streams: Streams) -> Result<Ended> {
    let (mut reader, writer) = hijacked.split(streams.tty);
    let typed = if streams.stdin {
        let read = input::read();
        Some(read.map_err(|error| Error::io("standard input", error))?)
    } else {
        None
    };
    let output = async {
        while let Some(item) = reader.next().await? {
            match item.kind {
                FrameKind::Stdout if streams.stdout => Output::Stdout.write(&item.bytes).await?,
                FrameKind::Stderr if streams.stderr => Output::Stderr.write(&item.bytes).await?,
                FrameKind::SystemError => {
                    let text = String::from_utf8_lossy(&item.bytes).trim_end().to_owned();
                    warn(format_args!("coracle: error from daemon in stream: {text}"));
                }
                _ => {}
            }
        }
        Ok(Ended::Output)
    };
    let input = async {
        if let Some(typed) = typed {
            return copy_input(typed, writer, streams.detach).await;
        }
        // Held, because closing it could mean that nobody listens any more.
        let _writer = writer;
        std::future::pending().await
    };
    tokio::select! {
        ended = output => ended,
        ended = input => ended,
    }
}

/// Sends what is typed; resolves when the keys that detach were.
async fn copy_input(
    mut typed: mpsc::Receiver<Vec<u8>>,
    mut writer: HijackedWriter,
    mut keys: Option<DetachKeys>,
) -> Result<Ended> {
    while let Some(chunk) = typed.recv().await {
        let (chunk, detached) = match &mut keys {
            Some(keys) => keys.take(&chunk),
            None => (chunk, false),
        };
        // A process that takes no more input may still have something to say.
        if !chunk.is_empty() && writer.write(&chunk).await.is_err() {
            return std::future::pending().await;
        }
        if detached {
            return Ok(Ended::Detached);
        }
    }
    if let Some(keys) = &keys {
        let _ = writer.write(keys.held()).await;
    }
    let _ = writer.close().await;
    std::future::pending().await
}
