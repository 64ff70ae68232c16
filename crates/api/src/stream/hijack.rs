//! Attach and exec: a connection that is the process's input one way and its output the other.

use std::pin::Pin;
use std::time::Duration;

use bytes::BytesMut;
use coracle_runtime::io::Attached;
use futures_util::StreamExt;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadHalf, WriteHalf};
use tracing::debug;

use crate::connection::HijackedIo;
use crate::stream::detach::DetachKeys;
use crate::stream::frames;

/// Output items written at once.
const BATCH: usize = 64;
/// Bytes of input read at once.
const INPUT: usize = 32 * 1024;
/// How long a client may take to close after the end, while what it still sends is thrown away.
/// Closing on unread input would reset the connection and cost the client the end of the output.
const LINGER: Duration = Duration::from_secs(5);

/// How the bytes go.
pub(crate) struct Session {
    /// Output in frames, as processes without a terminal have it.
    pub(crate) framed: bool,
    /// The keys that detach; only terminals have them.
    pub(crate) detach: Option<DetachKeys>,
    /// Whether the client's end of input is the process's; else it detaches.
    pub(crate) close_input: bool,
}

/// Writes the response's head. Docker says `UPGRADED` where the client asked for an upgrade, and 200
/// where it did not.
pub(crate) fn head(upgrade: bool, content_type: &str, further: &str) -> String {
    let (status, upgrade) = if upgrade {
        ("101 UPGRADED", "Connection: Upgrade\r\nUpgrade: tcp\r\n")
    } else {
        ("200 OK", "")
    };
    format!("HTTP/1.1 {status}\r\nContent-Type: {content_type}\r\n{upgrade}{further}\r\n")
}

/// Copies both ways until the output ends, or the client leaves. Tells whether it did by the keys
/// that detach.
pub(crate) async fn run(io: HijackedIo, attached: Attached, session: Session) -> bool {
    let (mut reader, mut writer) = tokio::io::split(io);
    let Attached { output, input, .. } = attached;
    let ended = tokio::select! {
        result = copy_output(output, &mut writer, session.framed) => result.map(|()| false),
        result = copy_input(&mut reader, input, session.detach, session.close_input) => result,
    };
    let detached = ended.unwrap_or_else(|error| {
        debug!(%error, "hijacked connection failed");
        false
    });
    close(reader, writer).await;
    detached
}

/// Writes a last message, and closes.
pub(crate) async fn fail(io: HijackedIo, framed: bool, message: &str) {
    let (reader, mut writer) = tokio::io::split(io);
    let mut out = BytesMut::new();
    let line = format!("{message}\r\n");
    // On standard output, where the client shows it.
    frames::put(
        &mut out,
        framed,
        coracle_runtime::io::StreamKind::Stdout,
        line.as_bytes(),
    );
    // The client may be gone; there is nobody else to tell.
    let _ = writer.write_all(&out).await;
    close(reader, writer).await;
}

async fn close(mut reader: ReadHalf<HijackedIo>, mut writer: WriteHalf<HijackedIo>) {
    if writer.shutdown().await.is_ok() {
        let mut sink = tokio::io::sink();
        let _ = tokio::time::timeout(LINGER, tokio::io::copy(&mut reader, &mut sink)).await;
    }
}

async fn copy_output(
    output: coracle_runtime::io::BoxStream<(coracle_runtime::io::StreamKind, bytes::Bytes)>,
    writer: &mut (impl AsyncWrite + Unpin),
    framed: bool,
) -> std::io::Result<()> {
    let mut batches = output.ready_chunks(BATCH);
    let mut out = BytesMut::new();
    while let Some(batch) = batches.next().await {
        for item in batch {
            match item {
                Ok((kind, payload)) => frames::put(&mut out, framed, kind, &payload),
                Err(error) => frames::put_error(&mut out, framed, &format!("{error}\n")),
            }
        }
        writer.write_all(&out).await?;
        writer.flush().await?;
        out.clear();
    }
    Ok(())
}

/// Gives whether the client used the keys that detach.
async fn copy_input(
    reader: &mut (impl AsyncRead + Unpin),
    input: Option<Pin<Box<dyn AsyncWrite + Send>>>,
    mut detach: Option<DetachKeys>,
    close_input: bool,
) -> std::io::Result<bool> {
    let Some(mut input) = input else {
        // What a client sends to nobody is read all the same, so that it is not stuck.
        tokio::io::copy(reader, &mut tokio::io::sink()).await?;
        return std::future::pending().await;
    };
    let mut buffer = vec![0; INPUT];
    let mut passed = Vec::new();
    loop {
        let length = reader.read(&mut buffer).await?;
        let mut bytes = buffer.get(..length).unwrap_or_default();
        let mut detached = false;
        if let Some(keys) = &mut detach {
            passed.clear();
            detached = keys.take(bytes, &mut passed);
            if length == 0 {
                passed.extend_from_slice(keys.rest());
            }
            bytes = &passed;
        }
        // A process that does not read any more is no reason to stop showing what it writes.
        let closed = !bytes.is_empty() && write(&mut input, bytes).await.is_err();
        if detached {
            return Ok(true);
        }
        if length == 0 || closed {
            if length == 0 && !close_input {
                return Ok(false);
            }
            let _ = input.shutdown().await;
            drop(input);
            tokio::io::copy(reader, &mut tokio::io::sink()).await?;
            return std::future::pending().await;
        }
    }
}

async fn write(input: &mut Pin<Box<dyn AsyncWrite + Send>>, bytes: &[u8]) -> std::io::Result<()> {
    input.write_all(bytes).await?;
    input.flush().await
}

#[cfg(test)]
mod tests {
    use coracle_runtime::io::StreamKind;
    use futures_util::stream;

    use super::*;

    #[test]
    fn heads_are_dockers() {
        assert_eq!(
            head(true, "application/vnd.docker.raw-stream", ""),
            "HTTP/1.1 101 UPGRADED\r\nContent-Type: application/vnd.docker.raw-stream\r\n\
             Connection: Upgrade\r\nUpgrade: tcp\r\n\r\n"
        );
        assert_eq!(
            head(false, "a/b", "X: y\r\n"),
            "HTTP/1.1 200 OK\r\nContent-Type: a/b\r\nX: y\r\n\r\n"
        );
    }

    fn session(tty: bool, close_input: bool) -> Session {
        Session {
            framed: !tty,
            detach: tty.then(|| DetachKeys::parse("").unwrap()),
            close_input,
        }
    }

    #[tokio::test]
    async fn end_of_input_reaches_the_process() {
        let (client, server) = tokio::io::duplex(1024);
        let (process_in, process) = tokio::io::duplex(1024);
        let (mut from_client, _) = tokio::io::split(process);
        let output = stream::once(async move {
            let mut text = Vec::new();
            from_client.read_to_end(&mut text).await.unwrap();
            Ok((StreamKind::Stdout, text.into()))
        });
        let attached = Attached {
            output: output.boxed(),
            input: Some(Box::pin(process_in)),
            tty: false,
        };
        let task = tokio::spawn(run(Box::pin(server), attached, session(false, true)));
        let (mut reader, mut writer) = tokio::io::split(client);
        writer.write_all(b"hello").await.unwrap();
        writer.shutdown().await.unwrap();
        let mut answer = Vec::new();
        reader.read_to_end(&mut answer).await.unwrap();
        assert_eq!(answer, b"\x01\0\0\0\0\0\0\x05hello");
        drop((reader, writer));
        assert!(!task.await.unwrap());
    }

    #[tokio::test]
    async fn the_keys_detach_a_terminal() {
        let (mut client, server) = tokio::io::duplex(1024);
        let (process_in, mut process) = tokio::io::duplex(1024);
        let attached = Attached {
            output: stream::pending().boxed(),
            input: Some(Box::pin(process_in)),
            tty: true,
        };
        let task = tokio::spawn(run(Box::pin(server), attached, session(true, false)));
        client.write_all(b"ls\x10\x11more").await.unwrap();
        let mut text = String::new();
        process.read_to_string(&mut text).await.unwrap();
        assert_eq!(text, "ls");
        assert_eq!(client.read(&mut [0]).await.unwrap(), 0);
        drop(client);
        assert!(task.await.unwrap(), "it is told that it was by the keys");
    }

    #[tokio::test]
    async fn end_of_input_detaches_where_it_stays_open() {
        let (client, server) = tokio::io::duplex(1024);
        let attached = Attached {
            output: stream::pending().boxed(),
            input: Some(Box::pin(tokio::io::sink())),
            tty: false,
        };
        let task = tokio::spawn(run(Box::pin(server), attached, session(false, false)));
        let (mut reader, mut writer) = tokio::io::split(client);
        writer.shutdown().await.unwrap();
        assert_eq!(reader.read(&mut [0]).await.unwrap(), 0);
        drop((reader, writer));
        assert!(!task.await.unwrap());
    }
}
