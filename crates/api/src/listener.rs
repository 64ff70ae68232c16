//! Where connections come from.

use std::fmt;
use std::future::{Future, Ready, ready};
use std::io;
use std::net::SocketAddr;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};

/// Who is at the other end. Found in a request's extensions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Peer {
    /// A process on this host, as the kernel says.
    Unix {
        /// Process id; absent where it can't be told (another PID namespace).
        pid: Option<i32>,
        /// User id.
        uid: u32,
        /// Group id.
        gid: u32,
    },
    /// An address.
    Tcp(SocketAddr),
    /// An address, over TLS.
    Tls {
        /// The address.
        address: SocketAddr,
        /// The client certificate's subject, where there is a certificate, which was verified.
        client: Option<String>,
    },
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix { pid, uid, gid } => match pid {
                Some(pid) => write!(f, "pid {pid}, uid {uid}, gid {gid}"),
                None => write!(f, "uid {uid}, gid {gid}"),
            },
            Self::Tcp(address) => address.fmt(f),
            Self::Tls { address, client } => match client {
                Some(client) => write!(f, "{address}, {client}"),
                None => address.fmt(f),
            },
        }
    }
}

/// A source of connections.
///
/// Accepting is kept apart from setting up (a TLS handshake), which runs in the connection's own task,
/// so that a slow client holds nobody up.
pub trait Listener: Send + 'static {
    /// A connection.
    type Stream: AsyncRead + AsyncWrite + Send + Unpin + 'static;
    /// What is left to do before it can be used; then it is known who is there.
    type Setup: Future<Output = io::Result<(Self::Stream, Peer)>> + Send + 'static;

    /// The next connection. Cancel safe.
    fn accept(&mut self) -> impl Future<Output = io::Result<(Self::Setup, Peer)>> + Send;
}

impl Listener for UnixListener {
    type Stream = UnixStream;
    type Setup = Ready<io::Result<(UnixStream, Peer)>>;

    async fn accept(&mut self) -> io::Result<(Self::Setup, Peer)> {
        let (stream, _) = UnixListener::accept(self).await?;
        let credentials = stream.peer_cred()?;
        let peer = Peer::Unix {
            pid: credentials.pid().filter(|pid| *pid > 0),
            uid: credentials.uid(),
            gid: credentials.gid(),
        };
        Ok((ready(Ok((stream, peer.clone()))), peer))
    }
}

impl Listener for TcpListener {
    type Stream = TcpStream;
    type Setup = Ready<io::Result<(TcpStream, Peer)>>;

    async fn accept(&mut self) -> io::Result<(Self::Setup, Peer)> {
        let (stream, address) = TcpListener::accept(self).await?;
        stream.set_nodelay(true)?;
        // A peer that vanished without a word must not keep its stream for ever.
        rustix::net::sockopt::set_socket_keepalive(&stream, true)?;
        let peer = Peer::Tcp(address);
        Ok((ready(Ok((stream, peer.clone()))), peer))
    }
}
