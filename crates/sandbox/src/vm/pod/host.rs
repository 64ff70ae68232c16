//! The owner's side: who joins gets a session of the agent, and its disks plugged in.

use std::fs;
use std::io;
use std::os::fd::AsFd;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::time::Duration;

use coracle_cgroup::Cgroup;
use coracle_guest::Agent;
use coracle_guest::Channel;
use coracle_guest::Direction;
use coracle_task::MachineConfig;
use coracle_vmm::Disk;
use coracle_vmm::Machine;
use coracle_vmm::Slot;
use coracle_vmm::Source;
use tokio::net::UnixListener;
use tokio::net::UnixStream;
use tokio::sync::watch;

use super::wire;
use super::wire::Answer;
use super::wire::Applied;
use super::wire::Join;
use super::wire::Welcome;
use crate::Result;
use crate::SandboxError;
use crate::vm::from_guest;
use crate::vm::from_vmm;
use crate::vm::resize;
use crate::vm::resize::Guest;
use crate::vm::room::Room;
use crate::vm::volumes::Mounted;
use crate::vm::volumes::Volumes;

/// How long one who connects may take to say what it wants.
const HELLO: Duration = Duration::from_secs(10);
/// How long the guest may take to end what a member had.
const PATIENCE: Duration = Duration::from_secs(10);
/// Pause when connections can't be accepted for want of descriptors or memory.
const BACK_OFF: Duration = Duration::from_millis(100);

/// The machine that others may join.
pub(crate) struct Owner {
    /// Its container's id.
    pub(crate) container: String,
    pub(crate) machine: Arc<dyn Machine>,
    pub(crate) agent: Agent,
    /// What it has, and who is in it.
    pub(crate) room: tokio::sync::Mutex<Room>,
    /// The control group that the VMM is in, if it has one.
    pub(crate) cgroup: Mutex<Option<Cgroup>>,
    /// The disks of servers that it has.
    pub(crate) volumes: Arc<Volumes>,
    /// What it was made of.
    pub(crate) config: MachineConfig,
}

impl Owner {
    pub(crate) fn cgroup(&self) -> Option<Cgroup> {
        lock(&self.cgroup).clone()
    }

    /// The VMM is in another control group now.
    pub(crate) fn moved(&self, cgroup: Cgroup) {
        *lock(&self.cgroup) = Some(cgroup);
    }
}

/// A machine and those who joined it.
pub(crate) struct Pod {
    owner: Arc<Owner>,
    members: watch::Sender<Members>,
    /// Images that are plugged in; the lock is held while disks come and go.
    images: tokio::sync::Mutex<Vec<Image>>,
    last: Mutex<u32>,
}

#[derive(Clone, Copy, Default)]
struct Members {
    count: usize,
    closed: bool,
}

/// One disk serves all who have the same image.
struct Image {
    /// Device and inode.
    file: (u64, u64),
    serial: String,
    users: usize,
}

/// Counts as a member until it is dropped.
struct Membership(Arc<Pod>);

impl Drop for Membership {
    fn drop(&mut self) {
        self.0.members.send_modify(|members| members.count -= 1);
    }
}

/// A member that was let in.
struct Admitted {
    number: u32,
    stream: UnixStream,
    channel: Channel,
    image: String,
    layer: String,
    volumes: Vec<Mounted>,
}

impl Pod {
    /// Lets others join by this socket, which is made; `image` is the disk in the machine's root slot.
    pub(crate) fn open(socket: &Path, owner: Owner, image: &Path) -> io::Result<Arc<Self>> {
        let root = fs::metadata(image)?;
        let listener = coracle_task::listen(socket)?;
        fs::set_permissions(socket, fs::Permissions::from_mode(0o600))?;
        listener.set_nonblocking(true)?;
        let listener = UnixListener::from_std(listener)?;
        let pod = Arc::new(Self {
            owner: Arc::new(owner),
            members: watch::Sender::new(Members::default()),
            images: tokio::sync::Mutex::new(vec![Image {
                file: (root.dev(), root.ino()),
                serial: Slot::Root.serial().into(),
                // The owner's container: it stays, as slots do.
                users: 1,
            }]),
            last: Mutex::new(0),
        });
        tokio::spawn(pod.clone().accept(listener));
        Ok(pod)
    }

    pub(crate) fn owner(&self) -> &Arc<Owner> {
        &self.owner
    }

    /// Whether anybody is in.
    pub(crate) fn has_members(&self) -> bool {
        self.members.borrow().count > 0
    }

    /// Lets nobody in any more if nobody is in; tells whether that is so.
    pub(crate) fn close_if_alone(&self) -> bool {
        let mut closed = false;
        self.members.send_modify(|members| {
            members.closed |= members.count == 0;
            closed = members.closed;
        });
        closed
    }

    /// Returns when the last member has left; nobody is let in any more then.
    pub(crate) async fn emptied(&self) {
        let mut members = self.members.subscribe();
        while !self.close_if_alone() {
            if members.changed().await.is_err() {
                return;
            }
        }
    }

    async fn accept(self: Arc<Self>, listener: UnixListener) {
        let mut members = self.members.subscribe();
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = closed(&mut members) => return,
            };
            match accepted {
                Ok((stream, _)) => {
                    tokio::spawn(self.clone().serve(stream));
                }
                Err(_) => tokio::time::sleep(BACK_OFF).await,
            }
        }
    }

    fn enter(self: &Arc<Self>) -> Option<Membership> {
        let mut entered = false;
        self.members.send_modify(|members| {
            entered = !members.closed;
            members.count += usize::from(entered);
        });
        entered.then(|| Membership(self.clone()))
    }

    /// Serves one connection, which is one membership.
    async fn serve(self: Arc<Self>, control: UnixStream) {
        if !is_ours(&control) {
            return;
        }
        let received = tokio::time::timeout(HELLO, wire::receive::<Join>(&control)).await;
        let Ok(Ok((join, fds))) = received else {
            return;
        };
        let Some(_member) = self.enter() else {
            let error = SandboxError::state("the virtual machine to be joined is ending");
            return refuse(&control, error).await;
        };
        if join.grows {
            if let Err(error) = self.change(&join, &control).await {
                refuse(&control, error).await;
            }
            return;
        }
        match self.admit(&join, fds).await {
            Ok((admitted, theirs)) => {
                let welcome = Answer::Welcome(Welcome {
                    owner: self.owner.container.clone(),
                    pid: self.owner.machine.pid(),
                    image: admitted.image.clone(),
                    layer: admitted.layer.clone(),
                    volumes: admitted.volumes.clone(),
                });
                let (image, layer) = (admitted.image.clone(), admitted.layer.clone());
                let number = admitted.number;
                if wire::send(&control, &welcome, &[theirs.as_fd()])
                    .await
                    .is_ok()
                {
                    drop(theirs);
                    self.carry(admitted, &control).await;
                }
                self.owner.volumes.leave(&join.volumes, true).await;
                self.unplug(&image, &layer).await;
                // It need not wait for that.
                drop(control);
                resize::leave(&self.owner, number).await;
            }
            Err(error) => refuse(&control, error).await,
        }
    }

    /// Makes room for other limits of a member, and waits until it has them, or hasn't.
    async fn change(&self, join: &Join, control: &UnixStream) -> Result<()> {
        check_version(join)?;
        let change = resize::begin_change(&self.owner, &guest(join)).await?;
        // Who asked may be gone.
        let is_applied = wire::send(control, &Answer::Grown, &[]).await.is_ok()
            && matches!(
                wire::receive::<Applied>(control).await,
                Ok((Applied { is_applied: true }, _))
            );
        resize::end_change(&self.owner, &change, is_applied).await;
        Ok(())
    }

    /// Plugs the disks of a member in, and makes its stream; with the member's end of it.
    async fn admit(&self, join: &Join, fds: Vec<OwnedFd>) -> Result<(Admitted, OwnedFd)> {
        check_version(join)?;
        let Ok([image, layer]) = <[OwnedFd; 2]>::try_from(fds) else {
            return Err(SandboxError::internal("a member has two disks"));
        };
        let number = {
            let mut last = lock(&self.last);
            *last = last.saturating_add(1);
            *last
        };
        let stream = |error: io::Error| SandboxError::internal(error.to_string());
        let (ours, theirs) = UnixStream::pair().map_err(stream)?;
        let theirs = theirs.into_std().map_err(stream)?;
        let channel = self.owner.agent.open_channel(Direction::Both);
        let channel = channel.map_err(from_guest)?;
        let mut images = self.images.lock().await;
        let image = self.plug_image(&mut images, image, number).await?;
        let layer = Disk {
            source: Source::File(layer),
            read_only: false,
            serial: format!("m{number}-layer"),
        };
        let serial = layer.serial.clone();
        if let Err(error) = self.owner.machine.add_disk(layer).await {
            self.unplug_image(&mut images, &image).await;
            return Err(from_vmm(error));
        }
        drop(images);
        let volumes = match self.owner.volumes.enter(&join.volumes).await {
            Ok(volumes) => volumes,
            Err(error) => {
                self.unplug(&image, &serial).await;
                return Err(error);
            }
        };
        if let Err(error) = resize::enter(&self.owner, number, &guest(join)).await {
            self.owner.volumes.leave(&join.volumes, true).await;
            self.unplug(&image, &serial).await;
            return Err(error);
        }
        let admitted = Admitted {
            number,
            stream: ours,
            channel,
            image,
            layer: serial,
            volumes,
        };
        Ok((admitted, theirs.into()))
    }

    async fn plug_image(
        &self,
        images: &mut Vec<Image>,
        file: OwnedFd,
        number: u32,
    ) -> Result<String> {
        let found = rustix::fs::fstat(&file)
            .map_err(|error| SandboxError::internal(format!("the image's disk: {error}")))?;
        #[allow(clippy::useless_conversion, reason = "architectures have other types")]
        let found = (u64::from(found.st_dev), u64::from(found.st_ino));
        if let Some(image) = images.iter_mut().find(|image| image.file == found) {
            image.users += 1;
            return Ok(image.serial.clone());
        }
        let disk = Disk {
            source: Source::File(file),
            read_only: true,
            serial: format!("m{number}-root"),
        };
        let serial = disk.serial.clone();
        self.owner.machine.add_disk(disk).await.map_err(from_vmm)?;
        images.push(Image {
            file: found,
            serial: serial.clone(),
            users: 1,
        });
        Ok(serial)
    }

    async fn unplug_image(&self, images: &mut Vec<Image>, serial: &str) {
        let Some(image) = images.iter_mut().find(|image| image.serial == serial) else {
            return;
        };
        image.users = image.users.saturating_sub(1);
        if image.users == 0 {
            images.retain(|image| image.serial != serial);
            self.remove(serial).await;
        }
    }

    async fn unplug(&self, image: &str, layer: &str) {
        let mut images = self.images.lock().await;
        self.remove(layer).await;
        self.unplug_image(&mut images, image).await;
    }

    async fn remove(&self, serial: &str) {
        // The serial is never used again, and the place stays taken if the guest holds on to it.
        if let Err(error) = self.owner.machine.remove_disk(serial).await {
            crate::vm::machine::complain(&from_vmm(error));
        }
    }

    /// Carries a member's session until either side ends it, then sees to it that the guest does.
    async fn carry(&self, admitted: Admitted, control: &UnixStream) {
        let Admitted {
            mut stream,
            mut channel,
            ..
        } = admitted;
        let session = self.owner.agent.session(channel.id());
        tokio::pin!(session);
        let is_over = tokio::select! {
            _ = &mut session => true,
            _ = tokio::io::copy_bidirectional(&mut stream, &mut channel) => false,
            () = wire::closed(control) => false,
        };
        drop((stream, channel));
        if !is_over {
            // A guest that doesn't answer keeps its disks, and no one else's.
            let _ = tokio::time::timeout(PATIENCE, session).await;
        }
    }
}

fn guest(join: &Join) -> Guest<'_> {
    Guest {
        container: &join.container,
        memory: join.memory.filter(|limit| *limit > 0),
        cpus: join.cpus,
    }
}

fn check_version(join: &Join) -> Result<()> {
    if join.version == wire::VERSION {
        return Ok(());
    }
    Err(SandboxError::state(
        "the virtual machine to be joined was started by another version; start its container anew",
    ))
}

async fn closed(members: &mut watch::Receiver<Members>) {
    // It fails with its sender, which is where nobody can join either.
    let _ = members.wait_for(|members| members.closed).await;
}

async fn refuse(control: &UnixStream, error: SandboxError) {
    let SandboxError { kind, message } = error;
    let message = message.chars().take(1000).collect();
    // It may be gone.
    let _ = wire::send(control, &Answer::Refused { kind, message }, &[]).await;
}

/// Whether it is of our own user, or root. The socket's directory and mode say the same.
fn is_ours(stream: &UnixStream) -> bool {
    let own = rustix::process::geteuid().as_raw();
    stream
        .peer_cred()
        .is_ok_and(|peer| peer.uid() == own || peer.uid() == 0)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
