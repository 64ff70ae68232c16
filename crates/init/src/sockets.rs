//! Sockets: those in the guest whose connections go to the host, and those that the host connects to.

use std::collections::HashMap;
use std::fs::{self, Permissions};
use std::os::fd::AsFd;
use std::os::unix::fs::{FileTypeExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use coracle_guest::{Channel, Event, Events, Listen, Target};
use rustix::fs::{CWD, Mode, OFlags, ResolveFlags};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio::task::AbortHandle;

use crate::containers::Containers;
use crate::error::{During, Result, invalid, not_found};
use crate::machine::{absolute, make_parents};
use crate::sys;

/// How many connections of a socket may wait for the host.
const BACKLOG: usize = 64;

/// How many sockets there may be.
const MAX_LISTENERS: usize = 256;

/// The sockets in the guest.
#[derive(Default)]
pub(crate) struct Listeners(Mutex<HashMap<u32, Listener>>);

struct Listener {
    path: PathBuf,
    waiting: Arc<Waiting>,
    task: AbortHandle,
}

/// Connections that the host was told of.
struct Waiting {
    connections: Mutex<HashMap<u32, UnixStream>>,
    room: Semaphore,
}

impl Listeners {
    pub(crate) fn listen(&self, listen: &Listen, events: &Events) -> Result<()> {
        let path = absolute(&listen.path)?.to_owned();
        let mut all = lock(&self.0);
        if all.len() >= MAX_LISTENERS || all.contains_key(&listen.relay) {
            return Err(invalid(format!("socket {} can't be added", listen.relay)));
        }
        make_parents(&path)?;
        // What another run left. Anything else is in the way.
        if fs::symlink_metadata(&path).is_ok_and(|found| found.file_type().is_socket()) {
            fs::remove_file(&path).during(|| format!("replace {}", path.display()))?;
        }
        let what = || format!("make the socket {}", path.display());
        let listener = UnixListener::bind(&path).during(what)?;
        chown(&path, Some(listen.uid), Some(listen.gid)).during(what)?;
        let mode = Permissions::from_mode(listen.mode & 0o777);
        fs::set_permissions(&path, mode).during(what)?;
        let waiting = Arc::new(Waiting {
            connections: Mutex::default(),
            room: Semaphore::new(BACKLOG),
        });
        let (relay, events) = (listen.relay, events.clone());
        let task = tokio::spawn(announce(listener, relay, waiting.clone(), events));
        let listener = Listener {
            path,
            waiting,
            task: task.abort_handle(),
        };
        all.insert(listen.relay, listener);
        Ok(())
    }

    pub(crate) fn unlisten(&self, relay: u32) -> Result<()> {
        let removed = lock(&self.0).remove(&relay);
        let listener = removed.ok_or_else(|| not_found(format!("there is no socket {relay}")))?;
        listener.task.abort();
        let _gone_already = fs::remove_file(&listener.path);
        Ok(())
    }

    pub(crate) fn accept(&self, relay: u32, connection: u32, channel: Channel) -> Result<()> {
        let all = lock(&self.0);
        let waiting = all.get(&relay).map(|listener| &listener.waiting);
        let taken = waiting.and_then(|waiting| {
            let taken = lock(&waiting.connections).remove(&connection);
            waiting.room.add_permits(usize::from(taken.is_some()));
            taken
        });
        let stream = taken.ok_or_else(|| {
            not_found(format!(
                "there is no connection {connection} to socket {relay}"
            ))
        })?;
        carry(stream, channel);
        Ok(())
    }
}

/// Takes connections and tells of them, a bounded number at a time.
async fn announce(listener: UnixListener, relay: u32, waiting: Arc<Waiting>, events: Events) {
    let mut connection = 0u32;
    loop {
        let Ok(room) = waiting.room.acquire().await else {
            return;
        };
        room.forget();
        match listener.accept().await {
            Ok((stream, _)) => {
                connection = connection.wrapping_add(1);
                lock(&waiting.connections).insert(connection, stream);
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
pub(crate) async fn dial(containers: &Containers, target: &Target, channel: Channel) -> Result<()> {
    match target {
        Target::Tcp(address) => {
            let stream = TcpStream::connect(address).await;
            carry(stream.during(|| format!("connect to {address}"))?, channel);
        }
        Target::Unix { container, path } => {
            let what = || format!("connect to {path}");
            let stream = match container {
                None => UnixStream::connect(absolute(path)?).await.during(what)?,
                Some(id) => {
                    let container = containers.get(id)?;
                    let pid = container.pid();
                    let pid = pid.ok_or_else(|| not_found(format!("container {id} has ended")))?;
                    let socket = in_root(pid, absolute(path)?).during(what)?;
                    UnixStream::connect(sys::path_of(&socket))
                        .await
                        .during(what)?
                }
            };
            carry(stream, channel);
        }
    }
    Ok(())
}

/// A path in the root of a process, which it can't lead out of.
fn in_root(pid: i32, path: &Path) -> rustix::io::Result<std::os::fd::OwnedFd> {
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    let root = rustix::fs::openat(CWD, format!("/proc/{pid}/root"), flags, Mode::empty())?;
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    rustix::fs::openat2(root.as_fd(), path, flags, Mode::empty(), resolve)
}

fn carry(mut stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, mut channel: Channel) {
    tokio::spawn(async move {
        let _either_ended = tokio::io::copy_bidirectional(&mut stream, &mut channel).await;
    });
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
