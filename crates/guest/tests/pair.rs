//! The host's client against the guest's server, over a pair of sockets.

#![allow(clippy::unwrap_used)]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use coracle_guest::{
    Agent, Call, Direction, Error, Event, Events, Failure, Reply, Request, Service, Setup, Share,
    Target, WINDOW,
};
use coracle_task::ErrorKind;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

/// Answers what is needed to see that the framing works.
#[derive(Default)]
struct Echo {
    hanging: Arc<AtomicUsize>,
    events: Events,
}

struct Hanging(Arc<AtomicUsize>);

impl Drop for Hanging {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

#[async_trait]
impl Service for Echo {
    async fn call(&self, request: Request, call: &Call) -> Result<Reply, Failure> {
        match request {
            Request::ReadFile { path } => Ok(Reply::Bytes(path.into_bytes())),
            Request::Pause { .. } => {
                self.hanging.fetch_add(1, Ordering::SeqCst);
                let _hanging = Hanging(self.hanging.clone());
                std::future::pending().await
            }
            Request::Dial { channel, .. } => {
                let mut channel = call.channel(channel)?;
                tokio::spawn(async move {
                    let mut buffer = vec![0; 10_000];
                    while let Ok(length @ 1..) = channel.read(&mut buffer).await {
                        if channel.write_all(&buffer[..length]).await.is_err() {
                            return;
                        }
                    }
                });
                Ok(Reply::Done)
            }
            Request::Setup { channels, .. } => {
                for channel in channels {
                    call.channel(channel)?.fail("no shares here");
                }
                Ok(Reply::Done)
            }
            Request::MachineStats => {
                let container = "c".to_owned();
                self.events.send(&Event::Oom { container }).await;
                Ok(Reply::Machine(Box::default()))
            }
            Request::Session { channel } => {
                let mut channel = call.channel(channel)?;
                let (member, events) = (Arc::new(Echo::default()), Events::default());
                // Its end is the session's.
                let _ = coracle_guest::serve(&mut channel, member, &events).await;
                Ok(Reply::Done)
            }
            _ => Err(Failure::new(ErrorKind::Unsupported, "not here")),
        }
    }
}

async fn pair() -> (
    Agent,
    Arc<AtomicUsize>,
    tokio::task::JoinHandle<std::io::Result<()>>,
) {
    let (host, mut guest) = UnixStream::pair().unwrap();
    let service = Arc::new(Echo::default());
    let (hanging, events) = (service.hanging.clone(), service.events.clone());
    let server =
        tokio::spawn(async move { coracle_guest::serve(&mut guest, service, &events).await });
    (Agent::connect(host).await.unwrap(), hanging, server)
}

fn somewhere() -> Target {
    Target::Unix {
        container: None,
        path: "/".into(),
    }
}

#[tokio::test]
async fn calls_run_side_by_side() {
    let (agent, hanging, server) = pair().await;
    let waits = tokio::spawn({
        let agent = agent.clone();
        async move { agent.pause("x").await }
    });
    let mut answers = Vec::new();
    for n in 0..100 {
        let agent = agent.clone();
        answers.push(tokio::spawn(async move {
            agent.read_file(&n.to_string()).await
        }));
    }
    for (n, answer) in answers.into_iter().enumerate() {
        assert_eq!(answer.await.unwrap().unwrap(), n.to_string().as_bytes());
    }
    let error = agent.resume("x").await.unwrap_err();
    assert_eq!(
        (error.kind(), error.to_string()),
        (ErrorKind::Unsupported, "not here".into())
    );
    assert_eq!(hanging.load(Ordering::SeqCst), 1);
    // Given up here, it is given up there.
    waits.abort();
    while hanging.load(Ordering::SeqCst) > 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    agent.machine_stats().await.unwrap();
    assert!(matches!(agent.event().await.unwrap(), Event::Oom { container } if container == "c"));
    drop(agent);
    server.await.unwrap().unwrap();
}

#[tokio::test]
async fn channels_carry_anything_and_a_slow_one_stops_no_other() {
    let (agent, _, _server) = pair().await;
    let mut slow = agent.dial(&somewhere()).await.unwrap();
    // Fills both windows: nobody reads what is echoed.
    let mut written = 0;
    while let Ok(result) =
        tokio::time::timeout(Duration::from_millis(100), slow.write(&[7; 30_000])).await
    {
        written += result.unwrap();
    }
    assert!((2 * WINDOW..3 * WINDOW).contains(&written), "{written}");
    let data: Vec<u8> = (0..3_000_000u32).map(|n| (n % 251) as u8).collect();
    let (mut reader, mut writer) = agent.dial(&somewhere()).await.unwrap().into_split();
    let sent = data.clone();
    let sending = tokio::spawn(async move {
        writer.write_all(&sent).await.unwrap();
        writer.shutdown().await.unwrap();
    });
    let mut received = Vec::new();
    reader.read_to_end(&mut received).await.unwrap();
    sending.await.unwrap();
    assert!(received == data);
    slow.shutdown().await.unwrap();
    let mut rest = Vec::new();
    slow.read_to_end(&mut rest).await.unwrap();
    assert_eq!(rest.len(), written);
}

#[tokio::test]
async fn ways_end_each_by_itself() {
    let (agent, _, _server) = pair().await;
    let share = Share {
        target: "/x".into(),
        is_dir: true,
        read_only: true,
    };
    let setup = Setup {
        shares: vec![share],
        ..Setup::default()
    };
    let mut shares = agent.setup(&setup).await.unwrap();
    let error = shares[0].read_u8().await.unwrap_err();
    assert_eq!(error.to_string(), "no shares here");
    // One who doesn't read any more is no reason to hang.
    let (reader, mut writer) = agent.dial(&somewhere()).await.unwrap().into_split();
    drop(reader);
    let mut sent = 0;
    while writer.write_all(&[1; 1000]).await.is_ok() && sent < 4 * WINDOW {
        sent += 1000;
        tokio::task::yield_now().await;
    }
    assert!(sent < 4 * WINDOW);
    // Used up ids are no problem, whoever ends first.
    for _ in 0..3000 {
        let mut channel = agent.dial(&somewhere()).await.unwrap();
        channel.write_all(b"x").await.unwrap();
    }
    assert_eq!(agent.read_file("alive").await.unwrap(), b"alive");
    assert!(agent.open_channel(Direction::Both).is_ok());
}

#[tokio::test]
async fn a_lost_connection_ends_everything() {
    let (agent, hanging, server) = pair().await;
    let waits = tokio::spawn({
        let agent = agent.clone();
        async move { agent.pause("x").await }
    });
    let mut channel = agent.dial(&somewhere()).await.unwrap();
    while hanging.load(Ordering::SeqCst) == 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    server.abort();
    assert!(matches!(waits.await.unwrap(), Err(Error::Gone(_))));
    assert!(channel.read_u8().await.is_err());
    assert!(channel.write_all(b"x").await.is_err());
    assert!(matches!(agent.event().await, Err(Error::Gone(_))));
    assert!(matches!(agent.read_file("").await, Err(Error::Gone(_))));
    assert!(matches!(
        agent.open_channel(Direction::Both),
        Err(Error::Gone(_))
    ));
    agent.closed().await;
}

#[tokio::test]
async fn a_new_hello_begins_anew() {
    let (mut first, second) = UnixStream::pair().unwrap();
    let service = Arc::new(Echo::default());
    let hanging = service.hanging.clone();
    let (host, guest) = tokio::io::duplex(1 << 20);
    let mut guest = guest;
    let events = service.events.clone();
    tokio::spawn(async move { coracle_guest::serve(&mut guest, service, &events).await });
    // The host's stream goes on while its first user is gone: as if the machine had been copied.
    let (mut host_read, mut host_write) = tokio::io::split(host);
    let agent = {
        let connecting = tokio::spawn(Agent::connect(second));
        let mut hello = vec![0; 37];
        first.read_exact(&mut hello).await.unwrap();
        host_write.write_all(&hello).await.unwrap();
        let mut answer = vec![0; 37];
        host_read.read_exact(&mut answer).await.unwrap();
        first.write_all(&answer).await.unwrap();
        connecting.await.unwrap().unwrap()
    };
    let waits = tokio::spawn(async move { agent.pause("x").await });
    let mut request = vec![0; 1000];
    let length = first.read(&mut request).await.unwrap();
    host_write.write_all(&request[..length]).await.unwrap();
    while hanging.load(Ordering::SeqCst) == 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let host = host_read.unsplit(host_write);
    let agent = Agent::connect(host).await.unwrap();
    assert_eq!(agent.read_file("new").await.unwrap(), b"new");
    assert_eq!(hanging.load(Ordering::SeqCst), 0);
    drop(first);
    assert!(matches!(waits.await.unwrap(), Err(Error::Gone(_))));
}

/// A conversation within a channel is one like any other; one who doesn't read holds up itself only.
#[tokio::test]
async fn a_session_is_a_connection_of_its_own() {
    let (owner, ..) = pair().await;
    let channel = owner.open_channel(Direction::Both).unwrap();
    let id = channel.id();
    let serving = owner.clone();
    let session = tokio::spawn(async move { serving.session(id).await });
    let member = Agent::connect(channel).await.unwrap();
    assert_eq!(member.read_file("/x").await.unwrap(), b"/x");
    let target = Target::Tcp("127.0.0.1:1".parse().unwrap());
    let stuck = member.dial(&target).await.unwrap();
    let (mut reader, mut writer) = stuck.into_split();
    let data = vec![7; 3 * WINDOW];
    let written = tokio::spawn(async move {
        writer.write_all(&data).await.unwrap();
    });
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(member.read_file("/y").await.unwrap(), b"/y");
    assert_eq!(owner.read_file("/z").await.unwrap(), b"/z");
    let mut back = vec![0; 3 * WINDOW];
    reader.read_exact(&mut back).await.unwrap();
    assert!(back.iter().all(|byte| *byte == 7));
    written.await.unwrap();
    drop((member, reader));
    session.await.unwrap().unwrap();
    assert_eq!(owner.read_file("/after").await.unwrap(), b"/after");
}
