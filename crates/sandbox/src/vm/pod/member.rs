//! The member's side: another's machine, as far as it is one's own.

use std::fs;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream as StdUnixStream;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use coracle_guest::Agent;
use coracle_task::MachineConfig;
use coracle_task::TaskConfig;
use coracle_vmm::Disk;
use coracle_vmm::End;
use coracle_vmm::Error;
use coracle_vmm::Exit;
use coracle_vmm::MacAddr;
use coracle_vmm::Machine;
use coracle_vmm::Nic;
use coracle_vmm::Template;
use oci_spec::runtime::LinuxResources;
use tokio::net::UnixStream;
use tokio::sync::watch;
use tokio::task::AbortHandle;

use super::wire;
use super::wire::Answer;
use super::wire::Applied;
use super::wire::Join;
use super::wire::Welcome;
use crate::Result;
use crate::SandboxError;
use crate::vm::from_vmm;
use crate::vm::from_young_guest;
use crate::vm::resize;
use crate::vm::resize::Guest;
use crate::vm::volumes;
use crate::vm::volumes::Mounted;

/// How long the machine's owner may take to let one in: disks are plugged in meanwhile.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long it may take to unplug them.
const LEAVING: Duration = Duration::from_secs(60);

/// What one gets who joined.
pub(crate) struct Joined {
    pub(crate) machine: Arc<dyn Machine>,
    pub(crate) agent: Agent,
    /// The container whose machine it is.
    pub(crate) owner: String,
    /// The serials of the disks.
    pub(crate) image: String,
    pub(crate) layer: String,
    /// Where the disks of servers are.
    pub(crate) volumes: Vec<Mounted>,
}

/// Joins the machine behind a socket, and has it found from this container's own place too.
pub(crate) async fn join(
    socket: &Path,
    task: &TaskConfig,
    config: &MachineConfig,
) -> Result<Joined> {
    let disk = |path, serial, read_only| Disk::open(path, serial, read_only).map_err(from_vmm);
    let image = disk(&config.image, "root", true)?;
    let layer = disk(&config.layer, "layer", false)?;
    let gone = |error: io::Error| {
        SandboxError::state(format!(
            "the virtual machine to be joined is not there any more: {error}"
        ))
    };
    let control = coracle_task::connect_stream(socket).await.map_err(gone)?;
    let join = Join {
        version: wire::VERSION,
        container: task.id.clone(),
        memory: limits(task).and_then(resize::limit),
        volumes: volumes::wanted(&task.spec),
        cpus: limits(task).and_then(resize::processors),
        grows: false,
    };
    let file = |disk| Disk::file(disk).map_err(from_vmm);
    let disks = [file(&image)?.as_fd(), file(&layer)?.as_fd()];
    wire::send(&control, &join, &disks).await.map_err(gone)?;
    let answer = tokio::time::timeout(PATIENCE, wire::receive::<Answer>(&control)).await;
    let answer = answer.map_err(|_| gone(io::ErrorKind::TimedOut.into()))?;
    let (answer, mut fds) = answer.map_err(gone)?;
    let welcome = match answer {
        Answer::Welcome(welcome) => welcome,
        Answer::Grown => return Err(gone(io::ErrorKind::InvalidData.into())),
        Answer::Refused { kind, message } => return Err(SandboxError::new(kind, message)),
    };
    // Kept also for one whose owner has ended since, and left the name to somebody else.
    match fs::hard_link(socket, &config.pod) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(gone(error)),
        _ => {}
    }
    let stream = fds.pop().map(StdUnixStream::from);
    let stream = stream.ok_or_else(|| gone(io::ErrorKind::UnexpectedEof.into()))?;
    stream.set_nonblocking(true).map_err(gone)?;
    let stream = UnixStream::from_std(stream).map_err(gone)?;
    let machine = Member::new(control, welcome.pid);
    let agent = tokio::time::timeout(PATIENCE, Agent::connect(stream)).await;
    let agent = agent.map_err(|_| gone(io::ErrorKind::TimedOut.into()))?;
    let Welcome {
        owner,
        image,
        layer,
        volumes,
        ..
    } = welcome;
    Ok(Joined {
        machine: Arc::new(machine),
        agent: agent.map_err(from_young_guest)?,
        owner,
        image,
        layer,
        volumes,
    })
}

fn limits(task: &TaskConfig) -> Option<&LinuxResources> {
    task.spec.linux().as_ref()?.resources().as_ref()
}

/// Room that was made for a member's limits. Dropping it says that they are the old ones.
pub(crate) struct Grown(UnixStream);

impl Grown {
    /// Tells whether the guest has the limits, and waits until the machine is of a size for that.
    pub(crate) async fn end(self, is_applied: bool) {
        // A machine that is gone has no size.
        if wire::send(&self.0, &Applied { is_applied }, &[])
            .await
            .is_ok()
        {
            let _ = tokio::time::timeout(PATIENCE, wire::closed(&self.0)).await;
        }
    }
}

/// Has the machine that a container is in given room for its limits. `socket` is the container's own name of
/// the owner's.
pub(crate) async fn grow(socket: &Path, guest: &Guest<'_>) -> Result<Grown> {
    let gone = |error: io::Error| {
        SandboxError::state(format!(
            "the virtual machine of the pod does not answer: {error}"
        ))
    };
    let stream = coracle_task::connect_stream(socket).await.map_err(gone)?;
    let request = Join {
        version: wire::VERSION,
        container: guest.container.into(),
        memory: guest.memory,
        volumes: Vec::new(),
        cpus: guest.cpus,
        grows: true,
    };
    wire::send(&stream, &request, &[]).await.map_err(gone)?;
    let answer = tokio::time::timeout(PATIENCE, wire::receive::<Answer>(&stream)).await;
    let answer = answer.map_err(|_| gone(io::ErrorKind::TimedOut.into()))?;
    match answer.map_err(gone)?.0 {
        Answer::Grown => Ok(Grown(stream)),
        Answer::Welcome(_) => Err(gone(io::ErrorKind::InvalidData.into())),
        Answer::Refused { kind, message } => Err(SandboxError::new(kind, message)),
    }
}

/// A machine that is another's. Dropping it leaves it.
struct Member {
    control: Arc<UnixStream>,
    pid: i32,
    left: watch::Receiver<bool>,
    watcher: AbortHandle,
}

impl Member {
    fn new(control: UnixStream, pid: i32) -> Self {
        let control = Arc::new(control);
        let (sender, left) = watch::channel(false);
        let watched = control.clone();
        let watcher = tokio::spawn(async move {
            wire::closed(&watched).await;
            sender.send_replace(true);
        });
        Self {
            control,
            pid,
            left,
            watcher: watcher.abort_handle(),
        }
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.watcher.abort();
    }
}

fn refused<T>() -> coracle_vmm::Result<T> {
    Err(Error::Unsupported(
        "the virtual machine is another container's".into(),
    ))
}

#[async_trait]
impl Machine for Member {
    fn pid(&self) -> i32 {
        self.pid
    }

    fn warnings(&self) -> &[String] {
        &[]
    }

    fn agent(&self) -> Option<UnixStream> {
        None
    }

    async fn add_disk(&self, _: Disk) -> coracle_vmm::Result<()> {
        refused()
    }

    async fn fill_slot(&self, _: Disk) -> coracle_vmm::Result<()> {
        refused()
    }

    fn log_console(&self, _: &Path) -> coracle_vmm::Result<()> {
        refused()
    }

    async fn remove_disk(&self, _: &str) -> coracle_vmm::Result<()> {
        refused()
    }

    async fn add_nic(&self, _: Nic) -> coracle_vmm::Result<()> {
        refused()
    }

    async fn remove_nic(&self, _: MacAddr) -> coracle_vmm::Result<()> {
        refused()
    }

    async fn pause(&self) -> coracle_vmm::Result<()> {
        refused()
    }

    async fn resume(&self) -> coracle_vmm::Result<()> {
        refused()
    }

    async fn set_memory(&self, _: u64) -> coracle_vmm::Result<()> {
        refused()
    }

    async fn resize_disk(&self, _: &str, _: u64) -> coracle_vmm::Result<()> {
        refused()
    }

    async fn snapshot(&self, _: &Path) -> coracle_vmm::Result<Template> {
        refused()
    }

    /// Leaves it; returns when the disks are free.
    async fn kill(&self) -> coracle_vmm::Result<()> {
        // It may have been closed by the other side.
        let _ = rustix::net::shutdown(&*self.control, rustix::net::Shutdown::Write);
        let left = tokio::time::timeout(LEAVING, self.wait()).await;
        left.map(drop)
            .map_err(|_| Error::Timeout("leaving the virtual machine".into()))
    }

    /// Waits until it is left, or gone.
    async fn wait(&self) -> Exit {
        // The watcher is there as long as this is.
        let _ = self.left.clone().wait_for(|left| *left).await;
        Exit {
            end: End::Killed,
            stderr: String::new(),
        }
    }
}
