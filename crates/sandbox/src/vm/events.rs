//! What the guest tells of its own accord.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use coracle_guest::Agent;
use coracle_guest::Channel;
use coracle_guest::Event;
use tokio::io::AsyncWriteExt as _;
use tokio::net::UnixStream;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::Marks;
use super::mounts::Socket;

/// How many connections of a guest to sockets of this host are carried at a time.
const MAX_CONNECTIONS: usize = 256;

/// How long what a guest said last may take to get where it is going.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// Counts connections from which the guest is still heard.
#[derive(Clone, Default)]
pub(crate) struct Heard(watch::Sender<usize>);

struct OneHeard(watch::Sender<usize>);

impl Heard {
    fn one(&self) -> OneHeard {
        self.0.send_modify(|count| *count += 1);
        OneHeard(self.0.clone())
    }

    /// Waits, not for ever, until all is passed on that the guest said: for when its container has ended.
    pub(crate) async fn all(&self, agent: &Agent) {
        let all = async {
            if agent.settle().await.is_ok() {
                let mut count = self.0.subscribe();
                let _nobody_counts_any_more = count.wait_for(|count| *count == 0).await;
            }
        };
        let _not_for_ever = tokio::time::timeout(LAST_WORDS, all).await;
    }
}

impl Drop for OneHeard {
    fn drop(&mut self) {
        self.0.send_modify(|count| *count = count.saturating_sub(1));
    }
}

/// Takes events until the connection is lost.
pub(crate) async fn carry(agent: Agent, marks: Arc<Marks>, sockets: Vec<Socket>, heard: Heard) {
    let mut connections = JoinSet::new();
    loop {
        let event = tokio::select! {
            event = agent.event() => event,
            Some(_) = connections.join_next() => continue,
        };
        match event {
            Ok(Event::Oom { .. }) => {
                marks.oom_killed.store(true, Ordering::Relaxed);
                marks.oom.notify_one();
            }
            Ok(Event::Connected { relay, connection }) => {
                let socket = sockets.iter().find(|socket| socket.listen.relay == relay);
                if let Some(socket) = socket
                    && connections.len() < MAX_CONNECTIONS
                {
                    let (agent, path) = (agent.clone(), socket.path.clone());
                    let one = heard.one();
                    connections.spawn(async move {
                        // Whoever connected sees the connection end.
                        let Ok(channel) = agent.accept(relay, connection).await else {
                            return;
                        };
                        if let Ok(stream) = UnixStream::connect(path).await {
                            relay_both(stream, channel, one).await;
                        }
                    });
                }
            }
            // The shim has no log of its own that a guest may fill.
            Ok(Event::Warning(_) | Event::Exited { .. }) => {}
            Err(_) => return,
        }
    }
}

/// Carries a connection until both sides have ended it, or one is gone.
async fn relay_both(stream: UnixStream, channel: Channel, one: OneHeard) {
    let (mut from_host, mut to_host) = stream.into_split();
    let (mut from_guest, mut to_guest) = channel.into_split();
    let heard = async {
        let copied = tokio::io::copy(&mut from_guest, &mut to_host).await;
        let _gone_already = to_host.shutdown().await;
        drop(one);
        copied
    };
    let said = async {
        let copied = tokio::io::copy(&mut from_host, &mut to_guest).await;
        to_guest.shutdown().await.and(copied)
    };
    let _either_is_gone = tokio::try_join!(heard, said);
}
