//! The proxy alone, on loopback: needs no privilege.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::OwnedFd;
use std::thread;
use std::time::Duration;

use coracle_network::{Proto, proxy};

use crate::host::{addr, ask, ask_udp, echo};

/// Runs the proxy as a shim does, in a thread with a runtime of its own.
fn start(listener: OwnedFd, proto: Proto, target: SocketAddr) {
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime
            .block_on(proxy::serve(listener, proto, target))
            .unwrap();
    });
}

fn tcp(target: SocketAddr) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    start(listener.into(), Proto::Tcp, target);
    address
}

fn free() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
}

#[test]
fn half_closed_connections_still_carry_answers() {
    let server = free();
    echo(None, server);
    let proxy = tcp(server);
    for _ in 0..20 {
        assert_eq!(ask(proxy).unwrap(), "127.0.0.1|hello");
    }
}

#[test]
fn much_data_passes_both_ways_at_once() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let proxy = tcp(listener.local_addr().unwrap());
    thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut other = stream.try_clone().unwrap();
        std::io::copy(&mut stream, &mut other).unwrap();
        other.shutdown(Shutdown::Write).unwrap();
    });
    let mut stream = TcpStream::connect(proxy).unwrap();
    let mut other = stream.try_clone().unwrap();
    let data: Vec<u8> = (0..8_000_000_u32).map(|n| (n / 251) as u8).collect();
    let sent = data.clone();
    thread::spawn(move || {
        other.write_all(&sent).unwrap();
        other.shutdown(Shutdown::Write).unwrap();
    });
    let mut received = Vec::new();
    stream.read_to_end(&mut received).unwrap();
    assert!(received == data);
}

#[test]
fn nobody_behind_it_is_a_reset() {
    let proxy = tcp(free());
    let mut stream = TcpStream::connect(proxy).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(5)))
        .unwrap();
    let error = stream.read(&mut [0; 8]).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
    // It goes on serving.
    assert!(TcpStream::connect(proxy).is_ok());
}

#[test]
fn datagrams_find_back_to_each_client() {
    let server = UdpSocket::bind("127.0.0.1:0").unwrap();
    let target = server.local_addr().unwrap();
    let listener = UdpSocket::bind("127.0.0.1:0").unwrap();
    let proxy = listener.local_addr().unwrap();
    start(listener.into(), Proto::Udp, target);
    thread::spawn(move || {
        let mut buffer = vec![0; 65_535];
        while let Ok((length, peer)) = server.recv_from(&mut buffer) {
            server.send_to(&buffer[..length], peer).unwrap();
        }
    });
    let clients: Vec<_> = (0..50)
        .map(|_| UdpSocket::bind("127.0.0.1:0").unwrap())
        .collect();
    for (n, client) in clients.iter().enumerate() {
        client
            .set_read_timeout(Some(Duration::from_secs(5)))
            .unwrap();
        client
            .send_to(format!("client {n}").as_bytes(), proxy)
            .unwrap();
    }
    for (n, client) in clients.iter().enumerate() {
        let mut buffer = [0; 64];
        let (length, from) = client.recv_from(&mut buffer).unwrap();
        assert_eq!(buffer[..length], *format!("client {n}").as_bytes());
        assert_eq!(from, proxy);
    }
    // The longest datagram that IPv4 carries.
    let long = vec![7; 65_507];
    clients[0].send_to(&long, proxy).unwrap();
    let mut buffer = vec![0; 65_535];
    assert_eq!(clients[0].recv(&mut buffer).unwrap(), long.len());
}

#[test]
fn more_udp_clients_than_are_remembered() {
    let server = UdpSocket::bind("127.0.0.1:0").unwrap();
    let target = server.local_addr().unwrap();
    let listener = UdpSocket::bind("127.0.0.1:0").unwrap();
    let proxy = listener.local_addr().unwrap();
    start(listener.into(), Proto::Udp, target);
    thread::spawn(move || {
        let mut buffer = [0; 64];
        while let Ok((length, peer)) = server.recv_from(&mut buffer) {
            let _ = server.send_to(&buffer[..length], peer);
        }
    });
    for _ in 0..1500 {
        let answer = ask_udp(proxy).unwrap();
        assert_eq!(answer, "hello");
    }
}

#[tokio::test]
async fn what_is_no_listener_is_refused() {
    let file = || OwnedFd::from(std::fs::File::open("/dev/null").unwrap());
    for proto in [Proto::Tcp, Proto::Udp, Proto::Sctp] {
        let served = proxy::serve(file(), proto, addr("127.0.0.1:1"));
        let served = tokio::time::timeout(Duration::from_secs(5), served).await;
        assert!(matches!(served, Ok(Err(_))), "{proto}");
    }
}
