//! Answers clients: one task for each connection.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use coracle_task::ErrorKind;
use coracle_task::Hello;
use coracle_task::Reply;
use coracle_task::Request;
use coracle_task::SharedStream;
use coracle_task::TaskError;
use coracle_task::VERSION;
use coracle_task::frame::FrameReader;
use coracle_task::frame::send;
use tokio::net::UnixStream;

use crate::attach;
use crate::container::Container;
use crate::container::refused;
use crate::files;
use crate::files::Transfer;
use crate::lifetime::Lifetime;

/// How long a new client may take to say hello.
const HELLO: Duration = Duration::from_secs(10);

/// A connection, and a frame that was read off it before its time.
struct Connection {
    frames: FrameReader<SharedStream>,
    early: Option<Bytes>,
    container: Arc<Container>,
    lifetime: Arc<Lifetime>,
}

/// Serves a connection until it ends.
pub(crate) async fn serve(stream: UnixStream, container: Arc<Container>, lifetime: Arc<Lifetime>) {
    let _client = lifetime.client();
    if !is_ours(&stream) {
        return;
    }
    let frames = FrameReader::new(SharedStream::new(stream));
    let mut connection = Connection {
        frames,
        early: None,
        container,
        lifetime,
    };
    if let Ok(Ok(true)) = tokio::time::timeout(HELLO, connection.greet()).await {
        // An error is the connection's end; the client knows more of it than we.
        let _ = connection.run().await;
    }
}

/// Whether the client is of our own user, or root. The socket's directory says the same.
fn is_ours(stream: &UnixStream) -> bool {
    let own = rustix::process::geteuid().as_raw();
    stream
        .peer_cred()
        .is_ok_and(|peer| peer.uid() == own || peer.uid() == 0)
}

impl Connection {
    async fn transfer(self, transfer: Transfer) -> Result<(), TaskError> {
        files::serve(&self.container, transfer, self.frames).await
    }

    async fn greet(&mut self) -> Result<bool, TaskError> {
        let Some(hello) = self.frames.message::<Hello>().await? else {
            return Ok(false);
        };
        send(self.frames.get_mut(), &Hello { version: VERSION }).await?;
        Ok(hello.version == VERSION)
    }

    async fn run(mut self) -> Result<(), TaskError> {
        loop {
            let frame = match self.early.take() {
                Some(frame) => frame,
                None => match self.frames.frame().await {
                    Ok(Some(frame)) => frame,
                    Ok(None) => return Ok(()),
                    Err(error) => return self.hang_up(&error.to_string()).await,
                },
            };
            let request = match serde_json::from_slice(&frame) {
                Ok(request) => request,
                Err(error) => {
                    return self.hang_up(&format!("malformed request: {error}")).await;
                }
            };
            drop(frame);
            let result = match request {
                Request::Attach { target, options } => {
                    match self.container.target(target.as_deref()) {
                        Ok(proc) => {
                            let _attached = self.lifetime.attached();
                            return attach::serve(proc, options, self.frames).await;
                        }
                        Err(error) => Err(error),
                    }
                }
                Request::Events => return self.events().await,
                Request::ReadPath { path } => return self.transfer(Transfer::Read { path }).await,
                Request::WritePath { path, options } => {
                    return self.transfer(Transfer::Write { path, options }).await;
                }
                Request::Export => return self.transfer(Transfer::Export).await,
                Request::Diff => return self.transfer(Transfer::Diff).await,
                Request::Wait { target } => match self.container.target(target.as_deref()) {
                    Ok(proc) => {
                        let wait = async move { proc.wait().await };
                        match self.unless_gone(wait).await {
                            Some(exit) => Ok(Reply::Exit(exit)),
                            None => return Ok(()),
                        }
                    }
                    Err(error) => Err(error),
                },
                Request::Shutdown => match self.lifetime.may_shut_down(&self.container) {
                    Ok(()) => {
                        self.container.close().await;
                        let answered = send(self.frames.get_mut(), &Reply::Done).await;
                        self.lifetime.shut_down();
                        return answered;
                    }
                    Err(error) => Err(error),
                },
                request => self.container.handle(request).await,
            };
            let reply = match result {
                Ok(reply) => reply,
                Err(TaskError::Shim { kind, message }) => Reply::Error { kind, message },
                Err(error) => Reply::Error {
                    kind: ErrorKind::Internal,
                    message: error.to_string(),
                },
            };
            send(self.frames.get_mut(), &reply).await?;
        }
    }

    /// Answers a client that broke the protocol, and lets it go.
    async fn hang_up(&mut self, message: &str) -> Result<(), TaskError> {
        let message = message.to_owned();
        let reply = Reply::Error {
            kind: ErrorKind::InvalidArgument,
            message,
        };
        send(self.frames.get_mut(), &reply).await
    }

    async fn events(mut self) -> Result<(), TaskError> {
        let container = self.container.clone();
        if self.unless_gone(container.init.decided()).await.is_none() {
            return Ok(());
        }
        let (state, mut events) = self.container.subscribe();
        send(self.frames.get_mut(), &Reply::State(state)).await?;
        loop {
            match self.unless_gone(events.recv()).await {
                Some(Some(event)) => send(self.frames.get_mut(), &Reply::Event(event)).await?,
                _ => return Ok(()),
            }
        }
    }

    /// Awaits `work`, but gives it up when the client goes away. What the client sends meanwhile
    /// waits.
    async fn unless_gone<T>(&mut self, work: impl Future<Output = T>) -> Option<T> {
        tokio::pin!(work);
        tokio::select! {
            done = &mut work => return Some(done),
            frame = self.frames.frame(), if self.early.is_none() => match frame {
                Ok(Some(frame)) => self.early = Some(frame),
                Ok(None) | Err(_) => return None,
            },
        }
        Some(work.await)
    }
}

impl Container {
    /// Carries out a request that has one answer.
    async fn handle(self: &Arc<Self>, request: Request) -> Result<Reply, TaskError> {
        match request {
            Request::Start => return self.start().await.map(Reply::Started),
            Request::Exec(config) => {
                self.check_thawed()?;
                self.execs.add(*config)?;
            }
            Request::StartExec { exec_id } => {
                return self.start_exec(&exec_id).await.map(Reply::Started);
            }
            Request::DeleteExec { exec_id } => self.execs.remove(&exec_id)?,
            Request::Kill {
                target,
                signal,
                all,
            } => {
                self.kill(target.as_deref(), signal, all).await?;
            }
            Request::State => {
                self.init.decided().await;
                return Ok(Reply::State(self.state()));
            }
            Request::Pause => self.pause().await?,
            Request::Resume => self.resume().await?,
            Request::Resize { target, rows, cols } => {
                let process = self.target(target.as_deref())?.running()?;
                process.resize(rows, cols).await.map_err(refused)?;
            }
            Request::CloseStdin { target } => {
                self.target(target.as_deref())?.close_stdin().await;
            }
            Request::Update(resources) => {
                self.check_running()?;
                let updated = self.sandbox.update(&resources).await;
                updated.map_err(|error| self.refused(error))?;
            }
            Request::Stats => {
                self.check_running()?;
                let stats = self.sandbox.stats().await;
                let stats = stats.map_err(|error| self.refused(error))?;
                return Ok(Reply::Stats(Box::new(stats)));
            }
            Request::Pids => {
                self.check_running()?;
                let pids = self.sandbox.pids().await;
                return Ok(Reply::Pids(pids.map_err(|error| self.refused(error))?));
            }
            Request::SetInterfaces(interfaces) => {
                self.check_running()?;
                let set = self.sandbox.set_interfaces(&interfaces).await;
                set.map_err(|error| self.refused(error))?;
            }
            Request::Processes => {
                self.check_running()?;
                let processes = self.sandbox.processes().await;
                return Ok(Reply::Processes(
                    processes.map_err(|error| self.refused(error))?,
                ));
            }
            Request::Open => self.open().await?,
            Request::StatPath { path } => {
                let stat = self.files()?.stat(&path).await.map_err(refused)?;
                return Ok(Reply::PathStat(stat));
            }
            Request::Changes => {
                let changes = self.files()?.changes().await.map_err(refused)?;
                return Ok(Reply::Changes(changes));
            }
            Request::Wait { .. }
            | Request::Attach { .. }
            | Request::Events
            | Request::ReadPath { .. }
            | Request::WritePath { .. }
            | Request::Export
            | Request::Diff
            | Request::Shutdown => {
                let message = "this request belongs to its connection";
                return Err(TaskError::shim(ErrorKind::Internal, message));
            }
        }
        Ok(Reply::Done)
    }
}
