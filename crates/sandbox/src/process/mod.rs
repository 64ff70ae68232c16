//! Isolation by namespaces and cgroups of this host.

mod child;
mod dial;
mod launch;
mod orphans;
mod request;
mod stats;
mod stragglers;
mod streams;

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::OnceLock;
use std::sync::PoisonError;
use std::time::Duration;

use async_trait::async_trait;
use coracle_cgroup::Cgroup;
use coracle_cgroup::Hierarchy;
use coracle_cgroup::OomWatcher;
use coracle_seccomp::Program;
use coracle_task::ErrorKind;
use coracle_task::ExecConfig;
use coracle_task::Rootfs;
use coracle_task::Stats;
use coracle_task::TaskConfig;
use oci_spec::runtime::LinuxResources;
use tokio::io::unix::AsyncFd;

use crate::ExitFuture;
use crate::Input;
use crate::Launched;
use crate::Output;
use crate::Process as _;
use crate::Result;
use crate::Sandbox;
use crate::SandboxError;
use crate::Streams;
use crate::blocking::blocking;
use crate::blocking::from_cgroup;
use child::Child;
use launch::Pending;
use stragglers::Stragglers;
use streams::Ends;
use streams::Terminal;

/// How long killed processes may take to be gone.
const PATIENCE: Duration = Duration::from_secs(10);

/// The control groups' file systems, if they were looked for in advance.
static HIERARCHY: OnceLock<Hierarchy> = OnceLock::new();

/// A container of namespaces and a cgroup.
///
/// All of its processes are in its cgroup; its processes are children of this process. What is
/// mounted for it is in its own mount namespace and goes with its last process.
pub struct ProcessSandbox {
    config: TaskConfig,
    /// Stands in for the specification's.
    filter: Option<Program>,
    /// Whether the processes' namespace is the container's own: then it ends with its init.
    own_pids: bool,
    state: Mutex<State>,
    oom: tokio::sync::Mutex<Option<AsyncFd<OomWatcher>>>,
}

#[derive(Default)]
struct State {
    cgroup: Option<Cgroup>,
    created: Option<(Pending, Ends, Option<Terminal>)>,
    init: Option<Arc<Child>>,
    deleted: bool,
    /// What the specification was read from, until it is made.
    text: Option<(String, bool)>,
    /// The file system of its secrets, until it is made.
    handed: Option<OwnedFd>,
}

impl ProcessSandbox {
    /// A sandbox for this container. Nothing is made yet.
    #[must_use]
    pub fn new(config: &TaskConfig) -> Self {
        Self {
            own_pids: request::has_own_pids(&config.spec),
            config: config.clone(),
            filter: None,
            state: Mutex::default(),
            oom: tokio::sync::Mutex::default(),
        }
    }

    /// With a system call filter that is compiled already, in place of the specification's.
    #[must_use]
    pub fn with_filter(mut self, filter: Option<Program>) -> Self {
        self.filter = filter;
        self
    }

    /// With the text that the configuration's specification was read from, but for `linux.seccomp`,
    /// and for `process` if that was changed since.
    #[must_use]
    pub fn with_text(self, text: String, process_differs: bool) -> Self {
        self.lock().text = Some((text, process_differs));
        self
    }

    /// With the file system that mounts of [handed](TaskConfig::has_handed) files are of.
    #[must_use]
    pub fn with_handed(self, handed: Option<OwnedFd>) -> Self {
        self.lock().handed = handed;
        self
    }

    /// Does in advance what can be done for the next container of this process before it is known:
    /// for a machine that is copied then, and whose control groups stay where they are. On a thread that lives as long as the process.
    ///
    /// # Errors
    /// If the process can't execute its own program, or there are no control groups.
    pub fn prepare() -> Result<()> {
        let hierarchy = Hierarchy::host().map_err(from_cgroup)?;
        let _found_before = HIERARCHY.set(hierarchy);
        launch::prepare().map_err(from_launcher)
    }

    /// Makes the cgroup, limits first, so that nothing ever runs without them.
    async fn make_cgroup(&self) -> Result<Cgroup> {
        let (parent, name) = (
            self.config.cgroup_parent.clone(),
            self.config.cgroup_name.clone(),
        );
        let linux = self.config.spec.linux().as_ref();
        let resources = linux
            .and_then(|linux| linux.resources().clone())
            .unwrap_or_default();
        let (cgroup, watcher) = blocking(move || {
            let found;
            let hierarchy = match HIERARCHY.get() {
                Some(hierarchy) => hierarchy,
                None => {
                    found = Hierarchy::host()?;
                    &found
                }
            };
            let cgroup = Cgroup::create(hierarchy, &parent, &name, &resources)?;
            let watcher = cgroup.oom_events();
            Ok((cgroup, watcher))
        })
        .await?;
        self.lock().cgroup = Some(cgroup.clone());
        if let Some(watcher) = watcher.map_err(from_cgroup)? {
            *self.oom.lock().await = Some(request::watch(watcher).map_err(io("watch for OOM"))?);
        }
        Ok(cgroup)
    }

    fn cgroup(&self) -> Result<Cgroup> {
        let cgroup = self.lock().cgroup.clone();
        cgroup.ok_or_else(|| SandboxError::state("the container has no cgroup"))
    }

    /// The init process and what else is needed to join it.
    fn running(&self) -> Result<(Arc<Child>, Cgroup)> {
        let state = self.lock();
        match (&state.init, &state.cgroup) {
            (Some(init), Some(cgroup)) => Ok((init.clone(), cgroup.clone())),
            _ => Err(SandboxError::state("the container is not running")),
        }
    }

    fn launched(
        &self,
        process: coracle_launcher::Process,
        ends: Ends,
        terminal: Option<Terminal>,
    ) -> Result<(Arc<Child>, Launched)> {
        let pid = process.pid;
        orphans::awaited(pid);
        let child = Child::new(pid, process.pidfd, terminal).map_err(io("watch the process"))?;
        let child = Arc::new(child);
        let exit: ExitFuture = Box::pin(child.exit(async move { orphans::done(pid) }));
        let launched = Launched {
            process: child.clone(),
            stdin: ends.stdin,
            stdout: ends.stdout,
            stderr: ends.stderr,
            exit,
            warnings: process.warnings,
        };
        Ok((child, launched))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Sandbox for ProcessSandbox {
    async fn create(&self, streams: Streams) -> Result<i32> {
        if self.lock().cgroup.is_some() || self.lock().deleted {
            return Err(SandboxError::state("the container was created already"));
        }
        if self.config.rootfs == Rootfs::Disks {
            return Err(SandboxError::internal("disks need a machine"));
        }
        let cgroup = self.make_cgroup().await?;
        request::unmark_volatile(&self.config).map_err(io("prepare the root file system"))?;
        let (stdio, mut ends) = match self.config.terminal {
            true => Default::default(),
            false => streams::pipes(streams).map_err(io("make pipes"))?,
        };
        let (text, handed) = {
            let mut state = self.lock();
            (state.text.take(), state.handed.take())
        };
        let (text, process_differs) =
            text.map_or((None, true), |(text, differs)| (Some(text), differs));
        let request = request::init(
            &self.config,
            (text, process_differs, self.filter.clone()),
            cgroup.paths(),
            stdio,
            handed,
        );
        let _launching = orphans::launching();
        let mut pending = launch::create(request).await.map_err(from_launcher)?;
        let pid = pending.pid;
        orphans::awaited(pid);
        let mut terminal = None;
        if let Some(console) = pending.console.take() {
            let made = Terminal::new(console).map_err(io("take the terminal"))?;
            ends = made.ends();
            terminal = Some(made);
        }
        self.lock().created = Some((pending, ends, terminal));
        Ok(pid)
    }

    async fn start(&self) -> Result<Launched> {
        let created = self.lock().created.take();
        let (pending, ends, terminal) =
            created.ok_or_else(|| SandboxError::state("the container is not created"))?;
        let cgroup = self.cgroup()?;
        let stragglers = (!self.own_pids && cgroup.is_none()).then(|| Stragglers::of(pending.pid));
        let _launching = orphans::launching();
        let pid = pending.pid;
        let process = pending.start().await.map_err(|error| {
            // It was reaped when it was dropped.
            orphans::done(pid);
            from_launcher(error)
        })?;
        let (child, mut launched) = self.launched(process, ends, terminal)?;
        self.lock().init = Some(child);
        if !self.own_pids {
            tokio::spawn(orphans::reap());
            let stragglers = stragglers.transpose().unwrap_or_else(|error| {
                let problem = "what the first process leaves behind will run on";
                launched.warnings.push(format!("{problem}: {error}"));
                None
            });
            let exit = launched.exit;
            launched.exit = Box::pin(async move {
                let status = exit.await;
                // Those that are left hold the streams open, and nobody wants them any more.
                // What can't be killed is left to `delete`, which tells of it.
                let kill = move || {
                    if let Some(stragglers) = stragglers {
                        stragglers.kill(PATIENCE);
                    }
                    cgroup.kill(PATIENCE)
                };
                let _ = blocking(kill).await;
                status
            });
        }
        Ok(launched)
    }

    async fn exec(&self, config: &ExecConfig, streams: Streams) -> Result<Launched> {
        let (init, cgroup) = self.running()?;
        let (stdio, mut ends) = match config.terminal {
            true => Default::default(),
            false => streams::pipes(streams).map_err(io("make pipes"))?,
        };
        let (filter, paths) = (self.filter.clone(), cgroup.paths());
        let request = request::exec(&self.config, config, filter, init.pid(), paths, stdio);
        let _launching = orphans::launching();
        let mut process = launch::exec(request).await.map_err(|error| {
            // Then there is nothing to join, whichever step noticed that.
            match init.has_ended() {
                true => SandboxError::state("the container is not running"),
                false => from_launcher(error),
            }
        })?;
        let mut terminal = None;
        if let Some(console) = process.console.take() {
            let made = Terminal::new(console).map_err(io("take the terminal"))?;
            ends = made.ends();
            terminal = Some(made);
        }
        let (_, launched) = self.launched(process, ends, terminal)?;
        Ok(launched)
    }

    async fn kill_all(&self, signal: i32) -> Result<()> {
        let parsed = child::parse_signal(signal)?;
        let (init, cgroup) = self.running()?;
        if cgroup.is_none() {
            return init.kill(signal).await;
        }
        blocking(move || {
            if parsed == rustix::process::Signal::KILL {
                return cgroup.kill(PATIENCE);
            }
            for pid in cgroup
                .pids()?
                .into_iter()
                .filter_map(rustix::process::Pid::from_raw)
            {
                // One that ended meanwhile needs no signal.
                let _ = rustix::process::kill_process(pid, parsed);
            }
            Ok(())
        })
        .await
    }

    async fn pause(&self) -> Result<()> {
        let (_, cgroup) = self.running()?;
        blocking(move || cgroup.freeze()).await
    }

    async fn resume(&self) -> Result<()> {
        let (_, cgroup) = self.running()?;
        blocking(move || cgroup.thaw()).await
    }

    async fn update(&self, resources: &LinuxResources) -> Result<()> {
        let (_, cgroup) = self.running()?;
        let resources = resources.clone();
        blocking(move || cgroup.update(&resources)).await
    }

    async fn stats(&self) -> Result<Stats> {
        let cgroup = self.cgroup()?;
        Ok(stats::convert(blocking(move || cgroup.stats()).await?))
    }

    async fn pids(&self) -> Result<Vec<i32>> {
        let cgroup = self.cgroup()?;
        if cgroup.is_none() {
            let message = "without a cgroup the container's processes are not known";
            return Err(SandboxError::new(ErrorKind::Unsupported, message));
        }
        let mut pids = blocking(move || cgroup.pids()).await?;
        pids.sort_unstable();
        pids.dedup();
        Ok(pids)
    }

    async fn dial(&self, path: &str) -> Result<(Output, Input)> {
        let init = self.lock().init.clone();
        let init = init.ok_or_else(|| SandboxError::state("the container is not running"))?;
        dial::dial(&init, path).await
    }

    async fn oom(&self) {
        let mut watcher = self.oom.lock().await;
        while let Some(events) = watcher.as_mut() {
            let Ok(mut guard) = events.readable_mut().await else {
                break;
            };
            guard.clear_ready();
            match guard.get_inner_mut().read() {
                Ok(oom) if oom.new => return,
                Ok(oom) if !oom.removed => {}
                Ok(_) | Err(_) => *watcher = None,
            }
        }
        drop(watcher);
        std::future::pending().await
    }

    async fn oom_killed(&self) -> bool {
        self.cgroup()
            .is_ok_and(|cgroup| cgroup.oom_kill_count().is_ok_and(|count| count > 0))
    }

    async fn delete(&self) -> Result<()> {
        let (cgroup, created) = {
            let mut state = self.lock();
            state.deleted = true;
            state.init = None;
            (state.cgroup.take(), state.created.take())
        };
        let Some(cgroup) = cgroup else { return Ok(()) };
        let again = cgroup.clone();
        let deleted = blocking(move || {
            // A container that was made and not started dies with this.
            if let Some((pending, ..)) = created {
                let pid = pending.pid;
                drop(pending);
                orphans::done(pid);
            }
            if !cgroup.is_none() {
                cgroup.kill(PATIENCE)?;
            }
            cgroup.delete()
        })
        .await;
        if deleted.is_err() {
            self.lock().cgroup = Some(again);
        }
        deleted?;
        request::unmark_volatile(&self.config).map_err(io("release the root file system"))
    }
}

fn from_launcher(error: coracle_launcher::Error) -> SandboxError {
    use coracle_launcher::Error;
    use coracle_launcher::Kind;
    let kind = match (error.kind(), &error) {
        (Kind::CommandNotFound, _) => ErrorKind::CommandNotFound,
        (Kind::CommandNotExecutable, _) => ErrorKind::CommandNotExecutable,
        (_, Error::Unsupported(_)) => ErrorKind::Unsupported,
        (_, Error::Invalid(_)) => ErrorKind::InvalidArgument,
        _ => ErrorKind::Internal,
    };
    SandboxError::new(kind, error.to_string())
}

fn io(what: &'static str) -> impl FnOnce(std::io::Error) -> SandboxError {
    move |error| SandboxError::internal(format!("cannot {what}: {error}"))
}
