//! Joins two TCP connections without their bytes coming to user space: from a socket into a pipe, from
//! the pipe into the other socket, by `splice(2)`.
//!
//! A direction has a pipe only while bytes are on their way, so that an idle connection costs two
//! descriptors and no memory. Pipes that were emptied are kept for the next, a few of them.

use std::cell::RefCell;
use std::io;
use std::os::fd::OwnedFd;

use rustix::pipe::{PipeFlags, SpliceFlags, fcntl_setpipe_size, pipe_with, splice};
use tokio::io::{AsyncWriteExt, Interest};
use tokio::net::TcpStream;
use tokio::net::tcp::{ReadHalf, WriteHalf};

/// How much a pipe holds, in bytes. The system may have it at less.
const ROOM: usize = 256 << 10;
/// How much is copied at once where there is no pipe, in bytes.
const COPIED: usize = 16 << 10;
/// How many empty pipes a thread keeps.
const KEPT: usize = 8;

thread_local! {
    static POOL: RefCell<Vec<Pipe>> = const { RefCell::new(Vec::new()) };
}

/// Carries both directions until both have ended. The end of one is passed on at once: the other
/// side's writing half is closed, and what it still sends is carried.
///
/// # Errors
/// As soon as either connection fails.
pub(super) async fn join(a: &mut TcpStream, b: &mut TcpStream) -> io::Result<()> {
    let (from_a, to_a) = a.split();
    let (from_b, to_b) = b.split();
    tokio::try_join!(carry(from_a, to_b), carry(from_b, to_a))?;
    Ok(())
}

async fn carry(from: ReadHalf<'_>, mut to: WriteHalf<'_>) -> io::Result<()> {
    loop {
        from.readable().await?;
        let moved = match Pipe::take() {
            Ok(pipe) => {
                let moved = move_all(&from, &to, &pipe).await?;
                pipe.give_back();
                moved
            }
            // Descriptors are short: no reason to end connections that are there.
            Err(_) => copy_some(&from, &mut to).await?,
        };
        if moved == 0 {
            return to.shutdown().await;
        }
    }
}

/// Moves what there is to read, until it is all written. 0: the sender has ended.
async fn move_all(from: &ReadHalf<'_>, to: &WriteHalf<'_>, pipe: &Pipe) -> io::Result<usize> {
    let (from, to): (&TcpStream, &TcpStream) = (from.as_ref(), to.as_ref());
    let flags = SpliceFlags::MOVE | SpliceFlags::NONBLOCK;
    let fill = || Ok(splice(from, None, &pipe.end, None, ROOM, flags)?);
    // The pipe is empty, so what would block is the socket.
    let filled = from.async_io(Interest::READABLE, fill).await?;
    let mut left = filled;
    while left > 0 {
        let drain = || Ok(splice(&pipe.begin, None, to, None, left, flags)?);
        let drained = to.async_io(Interest::WRITABLE, drain).await?;
        if drained == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        left = left.saturating_sub(drained);
    }
    Ok(filled)
}

/// The same without a pipe.
async fn copy_some(from: &ReadHalf<'_>, to: &mut WriteHalf<'_>) -> io::Result<usize> {
    let mut room = vec![0; COPIED];
    loop {
        from.readable().await?;
        match from.try_read(&mut room) {
            Ok(length) => {
                to.write_all(room.get(..length).unwrap_or_default()).await?;
                return Ok(length);
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
}

/// A pipe without anything in it.
struct Pipe {
    begin: OwnedFd,
    end: OwnedFd,
}

impl Pipe {
    fn take() -> io::Result<Self> {
        if let Some(pipe) = POOL.with_borrow_mut(Vec::pop) {
            return Ok(pipe);
        }
        let (begin, end) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
        // A user's pipes together may be held to less: then it is slower.
        let _ = fcntl_setpipe_size(&end, ROOM);
        Ok(Self { begin, end })
    }

    /// Only one that was emptied: what is left in a pipe would get into another's connection.
    fn give_back(self) {
        POOL.with_borrow_mut(|pool| {
            if pool.len() < KEPT {
                pool.push(self);
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt;
    use tokio::net::TcpListener;

    use super::*;

    async fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let near = TcpStream::connect(listener.local_addr().unwrap());
        let (near, far) = tokio::join!(near, listener.accept());
        (near.unwrap(), far.unwrap().0)
    }

    #[tokio::test]
    async fn bytes_are_copied_where_there_is_no_pipe() {
        let ((mut client, mut a), (mut b, mut container)) = (pair().await, pair().await);
        client.write_all(b"some words").await.unwrap();
        client.shutdown().await.unwrap();
        let ((from, _), (_, mut to)) = (a.split(), b.split());
        assert_eq!(copy_some(&from, &mut to).await.unwrap(), 10);
        assert_eq!(copy_some(&from, &mut to).await.unwrap(), 0);
        let mut got = [0; 10];
        container.read_exact(&mut got).await.unwrap();
        assert_eq!(&got, b"some words");
    }

    #[tokio::test]
    async fn pipes_are_kept_only_empty() {
        let ((mut client, mut a), (mut b, mut container)) = (pair().await, pair().await);
        let joined = tokio::spawn(async move { join(&mut a, &mut b).await });
        for _ in 0..3 {
            client.write_all(b"words").await.unwrap();
            let mut got = [0; 5];
            container.read_exact(&mut got).await.unwrap();
        }
        drop((client, container));
        let _ = joined.await.unwrap();
        POOL.with_borrow(|pool| {
            assert!(pool.len() <= KEPT && !pool.is_empty());
            for pipe in pool {
                let waiting = rustix::io::ioctl_fionread(&pipe.begin).unwrap();
                assert_eq!(waiting, 0);
            }
        });
    }
}
