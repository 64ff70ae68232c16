//! The files of a container whose root file system this host can't reach by itself.

use std::pin::Pin;
use std::task::Context;
use std::task::Poll;
use std::task::ready;

use bytes::Bytes;
use serde::Deserialize;
use serde::Serialize;

use crate::ErrorKind;
use crate::SharedStream;
use crate::TaskError;
use crate::frame::Data;
use crate::frame::FrameError;
use crate::frame::FrameReader;
use crate::frame::MAX_DATA;
use crate::frame::send_data;

/// What a path is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PathStat {
    /// Base name.
    pub name: String,
    /// Bytes.
    pub size: u64,
    /// Mode bits as Go's `os.FileMode` has them (Docker's API).
    pub mode: u32,
    /// Last change of content: seconds since 1970, and nanoseconds.
    pub mtime: (i64, u32),
    /// Where a symbolic link points; empty for others.
    pub link_target: String,
}

/// How a tar is extracted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExtractOptions {
    /// Refuse to replace a directory by something else, or the other way round.
    pub no_overwrite_dir_non_dir: bool,
    /// Who the files belong to; `None`: as the archive says.
    pub owner: Option<(u32, u32)>,
}

/// How a path differs from the image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChangeKind {
    /// Other content or attributes.
    Modified,
    /// New.
    Added,
    /// Gone.
    Deleted,
}

/// One difference from the image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// The absolute path.
    pub path: String,
    /// What happened to it.
    pub kind: ChangeKind,
}

/// A tar that comes from a shim. Dropping it makes the shim stop.
#[derive(Debug)]
pub struct Tar {
    conn: FrameReader<SharedStream>,
    ended: bool,
}

impl Tar {
    pub(crate) fn new(conn: FrameReader<SharedStream>) -> Self {
        Self { conn, ended: false }
    }

    fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, TaskError>> {
        if self.ended {
            return Poll::Ready(Ok(None));
        }
        let frame = ready!(self.conn.poll_frame(cx))?.ok_or(TaskError::Gone)?;
        Poll::Ready(match Data::decode(frame)? {
            Data::Stdout(data) => Ok(Some(data)),
            Data::End => {
                self.ended = true;
                Ok(None)
            }
            // What went wrong midway.
            Data::Stderr(text) => Err(TaskError::shim(
                ErrorKind::Internal,
                String::from_utf8_lossy(&text).into_owned(),
            )),
            Data::Stdin(_) | Data::CloseStdin => Err(FrameError::Data.into()),
        })
    }
}

impl futures_core::Stream for Tar {
    type Item = Result<Bytes, TaskError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let result = ready!(self.poll_data(cx));
        self.ended |= result.is_err();
        Poll::Ready(result.transpose())
    }
}

/// A tar on its way to a shim. Nothing more is extracted when it is dropped before [`Self::finish`].
#[derive(Debug)]
pub struct TarWriter {
    conn: FrameReader<SharedStream>,
}

impl TarWriter {
    pub(crate) fn new(conn: FrameReader<SharedStream>) -> Self {
        Self { conn }
    }

    /// Sends a piece of the tar. A failure may be that of the extraction: [`Self::finish`] tells.
    pub async fn write(&mut self, data: &[u8]) -> Result<(), TaskError> {
        for chunk in data.chunks(MAX_DATA) {
            let data = Data::Stdin(Bytes::copy_from_slice(chunk));
            send_data(self.conn.get_mut(), &data).await?;
        }
        Ok(())
    }

    /// Says that this was all, and waits until it is extracted.
    pub async fn finish(mut self) -> Result<(), TaskError> {
        // If the shim takes no more, it has said why.
        let _ = send_data(self.conn.get_mut(), &Data::CloseStdin).await;
        match self.conn.message().await?.ok_or(TaskError::Gone)? {
            crate::Reply::Done => Ok(()),
            crate::Reply::Error { kind, message } => Err(TaskError::Shim { kind, message }),
            reply => Err(crate::client::unexpected(&reply)),
        }
    }
}
