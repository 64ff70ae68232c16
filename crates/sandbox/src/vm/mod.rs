//! Isolation by a virtual machine of one's own.
//!
//! The machine's agent runs the container as [`ProcessSandbox`](crate::ProcessSandbox) does on a
//! host; what is here starts the machine, gives it disks, network cards and shares, and passes the
//! calls on. What the guest answers is not trusted: it is bounded by the agent's protocol, and never
//! used as a path or an id of this host.
//!
//! ```text
//!   new ── create: machine, set-up ──▶ made ── start: container ──▶ runs ── delete ──▶ gone
//!    │                                                                                  ▲
//!    └──── open: machine, disks ─────▶ open: files only ────────────────── delete ──────┘
//! ```

mod cgroup;
mod emulator;
mod events;
mod files;
mod idle;
mod interfaces;
mod machine;
mod mounts;
mod place;
mod pod;
mod process;
mod processes;
mod resize;
mod room;
mod running;
mod secrets;
mod setup;
mod spare;
mod template;
mod volumes;

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;

use async_trait::async_trait;
use coracle_cgroup::Cgroup;
use coracle_guest::Target;
use coracle_task::ErrorKind;
use coracle_task::ExecConfig;
use coracle_task::MachineConfig;
use coracle_task::MachineInterface;
use coracle_task::ProcessInfo;
use coracle_task::Stats;
use coracle_task::TaskConfig;
use oci_spec::runtime::LinuxResources;
use tokio::sync::Notify;
use tokio::task::JoinSet;

use crate::Files;
use crate::Input;
use crate::Launched;
use crate::Output;
use crate::Result;
use crate::Sandbox;
use crate::SandboxError;
use crate::Streams;
use place::Place;
pub(crate) use running::Running;
pub use spare::Spare;
pub use template::make as make_template;
use volumes::Volume;
use volumes::Volumes;

/// A container in a virtual machine.
pub struct VmSandbox {
    config: TaskConfig,
    machine: MachineConfig,
    state: Mutex<State>,
    marks: Arc<Marks>,
}

/// What the guest told of its container.
#[derive(Default)]
pub(crate) struct Marks {
    oom: Notify,
    oom_killed: std::sync::atomic::AtomicBool,
}

#[derive(Default)]
struct State {
    running: Option<Running>,
    /// How the container is to be made in the guest, and with which streams.
    pending: Option<(TaskConfig, Streams)>,
    used: bool,
    /// The file system of its secrets, until they are in the guest.
    handed: Option<OwnedFd>,
    /// A machine that waits for it.
    spare: Option<Spare>,
    /// The control group that the VMM is in.
    cgroup: Option<Cgroup>,
    /// What is kept for others.
    kept: Option<place::Kept>,
}

impl VmSandbox {
    /// A sandbox for this container, which needs a machine. Nothing is made yet.
    pub fn new(config: &TaskConfig) -> Result<Self> {
        let machine = config
            .machine
            .as_deref()
            .ok_or_else(|| SandboxError::internal("the task has no machine"))?;
        Ok(Self {
            machine: machine.clone(),
            config: config.clone(),
            state: Mutex::default(),
            marks: Arc::default(),
        })
    }

    /// With the file system that mounts of [handed](TaskConfig::has_handed) files are of.
    #[must_use]
    pub fn with_handed(self, handed: Option<OwnedFd>) -> Self {
        self.lock().handed = handed;
        self
    }

    /// Has it take a machine that is there already, if that works.
    #[must_use]
    pub fn with_spare(self, spare: Option<Spare>) -> Self {
        self.lock().spare = spare;
        self
    }

    /// Starts the machine and sets it up; with the container's mounts, or for its files alone.
    async fn make(&self, whole: bool) -> Result<TaskConfig> {
        if std::mem::replace(&mut self.lock().used, true) {
            return Err(SandboxError::state("the container was created already"));
        }
        let (spare, handed) = {
            let mut state = self.lock();
            (state.spare.take(), state.handed.take())
        };
        if let Some(spare) = spare {
            let made = async {
                let place = self.take(spare, whole).await?;
                self.set_up(place, whole, handed.as_ref()).await
            };
            match made.await {
                Ok(config) => return Ok(config),
                // A spare is never a reason for a start to fail.
                Err(error) => {
                    machine::complain(&format!("a spare machine was of no use: {error}"));
                    self.give_up().await?;
                }
            }
        }
        let place = match &self.machine.join {
            Some(socket) if whole => self.join(socket).await?,
            _ => self.found(whole).await?,
        };
        self.set_up(place, whole, handed.as_ref()).await
    }

    /// Makes the container's place ready. From here on `delete` ends it.
    async fn set_up(
        &self,
        place: Place,
        whole: bool,
        handed: Option<&OwnedFd>,
    ) -> Result<TaskConfig> {
        let mut plan = setup::plan(&self.config, &self.machine, &place, whole, handed)?;
        let agent = place.agent.clone();
        let emulator = self.machine.emulator.as_ref().filter(|_| whole);
        let binfmt = match emulator {
            Some(emulator) if place.is_member => {
                emulator::find(emulator, &agent).await?;
                None
            }
            Some(emulator) => Some(emulator::share(emulator, &mut plan)?),
            None => None,
        };
        let mut work = JoinSet::new();
        let heard = events::Heard::default();
        let has_sockets = !plan.sockets.is_empty();
        let own: Arc<[Volume]> = match whole && !place.is_member {
            true => volumes::wanted(&self.config.spec).into(),
            false => Arc::default(),
        };
        // Those that it has by now, however far it came.
        let mut attached: Option<(Arc<Volumes>, Arc<[Volume]>)> =
            place.volumes.clone().map(|all| (all, Arc::default()));
        if !place.is_member {
            idle::watch(&place.machine, agent.clone());
        }
        let running = async {
            if place.is_member {
                // Not with all the rest: nobody else in the machine is to wait for the disks.
                for root in std::mem::take(&mut plan.setup.roots) {
                    agent.add_root(&root).await.map_err(from_young_guest)?;
                }
                pod::resolve(&agent, &mut plan.config.spec).await?;
            }
            let channels = agent.setup(&plan.setup).await;
            let channels = channels.map_err(from_young_guest)?;
            for secret in &plan.secrets {
                let written = agent.write_file(secret).await;
                written.map_err(from_young_guest)?;
            }
            for (share, channel) in plan.shares.into_iter().zip(channels) {
                work.spawn(mounts::serve(share, channel));
            }
            // The guest opens the emulator now, so it has to be served.
            if let Some(binfmt) = &binfmt {
                agent.binfmt(binfmt).await.map_err(from_young_guest)?;
            }
            for socket in &plan.sockets {
                let listened = agent.listen(&socket.listen).await;
                listened.map_err(from_young_guest)?;
            }
            work.spawn(events::carry(
                agent.clone(),
                self.marks.clone(),
                plan.sockets,
                heard.clone(),
            ));
            if place.is_member {
                volumes::refer(&mut plan.config.spec, &place.mounted)?;
            }
            let Some((volumes, held)) = attached.as_mut().filter(|_| whole) else {
                return Ok(None);
            };
            let mounted = volumes.enter(&own).await?;
            held.clone_from(&own);
            volumes::refer(&mut plan.config.spec, &mounted)?;
            self.open_pod(&place, volumes.clone()).map(Some)
        }
        .await;
        let (pod, running) = match running {
            Ok(pod) => (pod, Ok(())),
            Err(error) => (None, Err(error)),
        };
        self.lock().running = Some(Running {
            is_member: place.is_member,
            machine: place.machine,
            agent: place.agent,
            interfaces: Arc::new(tokio::sync::Mutex::new(plan.interfaces)),
            copies: plan.copies.into(),
            heard: has_sockets.then_some(heard),
            pod,
            volumes: attached,
            work: Arc::new(work),
        });
        running?;
        Ok(plan.config)
    }

    fn running(&self) -> Result<Running> {
        let running = self.lock().running.clone();
        running.ok_or_else(|| SandboxError::state("the container is not running"))
    }

    fn id(&self) -> &str {
        &self.config.id
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Sandbox for VmSandbox {
    async fn create(&self, streams: Streams) -> Result<i32> {
        let config = self.make(true).await?;
        self.lock().pending = Some((config, streams));
        Ok(self.running()?.machine.pid())
    }

    async fn start(&self) -> Result<Launched> {
        let pending = self.lock().pending.take();
        let (config, streams) =
            pending.ok_or_else(|| SandboxError::state("the container is not created"))?;
        let running = self.running()?;
        let streams = process::streams(streams);
        // Made and started at once: each answer is awaited from another kernel.
        let started = running.agent.run(self.id(), &config, streams).await;
        let started = started.map_err(from_young_guest)?;
        let mut launched = process::launched(running.clone(), started, self.marks.clone());
        launched
            .warnings
            .extend(running.machine.warnings().iter().cloned());
        Ok(launched)
    }

    async fn exec(&self, config: &ExecConfig, streams: Streams) -> Result<Launched> {
        let running = self.running()?;
        let streams = process::streams(streams);
        let started = running.agent.exec(self.id(), config, streams).await;
        let started = started.map_err(from_guest)?;
        Ok(process::launched(running, started, self.marks.clone()))
    }

    async fn kill_all(&self, signal: i32) -> Result<()> {
        let running = self.running()?;
        let killed = running.agent.kill_all(self.id(), signal).await;
        killed.map_err(from_guest)
    }

    async fn pause(&self) -> Result<()> {
        let running = self.running()?;
        running.agent.pause(self.id()).await.map_err(from_guest)
    }

    async fn resume(&self) -> Result<()> {
        let running = self.running()?;
        running.agent.resume(self.id()).await.map_err(from_guest)
    }

    async fn update(&self, resources: &LinuxResources) -> Result<()> {
        let running = self.running()?;
        resize::update(&running, self.id(), &self.machine, resources).await
    }

    async fn stats(&self) -> Result<Stats> {
        let running = self.running()?;
        let (stats, networks) = running.agent.stats(self.id()).await.map_err(from_guest)?;
        Ok(Stats { networks, ..stats })
    }

    async fn pids(&self) -> Result<Vec<i32>> {
        let message = "the processes of a virtual machine are not this host's";
        Err(SandboxError::new(ErrorKind::Unsupported, message))
    }

    async fn set_interfaces(&self, interfaces: &[MachineInterface]) -> Result<()> {
        let running = self.running()?;
        let mut now = running.interfaces.lock().await;
        interfaces::set(&running, &mut now, interfaces).await?;
        mounts::renew(&running).await
    }

    async fn processes(&self) -> Result<Vec<ProcessInfo>> {
        let running = self.running()?;
        processes::list(&running.agent, self.id()).await
    }

    async fn dial(&self, path: &str) -> Result<(Output, Input)> {
        let target = Target::Unix {
            container: Some(self.id().to_owned()),
            path: path.to_owned(),
        };
        let channel = self.running()?.agent.dial(&target).await;
        let (output, input) = channel.map_err(from_guest)?.into_split();
        Ok((Box::new(output), Box::new(input)))
    }

    async fn oom(&self) {
        self.marks.oom.notified().await;
    }

    async fn oom_killed(&self) -> bool {
        self.marks
            .oom_killed
            .load(std::sync::atomic::Ordering::Relaxed)
    }

    async fn open(&self) -> Result<()> {
        self.make(false).await.map(drop)
    }

    fn files(&self) -> Option<&dyn Files> {
        Some(self)
    }

    async fn delete(&self) -> Result<()> {
        self.leave().await
    }

    async fn released(&self) -> Result<()> {
        self.release().await
    }
}

/// What the guest refuses, as the container's sandbox there said it. A machine that is gone was on its
/// way out with its container.
pub(crate) fn from_guest(error: coracle_guest::Error) -> SandboxError {
    match error {
        coracle_guest::Error::Gone(_) => SandboxError::state("the container is not running"),
        error => SandboxError::new(error.kind(), error.to_string()),
    }
}

/// The same of a machine that is being made.
pub(crate) fn from_young_guest(error: coracle_guest::Error) -> SandboxError {
    SandboxError::new(error.kind(), error.to_string())
}

pub(crate) fn from_vmm(error: coracle_vmm::Error) -> SandboxError {
    SandboxError::internal(error.to_string())
}
