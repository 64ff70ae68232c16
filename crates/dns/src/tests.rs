//! The whole server over sockets of this host, with other servers of the tests' own.

use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::time::timeout;

use crate::place::Sockets;
use crate::serve::Scope;
use crate::{Config, Host, Server, Snapshot, Source};

struct Sample;

impl Source for Sample {
    fn snapshot(&self) -> Snapshot {
        Snapshot::sample()
    }
}

/// A server for container "one" with these others behind it, and where it listens.
fn server(resolvers: Vec<SocketAddr>, scope: Scope) -> (Server, SocketAddr, SocketAddr) {
    let config = Config {
        resolvers: Some(resolvers),
        ..Config::default()
    };
    let server = Server::new(config, Arc::new(Sample));
    let udp = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let tcp = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    udp.set_nonblocking(true).unwrap();
    tcp.set_nonblocking(true).unwrap();
    let places = (udp.local_addr().unwrap(), tcp.local_addr().unwrap());
    let tasks = server.begin(Sockets { udp, tcp }, scope).unwrap();
    server.listening().insert("test".into(), tasks);
    (server, places.0, places.1)
}

fn one() -> Scope {
    Scope::Container("one".into())
}

/// `x.example`, with EDNS of 4096 bytes if asked for.
fn query(edns: bool) -> Vec<u8> {
    let mut query = b"\x12\x34\x01\0\0\x01\0\0\0\0\0\0\x01x\x07example\0\0\x01\0\x01".to_vec();
    if edns {
        query[11] = 1;
        query.extend(b"\0\0\x29\x10\0\0\0\x80\0\0\0");
    }
    query
}

/// Another server: answers every question with itself and so many bytes more.
struct Other {
    address: SocketAddr,
    seen: Arc<Mutex<Vec<Vec<u8>>>>,
    ports: Arc<Mutex<Vec<u16>>>,
}

impl Other {
    async fn start(length: usize, cut: bool) -> Self {
        let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = tcp.local_addr().unwrap();
        let udp = UdpSocket::bind(address).await.unwrap();
        let other = Self {
            address,
            seen: Arc::default(),
            ports: Arc::default(),
        };
        let reply = move |query: &[u8]| {
            let mut reply = query.to_vec();
            reply[2] |= 0x80;
            reply.resize(query.len() + length, 7);
            reply
        };
        let (seen, ports) = (other.seen.clone(), other.ports.clone());
        tokio::spawn(async move {
            let mut buffer = [0; 4096];
            while let Ok((length, from)) = udp.recv_from(&mut buffer).await {
                let query = &buffer[..length];
                seen.lock().unwrap().push(query.to_vec());
                ports.lock().unwrap().push(from.port());
                // First what somebody else might send in its place.
                let mut forged = reply(query);
                forged[0] ^= 1;
                udp.send_to(&forged, from).await.unwrap();
                udp.send_to(b"nonsense", from).await.unwrap();
                let mut answer = reply(query);
                if cut {
                    answer.truncate(length);
                    answer[2] |= 2;
                }
                udp.send_to(&answer, from).await.unwrap();
            }
        });
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = tcp.accept().await {
                let length = usize::from(stream.read_u16().await.unwrap());
                let mut query = vec![0; length];
                stream.read_exact(&mut query).await.unwrap();
                let answer = reply(&query);
                let length = u16::try_from(answer.len()).unwrap();
                stream.write_u16(length).await.unwrap();
                stream.write_all(&answer).await.unwrap();
            }
        });
        other
    }
}

async fn ask(server: SocketAddr, query: &[u8]) -> Option<Vec<u8>> {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    socket.send_to(query, server).await.unwrap();
    let mut buffer = vec![0; 8192];
    let received = timeout(Duration::from_secs(6), socket.recv(&mut buffer)).await;
    let length = received.ok()?.unwrap();
    buffer.truncate(length);
    Some(buffer)
}

async fn ask_by_tcp(server: SocketAddr, queries: &[&[u8]]) -> Vec<Vec<u8>> {
    let mut stream = TcpStream::connect(server).await.unwrap();
    let mut replies = Vec::new();
    for query in queries {
        let length = u16::try_from(query.len()).unwrap();
        stream.write_u16(length).await.unwrap();
        stream.write_all(query).await.unwrap();
        let length = usize::from(stream.read_u16().await.unwrap());
        let mut reply = vec![0; length];
        stream.read_exact(&mut reply).await.unwrap();
        replies.push(reply);
    }
    replies
}

#[tokio::test]
async fn questions_go_on_as_they_are() {
    let other = Other::start(50, false).await;
    let (_server, udp, tcp) = server(vec![other.address], one());
    let query = query(true);
    for _ in 0..20 {
        let reply = ask(udp, &query).await.unwrap();
        assert_eq!(reply.len(), query.len() + 50);
        assert_eq!(reply[..2], query[..2]);
    }
    let mut seen = other.seen.lock().unwrap().clone();
    assert!(
        seen.iter().all(|seen| seen[2..] == query[2..]),
        "with EDNS and all"
    );
    seen.sort();
    seen.dedup();
    assert!(seen.len() > 15, "ids are random");
    let mut ports = other.ports.lock().unwrap().clone();
    ports.sort_unstable();
    ports.dedup();
    assert!(ports.len() > 10, "and so are ports");
    // Two on one connection: ours and another's.
    let own = b"\0\x01\x01\0\0\x01\0\0\0\0\0\0\x03one\0\0\x01\0\x01";
    let replies = ask_by_tcp(tcp, &[own, &query]).await;
    assert_eq!(replies[0][7], 1);
    assert_eq!(replies[1].len(), query.len() + 50);
}

#[tokio::test]
async fn what_does_not_fit_is_asked_again_by_tcp() {
    let query = query(false);
    for cut in [true, false] {
        let other = Other::start(3000, cut).await;
        let (_server, udp, tcp) = server(vec![other.address], one());
        let reply = ask(udp, &query).await.unwrap();
        assert!(reply.len() <= 512 && reply[2] & 2 == 2, "truncated");
        assert_eq!(
            ask_by_tcp(tcp, &[&query]).await[0].len(),
            query.len() + 3000
        );
    }
}

#[tokio::test]
async fn a_dead_server_is_waited_for_once() {
    let dead = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let other = Other::start(1, false).await;
    let (_server, udp, _) = server(vec![dead.local_addr().unwrap(), other.address], one());
    let query = query(false);
    let begun = Instant::now();
    assert_eq!(ask(udp, &query).await.unwrap()[3] & 15, 0);
    assert!(begun.elapsed() < Duration::from_secs(4));
    let begun = Instant::now();
    ask(udp, &query).await.unwrap();
    assert!(
        begun.elapsed() < Duration::from_millis(1400),
        "it is remembered"
    );
}

#[tokio::test]
async fn without_any_server_it_fails_at_once() {
    let closed = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = closed.local_addr().unwrap();
    drop(closed);
    let (_server, udp, _) = server(vec![address], one());
    let begun = Instant::now();
    let reply = ask(udp, &query(false)).await.unwrap();
    assert_eq!(reply[3] & 15, 2, "SERVFAIL");
    assert!(begun.elapsed() < Duration::from_secs(4));
}

#[tokio::test]
async fn names_are_answered_while_others_are_waited_for() {
    let dead = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let (_server, udp, _) = server(vec![dead.local_addr().unwrap()], one());
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    // More than may wait: what is too much is refused.
    for _ in 0..300 {
        socket.send_to(&query(false), udp).await.unwrap();
        tokio::task::yield_now().await;
    }
    let begun = Instant::now();
    let own = b"\0\x01\x01\0\0\x01\0\0\0\0\0\0\x03one\0\0\x01\0\x01";
    assert_eq!(ask(udp, own).await.unwrap()[7], 1);
    assert!(begun.elapsed() < Duration::from_secs(4));
}

#[tokio::test]
async fn strangers_get_no_answer_at_a_gateway() {
    let (_server, udp, _) = server(Vec::new(), Scope::Network("f".into()));
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    socket.send_to(&query(false), udp).await.unwrap();
    let mut buffer = [0; 512];
    let heard = timeout(Duration::from_millis(300), socket.recv(&mut buffer)).await;
    assert!(heard.is_err());
}

#[tokio::test]
async fn the_host_is_answered_by_udp_and_tcp_and_refused_the_rest() {
    let other = Other::start(1, false).await;
    let (_server, udp, tcp) = server(vec![other.address], Scope::Host("coracle".into()));
    let own = b"\0\x01\x01\0\0\x01\0\0\0\0\0\0\x03two\x07coracle\0\0\x01\0\x01";
    assert!(ask(udp, own).await.unwrap().ends_with(&[10, 2, 0, 2]));
    let replies = ask_by_tcp(tcp, &[own, &query(true)]).await;
    assert!(replies[0].ends_with(&[10, 2, 0, 2]));
    assert_eq!(replies[1][3] & 15, 5, "REFUSED");
    assert_eq!(ask(udp, &query(true)).await.unwrap()[3] & 15, 5, "REFUSED");
    assert!(other.seen.lock().unwrap().is_empty(), "nobody is asked");
}

#[tokio::test]
async fn a_port_that_is_taken_is_told() {
    let taken = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = taken.local_addr().unwrap();
    let host = Host::new(address, "coracle").unwrap();
    let server = Server::new(Config::default(), Arc::new(Sample));
    let error = server.open_host(&host).unwrap_err().to_string();
    assert!(error.contains(&address.to_string()), "{error}");
    drop(taken);
    server.open_host(&host).unwrap();
    server.open_host(&host).unwrap();
    server.close_gateways(|_| true);
    let own = b"\0\x01\x01\0\0\x01\0\0\0\0\0\0\x03two\x07coracle\0\0\x01\0\x01";
    assert!(ask(address, own).await.unwrap().ends_with(&[10, 2, 0, 2]));
}

#[tokio::test]
async fn changes_are_seen_by_the_next_question() {
    struct Growing(AtomicUsize);
    impl Source for Growing {
        fn snapshot(&self) -> Snapshot {
            let mut snapshot = Snapshot::sample();
            let last = self.0.fetch_add(1, Ordering::Relaxed);
            let address = IpAddr::from([10, 1, 2, u8::try_from(last).unwrap()]);
            snapshot.containers[0].endpoints[0].addresses = vec![address];
            snapshot
        }
    }
    let server = Server::new(Config::default(), Arc::new(Growing(AtomicUsize::new(0))));
    let core = |server: &Server| server.core().table().addresses("one", "one").unwrap();
    let first = core(&server);
    assert_eq!(core(&server), first, "nothing has changed");
    server.changed();
    assert_ne!(core(&server), first);
}
