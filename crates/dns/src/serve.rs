//! The loops over one listener's sockets.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hickory_proto::op::ResponseCode;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::answer::{Asker, Outcome, answer};
use crate::gate::Door;
use crate::question::{self, Transport};
use crate::server::Core;

/// The longest query that is looked at: one question with options fits many times.
const LONGEST: usize = 4096;
/// How long a connection may be idle, or a message take.
const IDLE: Duration = Duration::from_secs(10);
/// After an error of the socket itself, such as too many open files.
const PAUSE: Duration = Duration::from_millis(50);

/// Who asks through a listener.
#[derive(Clone, Debug)]
pub(crate) enum Scope {
    /// This container.
    Container(Arc<str>),
    /// Whoever has the address on this network.
    Network(Arc<str>),
    /// The host, which knows names in this domain.
    Host(Arc<str>),
}

/// One listener.
#[derive(Clone, Debug)]
pub(crate) struct Listener {
    pub(crate) core: Arc<Core>,
    pub(crate) scope: Scope,
    pub(crate) door: Door,
}

impl Listener {
    /// Answers, or says who is to be asked. All of it is done in memory.
    fn answer(&self, packet: &[u8], from: SocketAddr, transport: Transport) -> Outcome {
        let table = self.core.table();
        let asker = match &self.scope {
            Scope::Host(domain) => Asker::Host(domain),
            Scope::Container(id) => Asker::Container(id),
            Scope::Network(network) => match table.owner(network, from.ip()) {
                Some(id) => Asker::Container(id),
                // Whoever has no business here gets nothing, so that nothing can be amplified.
                None => return Outcome::Silence,
            },
        };
        answer(&table, asker, packet, transport, &self.core.turns)
    }

    /// Has others answer.
    async fn forward(
        &self,
        packet: &[u8],
        upstream: crate::table::Upstream,
        transport: Transport,
    ) -> Option<Vec<u8>> {
        let table = self.core.table();
        let own = |server: SocketAddr| table.is_gateway(server.ip());
        self.core
            .forwarder
            .forward(packet, upstream, transport, own)
            .await
    }

    pub(crate) async fn datagrams(self, socket: UdpSocket) {
        let socket = Arc::new(socket);
        // What is being asked of others ends with this.
        let mut asked = JoinSet::new();
        let mut buffer = vec![0; LONGEST];
        loop {
            while asked.try_join_next().is_some() {}
            let (length, from) = match socket.recv_from(&mut buffer).await {
                Ok(received) => received,
                // Somebody's answer could not be delivered; that is theirs.
                Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => continue,
                Err(error) => {
                    tracing::debug!(%error, "cannot receive questions");
                    sleep(PAUSE).await;
                    continue;
                }
            };
            let packet = buffer.get(..length).unwrap_or_default();
            let reply = match self.answer(packet, from, Transport::Udp) {
                Outcome::Silence => continue,
                Outcome::Reply(reply) => Some(reply),
                Outcome::Forward(upstream) => match self.door.pass() {
                    Some(pass) => {
                        let (this, socket) = (self.clone(), socket.clone());
                        let packet = packet.to_vec();
                        asked.spawn(async move {
                            let _pass = pass;
                            if let Some(reply) =
                                this.forward(&packet, upstream, Transport::Udp).await
                            {
                                // Whoever asked may be gone.
                                let _ = socket.send_to(&reply, from).await;
                            }
                        });
                        None
                    }
                    None => question::bare(packet, ResponseCode::ServFail.low(), false),
                },
            };
            if let Some(reply) = reply {
                // A full buffer loses it, as the network might: never wait for one who asks.
                let _ = socket.try_send_to(&reply, from);
            }
        }
    }

    pub(crate) async fn connections(self, listener: TcpListener) {
        let mut served = JoinSet::new();
        loop {
            while served.try_join_next().is_some() {}
            let (stream, from) = match listener.accept().await {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::debug!(%error, "cannot accept questions");
                    sleep(PAUSE).await;
                    continue;
                }
            };
            let Some(connection) = self.door.connection() else {
                continue;
            };
            let this = self.clone();
            served.spawn(async move {
                let _connection = connection;
                // It ends when the other side is gone, slow, or sends nonsense.
                let _ = this.connection(stream, from).await;
            });
        }
    }

    /// One connection: a question after the other (RFC 7766).
    async fn connection(&self, mut stream: TcpStream, from: SocketAddr) -> io::Result<()> {
        loop {
            let packet = timeout(IDLE, read(&mut stream)).await??;
            let reply = match self.answer(&packet, from, Transport::Tcp) {
                Outcome::Silence => return Ok(()),
                Outcome::Reply(reply) => Some(reply),
                Outcome::Forward(upstream) => match self.door.pass() {
                    Some(_pass) => self.forward(&packet, upstream, Transport::Tcp).await,
                    None => question::bare(&packet, ResponseCode::ServFail.low(), false),
                },
            };
            let reply = reply.ok_or(io::ErrorKind::InvalidData)?;
            let length = u16::try_from(reply.len()).map_err(|_| io::ErrorKind::InvalidData)?;
            let mut framed = length.to_be_bytes().to_vec();
            framed.extend_from_slice(&reply);
            timeout(IDLE, stream.write_all(&framed)).await??;
        }
    }
}

async fn read(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    let length = usize::from(stream.read_u16().await?);
    if length > LONGEST {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut packet = vec![0; length];
    stream.read_exact(&mut packet).await?;
    Ok(packet)
}
