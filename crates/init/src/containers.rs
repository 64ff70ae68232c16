//! Containers: a sandbox each, its processes, and their streams.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use coracle_guest::{Call, Channel, Event, Events, Failure, Filter, Json, Reply, Stdio};
use coracle_sandbox::{ExitFuture, Launched, Process, ProcessSandbox, Sandbox, Streams};
use coracle_seccomp::Program;
use coracle_task::{ErrorKind, ExecConfig, TaskConfig};
use oci_spec::runtime::{Process as OciProcess, Spec};

use crate::error::{Result, not_found, sandbox};
use crate::pump;

/// The containers of one caller.
#[derive(Default)]
pub(crate) struct Containers {
    all: Mutex<HashMap<String, Arc<Container>>>,
    /// Those of all callers.
    everyone: Arc<Mutex<HashMap<String, Weak<Container>>>>,
    /// What processes get that don't set it themselves.
    env: Mutex<Vec<(String, String)>>,
}

/// One container.
pub(crate) struct Container {
    pub(crate) config: TaskConfig,
    pub(crate) sandbox: ProcessSandbox,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// The streams of the first process, until it is started.
    streams: Option<Channels>,
    processes: HashMap<Option<String>, Arc<dyn Process>>,
}

/// What a container is to be.
pub(crate) struct Given {
    config: TaskConfig,
    /// Its specification, as it came.
    text: String,
    filter: Option<Program>,
}

impl Given {
    pub(crate) fn read(
        config: &Json<TaskConfig>,
        spec: Json<Spec>,
        filter: Option<Filter>,
    ) -> Result<Self> {
        let mut config = config.read()?;
        config.spec = spec.read()?;
        Ok(Self {
            config,
            text: spec.into_text(),
            filter: filter.map(|filter| Program::from_words(filter.flags, &filter.words)),
        })
    }
}

/// The channels of a process.
#[derive(Default)]
struct Channels {
    stdin: Option<Channel>,
    stdout: Option<Channel>,
    stderr: Option<Channel>,
}

impl Channels {
    fn take(stdio: Stdio, call: &Call) -> Result<Self> {
        let take = |id: Option<u32>| id.map(|id| call.channel(id)).transpose();
        Ok(Self {
            stdin: take(stdio.stdin)?,
            stdout: take(stdio.stdout)?,
            stderr: take(stdio.stderr)?,
        })
    }

    fn streams(&self) -> Streams {
        Streams {
            stdin: self.stdin.is_some(),
            output: self.stdout.is_some() || self.stderr.is_some(),
        }
    }

    /// Connects them with a process.
    fn connect(self, launched: &mut Launched) {
        if let (Some(channel), Some(input)) = (self.stdin, launched.stdin.take()) {
            tokio::spawn(pump::input(channel.into_split().0, input));
        }
        for (channel, output) in [
            (self.stdout, launched.stdout.take()),
            (self.stderr, launched.stderr.take()),
        ] {
            if let (Some(channel), Some(output)) = (channel, output) {
                tokio::spawn(pump::output(output, channel.into_split().1));
            }
        }
    }
}

impl Containers {
    /// Those of another caller in the same machine: none yet.
    pub(crate) fn beside(&self) -> Self {
        Self {
            everyone: self.everyone.clone(),
            ..Self::default()
        }
    }

    /// The first process of a container, whoever's it is.
    pub(crate) fn leader(&self, id: &str) -> Result<i32> {
        let found = lock(&self.everyone).get(id).and_then(Weak::upgrade);
        let pid = found.and_then(|container| container.pid());
        pid.ok_or_else(|| not_found(format!("container {id} does not run in this machine")))
    }

    pub(crate) fn get(&self, id: &str) -> Result<Arc<Container>> {
        let found = lock(&self.all).get(id).cloned();
        found.ok_or_else(|| not_found(format!("there is no container {id}")))
    }

    pub(crate) fn find(&self, id: &str) -> Option<Arc<Container>> {
        lock(&self.all).get(id).cloned()
    }

    pub(crate) fn ids(&self) -> Vec<String> {
        lock(&self.all).keys().cloned().collect()
    }

    pub(crate) fn set_env(&self, name: String, value: Option<String>) {
        let mut env = lock(&self.env);
        env.retain(|(other, _)| *other != name);
        env.extend(value.map(|value| (name, value)));
    }

    pub(crate) fn env(&self, name: &str) -> Option<String> {
        let env = lock(&self.env);
        let found = env.iter().find(|(other, _)| other == name);
        found.map(|(_, value)| value.clone())
    }

    /// Gives a process the environment that all get; whether there is any.
    fn complete(&self, process: Option<&mut OciProcess>) -> bool {
        let more = lock(&self.env);
        let Some(process) = process.filter(|_| !more.is_empty()) else {
            return false;
        };
        let mut env = process.env().clone().unwrap_or_default();
        for (name, value) in &*more {
            let is_set = |line: &String| {
                line.strip_prefix(name.as_str())
                    .is_some_and(|rest| rest.starts_with('='))
            };
            if !env.iter().any(is_set) {
                env.push(format!("{name}={value}"));
            }
        }
        process.set_env(Some(env));
        true
    }

    /// Makes a container.
    pub(crate) async fn create(
        &self,
        id: &str,
        given: Given,
        stdio: Stdio,
        call: &Call,
    ) -> Result<(Arc<Container>, i32)> {
        let channels = Channels::take(stdio, call)?;
        let Given {
            mut config,
            text,
            filter,
        } = given;
        let completed = self.complete(config.spec.process_mut().as_mut());
        let container = {
            let mut all = lock(&self.all);
            let mut everyone = lock(&self.everyone);
            everyone.retain(|_, container| container.strong_count() > 0);
            if everyone.contains_key(id) {
                let message = format!("there is a container {id} already");
                return Err(Failure::new(ErrorKind::AlreadyExists, message));
            }
            let sandbox = ProcessSandbox::new(&config);
            let container = Arc::new(Container {
                sandbox: sandbox.with_text(text, completed).with_filter(filter),
                config,
                state: Mutex::default(),
            });
            all.insert(id.to_owned(), container.clone());
            everyone.insert(id.to_owned(), Arc::downgrade(&container));
            container
        };
        let pid = container.sandbox.create(channels.streams()).await;
        let pid = pid.map_err(sandbox)?;
        lock(&container.state).streams = Some(channels);
        Ok((container, pid))
    }

    /// Executes its command.
    pub(crate) async fn start(
        &self,
        id: &str,
        container: &Arc<Container>,
        events: &Events,
    ) -> Result<Reply> {
        let mut launched = container.sandbox.start().await.map_err(sandbox)?;
        let channels = lock(&container.state).streams.take();
        channels.unwrap_or_default().connect(&mut launched);
        let watched = container.clone();
        let (name, told) = (id.to_owned(), events.clone());
        let oom = tokio::spawn(async move {
            loop {
                watched.sandbox.oom().await;
                let container = name.clone();
                told.send(&Event::Oom { container }).await;
            }
        });
        Ok(container.begin(id, None, launched, events, Some(oom)))
    }

    /// Starts a further process.
    pub(crate) async fn exec(
        &self,
        id: &str,
        mut config: ExecConfig,
        stdio: Stdio,
        call: &Call,
        events: &Events,
    ) -> Result<Reply> {
        let container = self.get(id)?;
        let channels = Channels::take(stdio, call)?;
        let exec = Some(config.exec_id.clone());
        if lock(&container.state).processes.contains_key(&exec) {
            let message = format!("exec {} runs already", config.exec_id);
            return Err(Failure::new(ErrorKind::AlreadyExists, message));
        }
        self.complete(Some(&mut config.process));
        let launched = container.sandbox.exec(&config, channels.streams()).await;
        let mut launched = launched.map_err(sandbox)?;
        channels.connect(&mut launched);
        Ok(container.begin(id, exec, launched, events, None))
    }

    /// Ends what runs of it, and forgets it.
    pub(crate) async fn delete(&self, id: &str) -> Result<()> {
        let Some(container) = self.find(id) else {
            return Ok(());
        };
        container.sandbox.delete().await.map_err(sandbox)?;
        lock(&self.all).remove(id);
        lock(&self.everyone).remove(id);
        Ok(())
    }
}

impl Container {
    /// Notes a process, tells of its end when it comes, and answers that it was started.
    fn begin(
        self: &Arc<Self>,
        id: &str,
        exec: Option<String>,
        launched: Launched,
        events: &Events,
        oom: Option<tokio::task::JoinHandle<()>>,
    ) -> Reply {
        let pid = launched.process.pid();
        lock(&self.state)
            .processes
            .insert(exec.clone(), launched.process);
        let (container, id, events) = (self.clone(), id.to_owned(), events.clone());
        tokio::spawn(async move {
            container
                .see_through(id, exec, launched.exit, &events)
                .await;
            if let Some(oom) = oom {
                oom.abort();
            }
        });
        Reply::Started {
            pid,
            warnings: launched.warnings,
        }
    }

    async fn see_through(
        &self,
        container: String,
        exec: Option<String>,
        exit: ExitFuture,
        events: &Events,
    ) {
        let status = exit.await;
        lock(&self.state).processes.remove(&exec);
        let event = Event::Exited {
            container,
            exec,
            code: status.code,
            signal: status.signal,
            oom_killed: self.sandbox.oom_killed().await,
        };
        events.send(&event).await;
    }

    /// A process that runs.
    pub(crate) fn process(&self, exec: &Option<String>) -> Result<Arc<dyn Process>> {
        let found = lock(&self.state).processes.get(exec).cloned();
        found.ok_or_else(|| not_found("the process has ended"))
    }

    /// The first process' id, while it runs.
    pub(crate) fn pid(&self) -> Option<i32> {
        let state = lock(&self.state);
        state.processes.get(&None).map(|process| process.pid())
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
