//! A connection that became the streams of a process.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Buf;
use bytes::Bytes;
use coracle_task::AttachOptions;
use coracle_task::Reply;
use coracle_task::SharedStream;
use coracle_task::TaskError;
use coracle_task::frame::Data;
use coracle_task::frame::FrameReader;
use coracle_task::frame::send;

use crate::proc::Proc;

/// The input that may wait for the process before the client has to.
const ROOM: usize = 64 << 10;

/// Carries the streams until the process ended or the client is gone.
pub(crate) async fn serve(
    proc: Arc<Proc>,
    options: AttachOptions,
    mut conn: FrameReader<SharedStream>,
) -> Result<(), TaskError> {
    // First of all: nothing is missed from here on, and the answer tells the client so.
    let queue = proc.fanout.attach(options);
    let mut stream = conn.get_mut().clone();
    send(&mut stream, &Reply::Done).await?;
    let input = carry_input(&proc, options.stdin, &mut conn);
    tokio::pin!(input);
    tokio::select! {
        // The process ended, or the client takes no more output; in that case what it sends is
        // still carried.
        result = queue.write_to(&mut stream) => {
            if result.is_err() {
                input.await;
            }
        }
        () = &mut input => {}
    }
    Ok(())
}

/// What a client sent and the process didn't take yet.
struct Inbox {
    pieces: VecDeque<Piece>,
    /// The bytes in `pieces`.
    size: usize,
    connected: bool,
}

enum Piece {
    Bytes(Bytes),
    /// The end of the client's input.
    End,
}

/// Writes what the client sends to the process (or nothing, if not `wanted`), until the client
/// is gone.
async fn carry_input(proc: &Proc, wanted: bool, conn: &mut FrameReader<SharedStream>) {
    let mut inbox = Inbox {
        pieces: VecDeque::new(),
        size: 0,
        connected: true,
    };
    loop {
        match inbox.pieces.front_mut() {
            Some(Piece::Bytes(bytes)) if wanted && !bytes.is_empty() => tokio::select! {
                written = proc.stdin.write(bytes) => {
                    let written = written.min(bytes.len());
                    bytes.advance(written);
                    inbox.size -= written;
                }
                frame = conn.frame(), if inbox.connected && inbox.size < ROOM => {
                    inbox.take(frame);
                }
            },
            Some(Piece::End) if wanted && proc.close_with_client => {
                proc.stdin.close().await;
                inbox.pieces.pop_front();
            }
            Some(Piece::Bytes(bytes)) => {
                inbox.size -= bytes.len();
                inbox.pieces.pop_front();
            }
            Some(Piece::End) => {
                inbox.pieces.pop_front();
            }
            None if inbox.connected => inbox.take(conn.frame().await),
            None => break,
        }
    }
}

impl Inbox {
    fn take(&mut self, frame: Result<Option<Bytes>, TaskError>) {
        let piece = match frame {
            Ok(Some(frame)) => Data::decode(frame).ok(),
            Ok(None) | Err(_) => None,
        };
        self.pieces.push_back(match piece {
            Some(Data::Stdin(bytes)) => {
                self.size += bytes.len();
                Piece::Bytes(bytes)
            }
            Some(Data::CloseStdin) => Piece::End,
            // The client is gone, or no client of ours.
            _ => {
                self.connected = false;
                Piece::End
            }
        });
    }
}
