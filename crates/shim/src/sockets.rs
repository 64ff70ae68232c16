//! Published unix sockets, as long as the container runs.

use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener as StdListener;
use std::sync::Arc;
use std::time::Duration;

use coracle_sandbox::Sandbox;
use coracle_task::PublishedSocket;
use tokio::io::AsyncWriteExt as _;
use tokio::net::UnixListener;
use tokio::net::UnixStream;
use tokio::sync::Semaphore;
use tokio::sync::watch;
use tokio::task::JoinSet;

/// How many connections are carried at a time; more wait.
const MAX_CONNECTIONS: usize = 256;

/// How long what a container said last may take to get where it is going.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// How long to wait after a connection could not be taken.
const BACK_OFF: Duration = Duration::from_millis(100);

/// What serves the sockets. Dropping it ends all connections.
pub(crate) struct Sockets {
    published: Vec<PublishedSocket>,
    /// Counts connections on which the container may still say something.
    heard: watch::Sender<usize>,
    listening: JoinSet<()>,
    over: watch::Sender<bool>,
}

/// One connection that is counted.
struct Heard(watch::Sender<usize>);

impl Heard {
    fn new(count: &watch::Sender<usize>) -> Self {
        count.send_modify(|count| *count += 1);
        Self(count.clone())
    }
}

impl Drop for Heard {
    fn drop(&mut self) {
        self.0.send_modify(|count| *count = count.saturating_sub(1));
    }
}

/// Serves the sockets, whose descriptors are taken out of `listeners`.
pub(crate) fn serve(
    published: &[PublishedSocket],
    listeners: &mut [Option<OwnedFd>],
    sandbox: &Arc<dyn Sandbox>,
) -> Sockets {
    let mut sockets = Sockets {
        published: published.to_vec(),
        heard: watch::Sender::new(0),
        listening: JoinSet::new(),
        over: watch::Sender::new(false),
    };
    let room = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    for socket in published {
        // Checked at the start of the shim.
        let listener = listeners.get_mut(socket.fd_index).and_then(Option::take);
        let listener = listener.map(StdListener::from).and_then(|listener| {
            let opened = listener.set_nonblocking(true);
            opened.and_then(|()| UnixListener::from_std(listener)).ok()
        });
        let Some(listener) = listener else {
            crate::complain(&format!("{} is no socket", socket.host.display()));
            continue;
        };
        let (heard, over) = (sockets.heard.clone(), sockets.over.subscribe());
        let (room, sandbox) = (room.clone(), sandbox.clone());
        let path: Arc<str> = socket.container.as_str().into();
        sockets.listening.spawn(async move {
            loop {
                let Ok(place) = room.clone().acquire_owned().await else {
                    return;
                };
                let stream = match listener.accept().await {
                    Ok((stream, _)) => stream,
                    Err(error) => {
                        crate::complain(&error);
                        tokio::time::sleep(BACK_OFF).await;
                        continue;
                    }
                };
                let (heard, mut over) = (Heard::new(&heard), over.clone());
                let (sandbox, path) = (sandbox.clone(), path.clone());
                tokio::spawn(async move {
                    tokio::select! {
                        () = carry(stream, &*sandbox, &path, heard) => {}
                        _ = over.wait_for(|over| *over) => {}
                    }
                    drop(place);
                });
            }
        });
    }
    sockets
}

impl Sockets {
    /// When the container has ended: takes no more connections, removes the sockets, and waits, not for
    /// ever, until all is passed on that it said.
    pub(crate) async fn end(mut self) {
        self.listening.shutdown().await;
        remove(&self.published);
        let mut count = self.heard.subscribe();
        let silent = count.wait_for(|count| *count == 0);
        let _not_for_ever = tokio::time::timeout(LAST_WORDS, silent).await;
    }
}

impl Drop for Sockets {
    fn drop(&mut self) {
        self.over.send_replace(true);
    }
}

/// Removes what can be found of them.
pub(crate) fn remove(published: &[PublishedSocket]) {
    for socket in published {
        if let Err(error) = socket.remove() {
            crate::complain(&format!("cannot remove {}: {error}", socket.host.display()));
        }
    }
}

/// Carries a connection until both sides have ended it, or one is gone.
async fn carry(stream: UnixStream, sandbox: &dyn Sandbox, path: &str, heard: Heard) {
    // Who connected sees the connection end.
    let Ok((mut from_container, mut to_container)) = sandbox.dial(path).await else {
        return;
    };
    let (mut from_host, mut to_host) = stream.into_split();
    let said = async {
        let copied = tokio::io::copy(&mut from_container, &mut to_host).await;
        let _gone_already = to_host.shutdown().await;
        drop(heard);
        copied
    };
    let told = async {
        let copied = tokio::io::copy(&mut from_host, &mut to_container).await;
        to_container.shutdown().await.and(copied)
    };
    let _either_is_gone = tokio::try_join!(said, told);
}
