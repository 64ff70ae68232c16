//! The engine's end of the protocol.

use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::Duration;

use oci_spec::runtime::LinuxResources;

use crate::AttachOptions;
use crate::Attached;
use crate::Events;
use crate::ExecConfig;
use crate::Exit;
use crate::Hello;
use crate::MachineInterface;
use crate::ProcessInfo;
use crate::Reply;
use crate::Request;
use crate::SharedStream;
use crate::Started;
use crate::State;
use crate::Stats;
use crate::TaskError;
use crate::VERSION;
use crate::files::Change;
use crate::files::ExtractOptions;
use crate::files::PathStat;
use crate::files::Tar;
use crate::files::TarWriter;
use crate::frame::FrameReader;
use crate::frame::send;

/// How long a shim may take to say hello. It does nothing that would keep it from it for more than
/// moments, even on a busy host, unless it is stopped.
const HELLO: Duration = Duration::from_secs(5);

/// The same of one that was just started: many at once, on a busy host, take their time to be loaded. One that
/// dies is told at once all the same, as its socket goes with it.
const FIRST_HELLO: Duration = Duration::from_secs(60);

/// A client of one shim. Clones are cheap and share an idle connection; as long as one exists
/// the shim of an ended container stays, so drop it (or call [`Self::shutdown`]) then.
///
/// A `target` is the id of an exec, or `None` for the container's init process. Every call can
/// be dropped at any time: its connection is closed, and what was asked may or may not be done.
/// Calls run side by side, each on a connection of its own if need be.
///
/// Every call answers [`TaskError::Gone`] when the shim has ended: the exit record is there
/// then, or the shim was killed, and the container with it. A call that needs a new connection
/// answers [`TaskError::NoAnswer`] if the shim doesn't say hello within 5 seconds. Nothing else has
/// a limit: what a shim was asked may take its time.
#[derive(Clone, Debug)]
pub struct Client {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    path: PathBuf,
    idle: Mutex<Option<FrameReader<SharedStream>>>,
}

impl Client {
    /// Connects to the shim that listens at `path`, and checks that it speaks our version. Takes no
    /// longer than 5 seconds: then it is [`TaskError::NoAnswer`], and the container may well run.
    pub async fn connect(path: impl AsRef<Path>) -> Result<Self, TaskError> {
        Self::connect_within(path.as_ref(), HELLO).await
    }

    /// The same to a shim that was just started ([`spawn_shim`](crate::spawn_shim)): it may take up to a
    /// minute to say hello, and is [`TaskError::Gone`] as soon as it has died.
    pub async fn connect_to_new(path: impl AsRef<Path>) -> Result<Self, TaskError> {
        Self::connect_within(path.as_ref(), FIRST_HELLO).await
    }

    async fn connect_within(path: &Path, limit: Duration) -> Result<Self, TaskError> {
        let conn = dial_within(path, limit).await?;
        Ok(Self {
            inner: Arc::new(Inner {
                path: path.to_owned(),
                idle: Mutex::new(Some(conn)),
            }),
        })
    }

    /// Creates the sandbox and starts the init process.
    ///
    /// On failure the container is stopped, its exit record is written with the error, and the
    /// answer is [`TaskError::Shim`], whose kind gives the exit code
    /// ([`ErrorKind::exit_code`](crate::ErrorKind::exit_code)).
    pub async fn start(&self) -> Result<Started, TaskError> {
        match self.call(&Request::Start).await? {
            Reply::Started(started) => Ok(started),
            reply => Err(unexpected(&reply)),
        }
    }

    /// Makes an exec known, so that clients can attach to it before it is started. The container
    /// must run.
    pub async fn exec(&self, config: ExecConfig) -> Result<(), TaskError> {
        self.done(&Request::Exec(Box::new(config))).await
    }

    /// Starts a known exec. If nobody is attached to it by now, its output is discarded. On
    /// failure the exec is stopped, and the error's kind gives its exit code.
    pub async fn start_exec(&self, exec_id: &str) -> Result<Started, TaskError> {
        match self
            .call(&Request::StartExec {
                exec_id: exec_id.to_owned(),
            })
            .await?
        {
            Reply::Started(started) => Ok(started),
            reply => Err(unexpected(&reply)),
        }
    }

    /// Forgets an exec that ended or was never started.
    pub async fn delete_exec(&self, exec_id: &str) -> Result<(), TaskError> {
        self.done(&Request::DeleteExec {
            exec_id: exec_id.to_owned(),
        })
        .await
    }

    /// Sends `signal` (1–64) to the target, or with `all` to all processes of the container.
    /// [`ErrorKind::NotFound`](crate::ErrorKind::NotFound) if it has ended.
    pub async fn kill(
        &self,
        target: Option<&str>,
        signal: i32,
        all: bool,
    ) -> Result<(), TaskError> {
        let target = target.map(str::to_owned);
        self.done(&Request::Kill {
            target,
            signal,
            all,
        })
        .await
    }

    /// Waits until the target ended and all its output is in the log and was sent to those
    /// attached; of the init process, until the exit record is written and the sandbox is
    /// removed. Answers at once if that is so already.
    pub async fn wait(&self, target: Option<&str>) -> Result<Exit, TaskError> {
        match self
            .call(&Request::Wait {
                target: target.map(str::to_owned),
            })
            .await?
        {
            Reply::Exit(exit) => Ok(exit),
            reply => Err(unexpected(&reply)),
        }
    }

    /// The state as of now; while the container is being started, as of when that is decided.
    pub async fn state(&self) -> Result<State, TaskError> {
        match self.call(&Request::State).await? {
            Reply::State(state) => Ok(state),
            reply => Err(unexpected(&reply)),
        }
    }

    /// Freezes all processes; returns when they are.
    pub async fn pause(&self) -> Result<(), TaskError> {
        self.done(&Request::Pause).await
    }

    /// Thaws them.
    pub async fn resume(&self) -> Result<(), TaskError> {
        self.done(&Request::Resume).await
    }

    /// Sets the size of the target's terminal.
    pub async fn resize(
        &self,
        target: Option<&str>,
        rows: u16,
        cols: u16,
    ) -> Result<(), TaskError> {
        let target = target.map(str::to_owned);
        self.done(&Request::Resize { target, rows, cols }).await
    }

    /// Closes the target's stdin after what was written so far. No error if it is closed or
    /// `/dev/null`; without effect on a terminal.
    pub async fn close_stdin(&self, target: Option<&str>) -> Result<(), TaskError> {
        self.done(&Request::CloseStdin {
            target: target.map(str::to_owned),
        })
        .await
    }

    /// Changes the limits that are set in `resources`, of the running container.
    pub async fn update(&self, resources: LinuxResources) -> Result<(), TaskError> {
        self.done(&Request::Update(Box::new(resources))).await
    }

    /// Reads the resource use of the running container.
    pub async fn stats(&self) -> Result<Stats, TaskError> {
        match self.call(&Request::Stats).await? {
            Reply::Stats(stats) => Ok(*stats),
            reply => Err(unexpected(&reply)),
        }
    }

    /// The host's process ids of all processes of the running container, execs included,
    /// ordered.
    pub async fn pids(&self) -> Result<Vec<i32>, TaskError> {
        match self.call(&Request::Pids).await? {
            Reply::Pids(pids) => Ok(pids),
            reply => Err(unexpected(&reply)),
        }
    }

    /// Makes the interfaces of a machine that runs these: others are taken out, new ones are plugged
    /// in. Files that were copied into the guest are copied again.
    pub async fn set_interfaces(&self, interfaces: Vec<MachineInterface>) -> Result<(), TaskError> {
        self.done(&Request::SetInterfaces(interfaces)).await
    }

    /// The processes of the running container, where they are not this host's;
    /// [`ErrorKind::Unsupported`](crate::ErrorKind::Unsupported) where they are.
    pub async fn processes(&self) -> Result<Vec<ProcessInfo>, TaskError> {
        match self.call(&Request::Processes).await? {
            Reply::Processes(processes) => Ok(processes),
            reply => Err(unexpected(&reply)),
        }
    }

    /// Attaches to the streams of the target. Before its start this gives all of its output;
    /// while it runs, what it writes from now on; afterwards nothing.
    ///
    /// A client that doesn't read what it attached to makes the process wait, once the
    /// socket's buffer is full.
    pub async fn attach(
        &self,
        target: Option<&str>,
        options: AttachOptions,
    ) -> Result<Attached, TaskError> {
        let mut conn = self.take().await?;
        let target = target.map(str::to_owned);
        match roundtrip(&mut conn, &Request::Attach { target, options }).await? {
            Reply::Done => Ok(Attached::new(conn)),
            reply => Err(unexpected(&reply)),
        }
    }

    /// Subscribes to what happens from now on; while the container is being started, from when that
    /// is decided.
    pub async fn events(&self) -> Result<Events, TaskError> {
        let mut conn = self.take().await?;
        match roundtrip(&mut conn, &Request::Events).await? {
            Reply::State(state) => Ok(Events::new(conn, state)),
            reply => Err(unexpected(&reply)),
        }
    }

    /// Makes what is needed to reach the container's files, without a process. It can't be started
    /// then. [`Self::shutdown`] is answered when all of it is unmade.
    pub async fn open(&self) -> Result<(), TaskError> {
        self.done(&Request::Open).await
    }

    /// What a path in the container is. This and the further calls about files are answered by
    /// sandboxes only whose files this host can't reach itself, while it runs or is open.
    pub async fn stat_path(&self, path: &str) -> Result<PathStat, TaskError> {
        let path = path.to_owned();
        match self.call(&Request::StatPath { path }).await? {
            Reply::PathStat(stat) => Ok(stat),
            reply => Err(unexpected(&reply)),
        }
    }

    /// A path as a tar.
    pub async fn read_path(&self, path: &str) -> Result<(PathStat, Tar), TaskError> {
        let mut conn = self.take().await?;
        let path = path.to_owned();
        match roundtrip(&mut conn, &Request::ReadPath { path }).await? {
            Reply::PathStat(stat) => Ok((stat, Tar::new(conn))),
            reply => Err(unexpected(&reply)),
        }
    }

    /// Begins to extract a tar into a directory.
    pub async fn write_path(
        &self,
        path: &str,
        options: ExtractOptions,
    ) -> Result<TarWriter, TaskError> {
        let mut conn = self.take().await?;
        let path = path.to_owned();
        match roundtrip(&mut conn, &Request::WritePath { path, options }).await? {
            Reply::Done => Ok(TarWriter::new(conn)),
            reply => Err(unexpected(&reply)),
        }
    }

    /// The whole root file system as a tar, without what is mounted in it.
    pub async fn export(&self) -> Result<Tar, TaskError> {
        self.tar(&Request::Export).await
    }

    /// What differs from the image, as a layer's tar.
    pub async fn diff(&self) -> Result<Tar, TaskError> {
        self.tar(&Request::Diff).await
    }

    /// What differs from the image.
    pub async fn changes(&self) -> Result<Vec<Change>, TaskError> {
        match self.call(&Request::Changes).await? {
            Reply::Changes(changes) => Ok(changes),
            reply => Err(unexpected(&reply)),
        }
    }

    async fn tar(&self, request: &Request) -> Result<Tar, TaskError> {
        let mut conn = self.take().await?;
        match roundtrip(&mut conn, request).await? {
            Reply::Done => Ok(Tar::new(conn)),
            reply => Err(unexpected(&reply)),
        }
    }

    /// Ends the shim. Refused ([`ErrorKind::InvalidState`](crate::ErrorKind::InvalidState))
    /// while the container runs; no error if the shim is gone.
    pub async fn shutdown(&self) -> Result<(), TaskError> {
        match self.done(&Request::Shutdown).await {
            Err(TaskError::Gone) => Ok(()),
            result => result,
        }
    }

    async fn done(&self, request: &Request) -> Result<(), TaskError> {
        match self.call(request).await? {
            Reply::Done => Ok(()),
            reply => Err(unexpected(&reply)),
        }
    }

    async fn call(&self, request: &Request) -> Result<Reply, TaskError> {
        let mut conn = self.take().await?;
        let result = roundtrip(&mut conn, request).await;
        if matches!(result, Ok(_) | Err(TaskError::Shim { .. })) {
            *self
                .inner
                .idle
                .lock()
                .unwrap_or_else(PoisonError::into_inner) = Some(conn);
        }
        result
    }

    async fn take(&self) -> Result<FrameReader<SharedStream>, TaskError> {
        let idle = self
            .inner
            .idle
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        match idle {
            Some(conn) => Ok(conn),
            None => dial(&self.inner.path).await,
        }
    }
}

async fn dial(path: &Path) -> Result<FrameReader<SharedStream>, TaskError> {
    dial_within(path, HELLO).await
}

async fn dial_within(path: &Path, limit: Duration) -> Result<FrameReader<SharedStream>, TaskError> {
    tokio::time::timeout(limit, greet(path))
        .await
        .unwrap_or(Err(TaskError::NoAnswer))
}

async fn greet(path: &Path) -> Result<FrameReader<SharedStream>, TaskError> {
    let stream = crate::socket::connect(path).await?;
    let mut conn = FrameReader::new(stream);
    send(conn.get_mut(), &Hello { version: VERSION }).await?;
    let hello: Hello = conn.message().await?.ok_or(TaskError::Gone)?;
    if hello.version != VERSION {
        return Err(TaskError::Version {
            theirs: hello.version,
            ours: VERSION,
        });
    }
    Ok(conn)
}

async fn roundtrip(
    conn: &mut FrameReader<SharedStream>,
    request: &Request,
) -> Result<Reply, TaskError> {
    send(conn.get_mut(), request).await?;
    match conn.message().await?.ok_or(TaskError::Gone)? {
        Reply::Error { kind, message } => Err(TaskError::Shim { kind, message }),
        reply => Ok(reply),
    }
}

pub(crate) fn unexpected(reply: &Reply) -> TaskError {
    TaskError::Protocol(format!("unexpected reply {reply:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_shim_that_hangs_holds_nobody_up() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("shim.sock");
        let listener = crate::listen(&path).unwrap();
        let limit = Duration::from_millis(50);
        let result = dial_within(&path, limit).await;
        assert!(matches!(result, Err(TaskError::NoAnswer)), "{result:?}");
        drop(listener);
        let result = dial_within(&path, limit).await;
        assert!(matches!(result, Err(TaskError::Gone)), "{result:?}");
    }
}
