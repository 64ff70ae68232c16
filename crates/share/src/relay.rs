//! Requests and replies between the guest's kernel and the stream.

use std::io;

use rustix::io::Errno;
use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

use crate::abi::{IN_HEADER, MAX_MESSAGE, OUT_HEADER};
use crate::device::{INTEREST, register};
use crate::mount::Fuse;

/// Carries the kernel's requests to `stream` and the replies back, until the share is unmounted
/// (`Ok`) or the stream fails. Dropping the future ends the share.
///
/// The thread that runs this must not use a file of the share itself: it would wait for itself.
/// A process that relays and is killed while one of its threads, or a child before its exec,
/// waits for the share, stays until someone unmounts with `MNT_FORCE`.
///
/// # Errors
/// `UnexpectedEof` if the stream ends while the share is mounted, `InvalidData` if it sends what
/// is no FUSE message; else what the stream or the device says.
pub async fn relay(fuse: Fuse, stream: impl AsyncRead + AsyncWrite + Unpin) -> io::Result<()> {
    let device = register(fuse)?;
    let (reader, writer) = tokio::io::split(stream);
    let (mut up, mut down) = (
        std::pin::pin!(requests(&device, writer)),
        std::pin::pin!(replies(&device, reader)),
    );
    std::future::poll_fn(|context| match up.as_mut().poll(context) {
        std::task::Poll::Pending => down.as_mut().poll(context),
        ready => ready,
    })
    .await
}

/// Kernel to stream, until the share is unmounted.
async fn requests(device: &AsyncFd<Fuse>, mut stream: impl AsyncWrite + Unpin) -> io::Result<()> {
    // The kernel refuses to hand out a request to one who couldn't take the largest.
    let mut buffer = vec![0; MAX_MESSAGE];
    loop {
        let mut ready = device.ready(INTEREST).await?;
        match rustix::io::read(device, &mut buffer[..]) {
            Ok(0) | Err(Errno::NODEV) => break,
            Ok(length) => {
                let request = buffer.get(..length).unwrap_or_default();
                let said = request
                    .first_chunk()
                    .map(|length| u32::from_ne_bytes(*length) as usize);
                if length < IN_HEADER || said != Some(length) {
                    return Err(invalid("the kernel's FUSE request has a wrong length"));
                }
                stream.write_all(request).await?;
                stream.flush().await?;
            }
            Err(Errno::AGAIN) => ready.clear_ready(),
            // ENOENT: the request was taken back between our look and our read.
            Err(Errno::INTR | Errno::NOENT) => {}
            Err(error) => return Err(error.into()),
        }
    }
    // The server ends with the stream; that it is gone already is no fault.
    let _ = stream.shutdown().await;
    Ok(())
}

/// Stream to kernel.
async fn replies(device: &AsyncFd<Fuse>, mut stream: impl AsyncRead + Unpin) -> io::Result<()> {
    let mut buffer = vec![0; MAX_MESSAGE];
    loop {
        let mut header = [0; OUT_HEADER];
        stream.read_exact(&mut header).await?;
        let [a, b, c, d, ..] = header;
        let length = u32::from_ne_bytes([a, b, c, d]) as usize;
        let reply = match buffer
            .get_mut(..length)
            .and_then(|all| all.split_at_mut_checked(OUT_HEADER))
        {
            Some((start, body)) => {
                start.copy_from_slice(&header);
                stream.read_exact(body).await?;
                buffer.get(..length).unwrap_or_default()
            }
            None => {
                return Err(invalid(
                    "the share's server sent a reply with a wrong length",
                ));
            }
        };
        match rustix::io::write(device, reply) {
            // ENOENT: the request was interrupted, nobody waits any more.
            // ENODEV, EPERM: unmounted; the other direction tells.
            Ok(_) | Err(Errno::NOENT | Errno::NODEV | Errno::PERM) => {}
            Err(Errno::INVAL) => refuse(device, header),
            Err(error) => return Err(error.into()),
        }
    }
}

/// What the kernel doesn't take as a reply must not leave a process waiting forever.
fn refuse(device: &AsyncFd<Fuse>, mut header: [u8; OUT_HEADER]) {
    let error = -Errno::IO.raw_os_error();
    for (to, from) in header.iter_mut().zip(
        (OUT_HEADER as u32)
            .to_ne_bytes()
            .into_iter()
            .chain(error.to_ne_bytes()),
    ) {
        *to = from;
    }
    // If the kernel doesn't take this either, nothing waits for it.
    let _ = rustix::io::write(device, &header);
}

fn invalid(message: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, message)
}
