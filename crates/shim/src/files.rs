//! Connections that carry files of the container, of a sandbox that has to be asked for them.

use std::io;
use std::pin::Pin;
use std::task::Context;
use std::task::Poll;
use std::task::ready;

use bytes::Buf;
use bytes::Bytes;
use bytes::BytesMut;
use coracle_sandbox::Output;
use coracle_sandbox::SandboxError;
use coracle_task::Reply;
use coracle_task::SharedStream;
use coracle_task::TaskError;
use coracle_task::files::ExtractOptions;
use coracle_task::frame::Data;
use coracle_task::frame::FrameReader;
use coracle_task::frame::MAX_DATA;
use coracle_task::frame::send;
use coracle_task::frame::send_data;
use tokio::io::AsyncRead;
use tokio::io::AsyncReadExt;
use tokio::io::ReadBuf;

use crate::container::Container;
use crate::container::refused;

/// What a connection is turned into.
pub(crate) enum Transfer {
    /// [`Request::ReadPath`](coracle_task::Request::ReadPath).
    Read { path: String },
    /// [`Request::WritePath`](coracle_task::Request::WritePath).
    Write {
        path: String,
        options: ExtractOptions,
    },
    /// [`Request::Export`](coracle_task::Request::Export).
    Export,
    /// [`Request::Diff`](coracle_task::Request::Diff).
    Diff,
}

/// Carries it out, and answers. The connection is of no use afterwards.
pub(crate) async fn serve(
    container: &Container,
    transfer: Transfer,
    mut conn: FrameReader<SharedStream>,
) -> Result<(), TaskError> {
    let mut stream = conn.get_mut().clone();
    let result = match transfer {
        Transfer::Write { path, options } => write(container, &path, options, conn).await,
        Transfer::Read { path } => match container.files() {
            Ok(files) => match files.read(&path).await.map_err(refused) {
                Ok((stat, tar)) => return pour(Reply::PathStat(stat), tar, conn).await,
                Err(error) => Err(error),
            },
            Err(error) => Err(error),
        },
        Transfer::Export => match container.files() {
            Ok(files) => match files.export().await.map_err(refused) {
                Ok(tar) => return pour(Reply::Done, tar, conn).await,
                Err(error) => Err(error),
            },
            Err(error) => Err(error),
        },
        Transfer::Diff => match container.files() {
            Ok(files) => match files.diff().await.map_err(refused) {
                Ok(tar) => return pour(Reply::Done, tar, conn).await,
                Err(error) => Err(error),
            },
            Err(error) => Err(error),
        },
    };
    let reply = match result {
        Ok(()) => Reply::Done,
        Err(error) => Reply::Error {
            kind: error.kind().unwrap_or(coracle_task::ErrorKind::Internal),
            message: error.to_string(),
        },
    };
    send(&mut stream, &reply).await
}

/// Sends a tar; stops when the client is gone.
async fn pour(
    reply: Reply,
    mut tar: Output,
    mut conn: FrameReader<SharedStream>,
) -> Result<(), TaskError> {
    let mut stream = conn.get_mut().clone();
    send(&mut stream, &reply).await?;
    let mut buf = BytesMut::new();
    loop {
        buf.reserve(MAX_DATA);
        let read = tokio::select! {
            read = tar.read_buf(&mut buf) => read,
            // The client has nothing to say: this is its end.
            _ = conn.frame() => return Ok(()),
        };
        let data = match read {
            Ok(0) => return Ok(send_data(&mut stream, &Data::End).await?),
            Ok(_) => {
                let rest = buf.len().min(MAX_DATA);
                Data::Stdout(buf.split_to(rest).freeze())
            }
            Err(error) => {
                let text = Bytes::from(error.to_string());
                return Ok(send_data(&mut stream, &Data::Stderr(text)).await?);
            }
        };
        send_data(&mut stream, &data).await?;
        while !buf.is_empty() {
            let rest = buf.len().min(MAX_DATA);
            send_data(&mut stream, &Data::Stdout(buf.split_to(rest).freeze())).await?;
        }
    }
}

async fn write(
    container: &Container,
    path: &str,
    options: ExtractOptions,
    mut conn: FrameReader<SharedStream>,
) -> Result<(), TaskError> {
    let files = container.files()?;
    send(conn.get_mut(), &Reply::Done).await?;
    let tar = Incoming {
        conn,
        current: Bytes::new(),
        ended: false,
    };
    files
        .write(path, options, Box::new(tar))
        .await
        .map_err(|SandboxError { kind, message }| TaskError::shim(kind, message))
}

/// The tar that a client sends.
struct Incoming {
    conn: FrameReader<SharedStream>,
    current: Bytes,
    ended: bool,
}

impl AsyncRead for Incoming {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        while self.current.is_empty() && !self.ended {
            let frame = ready!(self.conn.poll_frame(cx)).map_err(io::Error::other)?;
            match frame.map(Data::decode) {
                Some(Ok(Data::Stdin(data))) => self.current = data,
                Some(Ok(Data::CloseStdin)) => self.ended = true,
                Some(_) => return Poll::Ready(Err(io::ErrorKind::InvalidData.into())),
                // Not the end of the tar: the client went away.
                None => return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into())),
            }
        }
        let length = self.current.len().min(buf.remaining());
        if let Some(piece) = self.current.get(..length) {
            buf.put_slice(piece);
        }
        self.current.advance(length);
        Poll::Ready(Ok(()))
    }
}
