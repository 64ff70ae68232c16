//! Servers' disks. QEMU has no network: it connects to an abstract unix socket in its own, empty
//! network namespace, on which this process listens and connects to the server each time. So QEMU can
//! connect again when a server comes back, which it can't by a connected socket that it was handed.

use std::io;
use std::os::fd::AsFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net as unix;
use std::time::Duration;

use coracle_nbd::{Server, Uri};
use rustix::net::sockopt;
use rustix::thread::ThreadNameSpaceType;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixListener, UnixStream};
use tokio::task::{AbortHandle, JoinSet};

use crate::error::{Error, Result};
use crate::qemu::machine::Life;

/// For how long what the guest asks for waits when the server is lost. QEMU waits as long before it
/// lets such a disk go: less than it may take to answer a command.
pub(super) const RECONNECT: Duration = Duration::from_secs(10);
/// How long a server may take until it has said what it has. QEMU does nothing else meanwhile.
pub(super) const NEGOTIATION: Duration = Duration::from_secs(5);
/// How long it may take to reach a server.
const CONNECT: Duration = Duration::from_secs(5);
/// After this time without an answer from its host a server is lost.
const SILENCE: Duration = Duration::from_secs(30);
/// Bytes that are carried at once, in each direction.
const BUFFER: usize = 64 << 10;
/// Connections of one disk: an old one may take its time to end.
const MAX_CONNECTIONS: usize = 8;

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// Carries the connections of one disk for as long as it is there.
#[derive(Debug)]
pub(super) struct Relay(AbortHandle);

impl Drop for Relay {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Relay {
    /// Connects to the server, and listens by this name where QEMU is.
    pub(super) async fn begin(uri: Uri, name: &str, life: &Life) -> Result<Relay> {
        let first = dial(&uri.server).await;
        let first = first.map_err(|error| Error::Server(format!("{uri}: {error}")))?;
        let listener = listen(name.to_owned(), life).await?;
        let pid = life.pid();
        let carrying = tokio::spawn(carry(listener, pid, uri, first));
        Ok(Relay(carrying.abort_handle()))
    }
}

/// Listens in QEMU's network namespace, into which a thread of its own goes to make the socket.
async fn listen(name: String, life: &Life) -> Result<UnixListener> {
    let pidfd = life.pidfd()?;
    let failed = || Error::io("listening where the VMM is");
    let (sender, made) = tokio::sync::oneshot::channel();
    let listen = move || -> io::Result<unix::UnixListener> {
        let network = ThreadNameSpaceType::NETWORK;
        rustix::thread::move_into_thread_name_spaces(pidfd.as_fd(), network)?;
        let address = unix::SocketAddr::from_abstract_name(name)?;
        let listener = unix::UnixListener::bind_addr(&address)?;
        listener.set_nonblocking(true)?;
        Ok(listener)
    };
    std::thread::Builder::new()
        .name("vmm-listen".into())
        .stack_size(128 << 10)
        .spawn(move || {
            // If nobody waits any more it is closed by being dropped.
            let _ = sender.send(listen());
        })
        .map_err(failed())?;
    let made = made
        .await
        .unwrap_or_else(|_| Err(io::Error::other("the thread is gone")));
    made.and_then(UnixListener::from_std).map_err(failed())
}

/// Serves QEMU alone: without a namespace of its own others see the socket too.
async fn carry(listener: UnixListener, pid: i32, uri: Uri, first: Box<dyn Stream>) {
    let mut first = Some(first);
    let mut connections = JoinSet::new();
    loop {
        let mut ours = match listener.accept().await {
            Ok((stream, _)) if is_of(&stream, pid) => stream,
            Ok(_) => continue,
            Err(_) => {
                // For want of descriptors, or memory.
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        while connections.try_join_next().is_some() {}
        if connections.len() >= MAX_CONNECTIONS {
            continue;
        }
        let (uri, first) = (uri.clone(), first.take());
        connections.spawn(async move {
            let server = match first {
                Some(first) => Ok(first),
                None => dial(&uri.server).await,
            };
            // QEMU tries again when it finds the connection closed.
            if let Ok(mut server) = server {
                let carried = tokio::io::copy_bidirectional_with_sizes(
                    &mut ours,
                    &mut server,
                    BUFFER,
                    BUFFER,
                );
                let _ = carried.await;
            }
        });
    }
}

fn is_of(stream: &UnixStream, pid: i32) -> bool {
    stream.peer_cred().is_ok_and(|peer| peer.pid() == Some(pid))
}

/// Connects to a server.
async fn dial(server: &Server) -> io::Result<Box<dyn Stream>> {
    let dialled = async {
        Ok::<Box<dyn Stream>, io::Error>(match server {
            Server::Tcp { host, port } => {
                let stream = TcpStream::connect((host.as_str(), *port)).await?;
                stream.set_nodelay(true)?;
                sockopt::set_socket_keepalive(&stream, true)?;
                sockopt::set_tcp_keepidle(&stream, SILENCE / 3)?;
                sockopt::set_tcp_keepintvl(&stream, SILENCE / 3)?;
                sockopt::set_tcp_keepcnt(&stream, 2)?;
                let silence = u32::try_from(SILENCE.as_millis()).unwrap_or(u32::MAX);
                sockopt::set_tcp_user_timeout(&stream, silence)?;
                Box::new(stream)
            }
            Server::Unix(path) => Box::new(UnixStream::connect(path).await?),
        })
    };
    let dialled = tokio::time::timeout(CONNECT, dialled).await;
    dialled.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}
