//! Sockets: those in the guest whose connections go to the host, and those that the host connects to.

use std::collections::HashMap;
use std::fs::{self, Permissions};
use std::os::unix::fs::{FileTypeExt, PermissionsExt, chown};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use coracle_guest::{Channel, Event, Events, Listen, Target};
use coracle_sandbox::Sandbox as _;
use rustix::net::SocketFlags;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpStream, UnixListener, UnixStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::AbortHandle;

use crate::containers::Containers;
use crate::error::{During, Result, invalid, not_found, sandbox};
use crate::machine::{absolute, make_parents};

/// How many connections of a socket may wait for the host.
const BACKLOG: usize = 64;

/// How many sockets there may be.
const MAX_LISTENERS: usize = 256;

/// The sockets in the guest.
#[derive(Default)]
pub(crate) struct Listeners {
    all: Mutex<HashMap<u32, Listener>>,
    saying: Saying,
}

/// Counts connections whose guest's side may still say something.
#[derive(Clone, Default)]
pub(crate) struct Saying(watch::Sender<usize>);

/// One of them, until it is dropped.
struct OneSaying(watch::Sender<usize>);

impl Saying {
    fn one(&self) -> OneSaying {
        self.0.send_modify(|count| *count += 1);
        OneSaying(self.0.clone())
    }
}

impl Drop for OneSaying {
    fn drop(&mut self) {
        self.0.send_modify(|count| *count = count.saturating_sub(1));
    }
}

struct Listener {
    path: PathBuf,
    socket: Arc<UnixListener>,
    waiting: Arc<Waiting>,
    task: AbortHandle,
}

/// Connections that the host was told of.
struct Waiting {
    connections: Mutex<HashMap<u32, (UnixStream, OneSaying)>>,
    last: AtomicU32,
    room: Semaphore,
}

impl Waiting {
    /// Keeps a connection until the host takes it; its number.
    fn keep(&self, stream: UnixStream, saying: OneSaying) -> u32 {
        let number = self.last.fetch_add(1, Ordering::Relaxed).wrapping_add(1);
        lock(&self.connections).insert(number, (stream, saying));
        number
    }
}

impl Listeners {
    pub(crate) fn listen(&self, listen: &Listen, events: &Events) -> Result<()> {
        let path = absolute(&listen.path)?.to_owned();
        let mut all = lock(&self.all);
        if all.len() >= MAX_LISTENERS || all.contains_key(&listen.relay) {
            return Err(invalid(format!("socket {} can't be added", listen.relay)));
        }
        make_parents(&path)?;
        // What another run left. Anything else is in the way.
        if fs::symlink_metadata(&path).is_ok_and(|found| found.file_type().is_socket()) {
            fs::remove_file(&path).during(|| format!("replace {}", path.display()))?;
        }
        let what = || format!("make the socket {}", path.display());
        let socket = Arc::new(UnixListener::bind(&path).during(what)?);
        chown(&path, Some(listen.uid), Some(listen.gid)).during(what)?;
        let mode = Permissions::from_mode(listen.mode & 0o777);
        fs::set_permissions(&path, mode).during(what)?;
        let waiting = Arc::new(Waiting {
            connections: Mutex::default(),
            last: AtomicU32::new(0),
            room: Semaphore::new(BACKLOG),
        });
        let (relay, events) = (listen.relay, events.clone());
        let saying = self.saying.clone();
        let announce = announce(socket.clone(), relay, waiting.clone(), saying, events);
        let task = tokio::spawn(announce);
        let listener = Listener {
            path,
            socket,
            waiting,
            task: task.abort_handle(),
        };
        all.insert(listen.relay, listener);
        Ok(())
    }

    pub(crate) fn unlisten(&self, relay: u32) -> Result<()> {
        let removed = lock(&self.all).remove(&relay);
        let listener = removed.ok_or_else(|| not_found(format!("there is no socket {relay}")))?;
        listener.task.abort();
        let _gone_already = fs::remove_file(&listener.path);
        Ok(())
    }

    /// No sockets any more.
    pub(crate) fn clear(&self) {
        let all: Vec<u32> = lock(&self.all).keys().copied().collect();
        for relay in all {
            let _ended_meanwhile = self.unlisten(relay);
        }
    }

    pub(crate) fn accept(&self, relay: u32, connection: u32, channel: Channel) -> Result<()> {
        let all = lock(&self.all);
        let waiting = all.get(&relay).map(|listener| &listener.waiting);
        let taken = waiting.and_then(|waiting| {
            let taken = lock(&waiting.connections).remove(&connection);
            waiting.room.add_permits(usize::from(taken.is_some()));
            taken
        });
        let (stream, saying) = taken.ok_or_else(|| {
            not_found(format!(
                "there is no connection {connection} to socket {relay}"
            ))
        })?;
        carry(stream, channel, saying);
        Ok(())
    }

    /// Waits until the host has all that was said on connections: for when nobody is left in the guest
    /// to say more. Those that nobody has taken yet are taken now.
    pub(crate) async fn settle(&self, events: &Events) {
        let mut told = Vec::new();
        for (relay, listener) in lock(&self.all).iter() {
            let waiting = &listener.waiting;
            while let Ok(room) = waiting.room.try_acquire() {
                let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
                let Ok(stream) = rustix::net::accept_with(&*listener.socket, flags) else {
                    break;
                };
                let Ok(stream) = UnixStream::from_std(stream.into()) else {
                    break;
                };
                room.forget();
                let connection = waiting.keep(stream, self.saying.one());
                told.push(Event::Connected {
                    relay: *relay,
                    connection,
                });
            }
        }
        for event in told {
            events.send(&event).await;
        }
        // An error would say that nobody counts any more.
        let _ = self
            .saying
            .0
            .subscribe()
            .wait_for(|count| *count == 0)
            .await;
    }

    /// What counts its connections.
    pub(crate) fn saying(&self) -> Saying {
        self.saying.clone()
    }
}

/// Takes connections and tells of them, a bounded number at a time.
async fn announce(
    listener: Arc<UnixListener>,
    relay: u32,
    waiting: Arc<Waiting>,
    saying: Saying,
    events: Events,
) {
    loop {
        let Ok(room) = waiting.room.acquire().await else {
            return;
        };
        room.forget();
        match listener.accept().await {
            Ok((stream, _)) => {
                let connection = waiting.keep(stream, saying.one());
                events.send(&Event::Connected { relay, connection }).await;
            }
            Err(error) => {
                // For want of descriptors, which may pass.
                waiting.room.add_permits(1);
                crate::complain(&format!("socket {relay}: {error}"));
                tokio::time::sleep(std::time::Duration::from_millis(100)).await;
            }
        }
    }
}

/// Connects to a port or socket.
pub(crate) async fn dial(
    containers: &Containers,
    saying: Saying,
    target: &Target,
    channel: Channel,
) -> Result<()> {
    let saying = saying.one();
    match target {
        Target::Tcp(address) => {
            let stream = TcpStream::connect(address).await;
            let stream = stream.during(|| format!("connect to {address}"))?;
            carry(stream, channel, saying);
        }
        Target::Unix { container, path } => {
            if let Some(id) = container {
                let container = containers.get(id)?;
                let (output, input) = container.sandbox.dial(path).await.map_err(sandbox)?;
                carry(tokio::io::join(output, input), channel, saying);
                return Ok(());
            }
            let stream = UnixStream::connect(absolute(path)?).await;
            let stream = stream.during(|| format!("connect to {path}"))?;
            carry(stream, channel, saying);
        }
    }
    Ok(())
}

fn carry(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    channel: Channel,
    saying: OneSaying,
) {
    tokio::spawn(async move {
        let (mut from_guest, mut to_guest) = tokio::io::split(stream);
        let (mut from_host, mut to_host) = channel.into_split();
        let said = async {
            let copied = tokio::io::copy(&mut from_guest, &mut to_host).await;
            // What is handed over comes before the answer to whoever waits for this.
            let _the_host_is_gone = to_host.flush().await;
            let _never_fails = to_host.shutdown().await;
            drop(saying);
            copied
        };
        let heard = async {
            let copied = tokio::io::copy(&mut from_host, &mut to_guest).await;
            to_guest.shutdown().await.and(copied)
        };
        let _either_ended = tokio::try_join!(said, heard);
    });
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
