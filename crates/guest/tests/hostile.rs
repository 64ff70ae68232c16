//! A guest that does what it may not.

#![allow(clippy::unwrap_used)]

use std::time::Duration;

use coracle_guest::{Agent, Channel, Direction, Error, MAX_DATA, MAX_EVENTS, MAX_FRAME, WINDOW};
use proptest::prelude::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

/// The length of a hello with its header.
const HELLO: usize = 37;

const REPLY: u8 = 2;
const EVENT: u8 = 3;
const OPEN: u8 = 5;
const DATA: u8 = 6;
const CREDIT: u8 = 7;
const END: u8 = 8;

fn frame(kind: u8, id: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap();
    [
        &length.to_le_bytes()[..],
        &id.to_le_bytes(),
        &[kind],
        payload,
    ]
    .concat()
}

/// A host with one channel, and what it is connected to, which has said hello as it should.
async fn host() -> (Agent, Channel, DuplexStream) {
    let (host, mut guest) = tokio::io::duplex(4 << 20);
    let answering = tokio::spawn(async move {
        let mut hello = [0; HELLO];
        guest.read_exact(&mut hello).await.unwrap();
        guest.write_all(&hello).await.unwrap();
        guest
    });
    let agent = Agent::connect(host).await.unwrap();
    let channel = agent.open_channel(Direction::Both).unwrap();
    (agent, channel, answering.await.unwrap())
}

/// Whether the host breaks the connection over this.
async fn is_refused(bytes: &[u8]) -> bool {
    let (agent, _channel, mut guest) = host().await;
    // It may have hung up already.
    let _ = guest.write_all(bytes).await;
    let closed = tokio::time::timeout(Duration::from_secs(10), agent.closed()).await;
    if let Ok(why) = &closed {
        assert!(matches!(why, Error::Gone(_)), "{why}");
        assert!(matches!(agent.delete("x").await, Err(Error::Gone(_))));
    }
    closed.is_ok()
}

#[tokio::test]
async fn what_is_not_allowed_ends_the_connection() {
    let window = frame(DATA, 1, &vec![0; MAX_DATA]).repeat(WINDOW / MAX_DATA + 1);
    let oom = frame(EVENT, 0, &[1, 1, b'c']).repeat(MAX_EVENTS + 1);
    let mut long = frame(REPLY, 1, &[]);
    long[..4].copy_from_slice(&u32::try_from(MAX_FRAME + 1).unwrap().to_le_bytes());
    let after_end = [frame(END, 1, &[]), frame(DATA, 1, b"x")].concat();
    for (what, bytes) in [
        ("an unknown kind", frame(77, 1, &[])),
        ("a frame that is too long", long),
        ("data over the credit", window),
        (
            "credit that was never taken",
            frame(CREDIT, 1, &[1, 0, 0, 0]),
        ),
        ("a short credit", frame(CREDIT, 1, &[1])),
        ("data after the end", after_end),
        ("a channel that never was", frame(DATA, 2, b"x")),
        ("channel 0", frame(END, 0, &[])),
        ("a channel of its own", frame(OPEN, 2, &[3])),
        ("a reply to nothing", frame(REPLY, 1, &[0, 0])),
        ("a malformed reply", frame(REPLY, 1, &[99, 99])),
        ("a malformed event", frame(EVENT, 0, &[99])),
        ("more events than anybody takes", oom),
        ("a request", frame(1, 1, &[0])),
    ] {
        assert!(is_refused(&bytes).await, "{what}");
    }
}

#[tokio::test]
async fn what_is_late_is_passed_over() {
    let (agent, channel, mut guest) = host().await;
    channel.fail("over");
    guest.write_all(&frame(DATA, 1, b"late")).await.unwrap();
    guest.write_all(&frame(END, 1, &[])).await.unwrap();
    let closed = tokio::time::timeout(Duration::from_millis(200), agent.closed()).await;
    assert!(closed.is_err());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn nothing_makes_the_host_panic(
        frames in prop::collection::vec(
            (0u8..12, 0u32..4, prop::collection::vec(any::<u8>(), 0..40)), 0..30),
        noise in prop::collection::vec(any::<u8>(), 0..30),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (agent, mut channel, mut guest) = host().await;
            let call = tokio::spawn({
                let agent = agent.clone();
                async move { agent.pids("x").await.map(drop) }
            });
            for (kind, id, payload) in &frames {
                let _hung_up = guest.write_all(&frame(*kind, *id, payload)).await;
            }
            let _hung_up = guest.write_all(&noise).await;
            drop(guest);
            let _whatever = channel.read_to_end(&mut Vec::new()).await;
            let _whatever = call.await.unwrap();
            agent.closed().await;
        });
    }
}
