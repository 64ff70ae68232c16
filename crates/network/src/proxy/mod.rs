//! The user-space proxy of published ports: serves what the firewall can't send to a container
//! itself, which is traffic from loopback, over IPv6 to a container without it, and all traffic
//! where there is no `nft`.
//!
//! Runs within the shim, so that it lives as long as the container, whatever becomes of the daemon.

mod splice;

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout, timeout_at};

use crate::Proto;

/// How long a UDP client is remembered after its last datagram in either direction, as in Docker.
const UDP_IDLE: Duration = Duration::from_secs(90);
/// How many UDP clients are remembered; a further one replaces the longest idle one.
const UDP_CLIENTS: usize = 1024;
/// How many TCP connections are served at once; further ones wait in the listener's queue.
const TCP_CONNECTIONS: usize = 4096;
/// How long a container may take to accept a connection.
const CONNECT: Duration = Duration::from_secs(30);
/// Pause after an error that lasts, such as too many open files.
const BACK_OFF: Duration = Duration::from_millis(100);
/// The longest datagram.
const DATAGRAM: usize = 65_535;

/// Serves a published port until the future is dropped, which also ends its connections. The
/// listener is what `publish` returned; `target` may be of the other address family.
///
/// # Errors
/// If the listener isn't a socket of this protocol, or `proto` is SCTP. Failures of single
/// connections end those alone.
pub async fn serve(listener: OwnedFd, proto: Proto, target: SocketAddr) -> io::Result<()> {
    match proto {
        Proto::Tcp => {
            let listener = std::net::TcpListener::from(listener);
            listener.set_nonblocking(true)?;
            serve_tcp(TcpListener::from_std(listener)?, target).await
        }
        Proto::Udp => {
            let socket = std::net::UdpSocket::from(listener);
            socket.set_nonblocking(true)?;
            serve_udp(UdpSocket::from_std(socket)?, target, UDP_IDLE).await
        }
        Proto::Sctp => Err(io::Error::new(
            io::ErrorKind::Unsupported,
            "publishing of sctp ports is not supported",
        )),
    }
}

async fn serve_tcp(listener: TcpListener, target: SocketAddr) -> io::Result<()> {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            Some(_) = connections.join_next() => {}
            accepted = listener.accept(), if connections.len() < TCP_CONNECTIONS => match accepted {
                Ok((client, _)) => drop(connections.spawn(relay(client, target))),
                Err(e) if is_fatal(&e) => return Err(e),
                // The client went away, or files are short: the queue keeps the others meanwhile.
                Err(_) => sleep(BACK_OFF).await,
            },
        }
    }
}

/// Joins two connections. One that is closed for writing by its peer is closed for writing on the
/// other side, and still carries answers.
async fn relay(mut client: TcpStream, target: SocketAddr) {
    let Ok(Ok(mut container)) = timeout(CONNECT, TcpStream::connect(target)).await else {
        // A reset, not an empty answer, tells the client that nobody is there.
        let _ = client.set_zero_linger();
        return;
    };
    let _ = (client.set_nodelay(true), container.set_nodelay(true));
    if splice::join(&mut client, &mut container).await.is_err() {
        // One side was reset: so is the other.
        let _ = (client.set_zero_linger(), container.set_zero_linger());
    }
}

/// A client's own socket to the container, by which answers find back.
struct Client {
    socket: Arc<UdpSocket>,
    /// Milliseconds since the start at which the last datagram passed.
    last: Arc<AtomicU64>,
    task: tokio::task::AbortHandle,
}

async fn serve_udp(listener: UdpSocket, target: SocketAddr, idle: Duration) -> io::Result<()> {
    let listener = Arc::new(listener);
    let start = Instant::now();
    let mut clients: HashMap<SocketAddr, Client> = HashMap::new();
    let mut answers = JoinSet::new();
    let mut datagram = vec![0; DATAGRAM];
    loop {
        let received = tokio::select! {
            Some(ended) = answers.join_next_with_id() => {
                // The client may have come back meanwhile, and have a new task.
                if let Ok((task, address)) = ended
                    && clients.get(&address).is_some_and(|c| c.task.id() == task)
                {
                    clients.remove(&address);
                }
                continue;
            }
            received = listener.recv_from(&mut datagram) => received,
        };
        let (length, from) = match received {
            Ok(received) => received,
            Err(e) if is_fatal(&e) => return Err(e),
            // An ICMP error of an earlier answer, or memory is short.
            Err(_) => {
                sleep(Duration::from_millis(1)).await;
                continue;
            }
        };
        if clients.get(&from).is_none_or(|c| c.task.is_finished()) {
            let Ok(socket) = connect_udp(target).await else {
                continue;
            };
            if clients.len() >= UDP_CLIENTS {
                forget_idlest(&mut clients);
            }
            let (socket, last) = (Arc::new(socket), Arc::new(AtomicU64::new(0)));
            let answer = Answers {
                socket: socket.clone(),
                listener: listener.clone(),
                last: last.clone(),
                client: from,
                start,
                idle,
            };
            let task = answers.spawn(answer.run());
            clients.insert(from, Client { socket, last, task });
        }
        if let Some(client) = clients.get(&from) {
            client.last.store(millis(start), Ordering::Relaxed);
            // Datagrams may be lost: the container may not be listening yet.
            let _ = client
                .socket
                .send(datagram.get(..length).unwrap_or_default())
                .await;
        }
    }
}

/// Carries the answers to one client until it is idle.
struct Answers {
    socket: Arc<UdpSocket>,
    listener: Arc<UdpSocket>,
    last: Arc<AtomicU64>,
    client: SocketAddr,
    start: Instant,
    idle: Duration,
}

impl Answers {
    async fn run(self) -> SocketAddr {
        loop {
            let last = Duration::from_millis(self.last.load(Ordering::Relaxed));
            let Some(end) = self.start.checked_add(last + self.idle) else {
                return self.client;
            };
            if end <= Instant::now() {
                return self.client;
            }
            if !matches!(timeout_at(end, self.socket.readable()).await, Ok(Ok(()))) {
                continue;
            }
            // Held only while there is something to read: there may be many clients.
            let mut datagram = vec![0; DATAGRAM];
            loop {
                match self.socket.try_recv(&mut datagram) {
                    Ok(length) => {
                        self.last.store(millis(self.start), Ordering::Relaxed);
                        let answer = datagram.get(..length).unwrap_or_default();
                        let _ = self.listener.send_to(answer, self.client).await;
                    }
                    Err(e) if e.kind() == io::ErrorKind::WouldBlock => break,
                    // Nobody listens in the container (yet): an ICMP error, once for each datagram.
                    Err(_) => {}
                }
            }
        }
    }
}

async fn connect_udp(target: SocketAddr) -> io::Result<UdpSocket> {
    let any = match target {
        SocketAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        SocketAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    };
    let socket = UdpSocket::bind((any, 0)).await?;
    socket.connect(target).await?;
    Ok(socket)
}

fn forget_idlest(clients: &mut HashMap<SocketAddr, Client>) {
    let idlest = clients
        .iter()
        .min_by_key(|(_, c)| c.last.load(Ordering::Relaxed));
    if let Some(address) = idlest.map(|(address, _)| *address)
        && let Some(client) = clients.remove(&address)
    {
        client.task.abort();
    }
}

fn millis(start: Instant) -> u64 {
    u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX)
}

/// Whether the listener itself is unfit.
fn is_fatal(error: &io::Error) -> bool {
    const EBADF: i32 = 9;
    const ENOTSOCK: i32 = 88;
    const EINVAL: i32 = 22;
    matches!(error.raw_os_error(), Some(EBADF | ENOTSOCK | EINVAL))
}
