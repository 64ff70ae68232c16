//! One question to one other server.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use ring::rand::{SecureRandom, SystemRandom};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::timeout;

use crate::question::{self, HEADER, Transport};

/// Asks a server, and waits so long for its answer. The query goes as it is, but for its id; the
/// answer gets the query's id back.
pub(crate) async fn exchange(
    query: &[u8],
    server: SocketAddr,
    transport: Transport,
    patience: Duration,
) -> io::Result<Vec<u8>> {
    let mut sent = query.to_vec();
    let id = sent.get_mut(..2).ok_or(io::ErrorKind::InvalidInput)?;
    // Whoever wants to answer in the server's place must guess id and port (RFC 5452).
    SystemRandom::new()
        .fill(id)
        .map_err(|_| io::Error::other("no random numbers"))?;
    let asking = async {
        match transport {
            Transport::Udp => datagram(&sent, server).await,
            Transport::Tcp => stream(&sent, server).await,
        }
    };
    let mut reply = timeout(patience, asking)
        .await
        .map_err(|_| io::ErrorKind::TimedOut)??;
    for (to, from) in reply.iter_mut().zip(query.iter().take(2)) {
        *to = *from;
    }
    Ok(reply)
}

async fn datagram(query: &[u8], server: SocketAddr) -> io::Result<Vec<u8>> {
    // A socket for each question: the kernel chooses a port at random, and takes packets of the
    // server alone.
    let any = match server {
        SocketAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        SocketAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    };
    let socket = UdpSocket::bind((any, 0)).await?;
    socket.connect(server).await?;
    socket.send(query).await?;
    let mut buffer = vec![0; 4096];
    loop {
        let length = socket.recv(&mut buffer).await?;
        let reply = buffer.get(..length).unwrap_or_default();
        if matches(query, reply) {
            return Ok(reply.to_vec());
        }
    }
}

async fn stream(query: &[u8], server: SocketAddr) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(server).await?;
    let length = u16::try_from(query.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
    let mut framed = length.to_be_bytes().to_vec();
    framed.extend_from_slice(query);
    stream.write_all(&framed).await?;
    let length = usize::from(stream.read_u16().await?);
    let mut reply = vec![0; length];
    stream.read_exact(&mut reply).await?;
    if matches(query, &reply) {
        Ok(reply)
    } else {
        Err(io::ErrorKind::InvalidData.into())
    }
}

/// Whether this is an answer to that query: the same id and question. A server that fails may leave
/// the question out.
pub(crate) fn matches(query: &[u8], reply: &[u8]) -> bool {
    if reply.len() < HEADER || !question::is_response(reply) || reply.get(..2) != query.get(..2) {
        return false;
    }
    let (Some(asked), answered) = (question::end(query), question::end(reply)) else {
        return false;
    };
    match (answered, query.get(HEADER..asked)) {
        (Some(end), Some(asked)) => reply
            .get(HEADER..end)
            .is_some_and(|answered| answered.eq_ignore_ascii_case(asked)),
        (None, _) => {
            reply.get(4..6) == Some(&[0, 0]) && question::code(reply).is_some_and(|code| code != 0)
        }
        (Some(_), None) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_answer_to_the_question() {
        let query = b"\x12\x34\x01\x00\0\x01\0\0\0\0\0\0\x03web\0\0\x01\0\x01";
        let reply = |id: &[u8; 2], name: &[u8; 3]| {
            let mut reply = query.to_vec();
            reply[..2].copy_from_slice(id);
            reply[2] = 0x81;
            reply[13..16].copy_from_slice(name);
            reply
        };
        assert!(matches(query, &reply(b"\x12\x34", b"wEb")));
        assert!(!matches(query, &reply(b"\x12\x35", b"web")));
        assert!(!matches(query, &reply(b"\x12\x34", b"wet")));
        assert!(!matches(query, query));
        let failed = b"\x12\x34\x81\x82\0\0\0\0\0\0\0\0";
        assert!(matches(query, failed));
        let empty = b"\x12\x34\x81\x80\0\0\0\0\0\0\0\0";
        assert!(!matches(query, empty));
    }
}
