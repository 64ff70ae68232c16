//! What the guest tells of its own accord.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use coracle_guest::Agent;
use coracle_guest::Event;
use tokio::net::UnixStream;
use tokio::task::JoinSet;

use super::Marks;
use super::setup::Socket;

/// How many connections of a guest to sockets of this host are carried at a time.
const MAX_CONNECTIONS: usize = 256;

/// Takes events until the connection is lost.
pub(crate) async fn carry(agent: Agent, marks: Arc<Marks>, sockets: Vec<Socket>) {
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
                    connections.spawn(async move {
                        // Whoever connected sees the connection end.
                        let Ok(mut channel) = agent.accept(relay, connection).await else {
                            return;
                        };
                        if let Ok(mut stream) = UnixStream::connect(path).await {
                            let _ = tokio::io::copy_bidirectional(&mut stream, &mut channel).await;
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
