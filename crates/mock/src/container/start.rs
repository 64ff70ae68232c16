//! The start of a run.

use std::collections::BTreeMap;
use std::sync::Arc;

use coracle_runtime::container::{Changed, ContainerState, ExitStatus, NetworkSettings};
use coracle_runtime::io::StreamKind;
use coracle_runtime::{Result, RuntimeError, Status};
use jiff::Timestamp;
use tokio::sync::watch;

use super::{Entry, Run, health, user};
use crate::engine::{Engine, State};
use crate::process::Processes;
use crate::process::run::drive;
use crate::process::target::Process;
use crate::shell::{self, Env, Io, PATH, Sink, Source, User, World};

/// A start that failed, with the exit code that stands for it.
struct Failure {
    error: RuntimeError,
    code: i32,
}

impl From<RuntimeError> for Failure {
    fn from(error: RuntimeError) -> Self {
        Self { error, code: 128 }
    }
}

/// A command that is not there (127) or can't run (126) is the user's fault; what fails before is
/// told as the runtime's own.
fn failure(code: i32, text: &str) -> Failure {
    let text = format!("failed to create task for container: {text}");
    let error = match code {
        126 | 127 => RuntimeError::InvalidArgument(text),
        _ => RuntimeError::Internal(text),
    };
    Failure { error, code }
}

/// Starts a container.
pub(crate) fn start(engine: &Arc<Engine>, name: &str) -> Result<Changed> {
    let mut state = engine.lock();
    let id = state.find(name)?;
    let result = start_locked(engine, &mut state, &id, true);
    let removes_itself = state
        .containers
        .get(&id)
        .is_some_and(|entry| entry.host_config.auto_remove);
    if result.is_err() && removes_itself && !state.is_alive(&id) {
        state.discard(engine, &id, true);
    }
    result
}

impl State {
    fn is_alive(&self, id: &str) -> bool {
        self.containers
            .get(id)
            .is_some_and(|entry| entry.status().is_alive())
    }
}

/// Starts it; `by_user` rather than by its restart policy.
pub(crate) fn start_locked(
    engine: &Arc<Engine>,
    state: &mut State,
    id: &str,
    by_user: bool,
) -> Result<Changed> {
    let Some(entry) = state.containers.get_mut(id) else {
        return Err(RuntimeError::no_such_container(id));
    };
    match entry.status() {
        Status::Running => return Ok(Changed(false)),
        Status::Paused => {
            return Err(RuntimeError::InvalidState(
                "cannot start a paused container, try unpause instead".into(),
            ));
        }
        Status::Removing => {
            return Err(RuntimeError::InvalidState(
                "container is marked for removal and cannot be started".into(),
            ));
        }
        Status::Created | Status::Exited | Status::Dead | Status::Restarting => {}
    }
    if by_user {
        entry.restart_count = 0;
        entry.backoff = Default::default();
    }
    entry.stopped_by_user = false;
    match launch(engine, state, id) {
        Ok(()) => Ok(Changed(true)),
        Err(failure) => {
            state.networks.leave(id);
            let Some(mut entry) = state.containers.remove(id) else {
                return Err(failure.error);
            };
            entry.network = entry.idle_network(state);
            // Whoever waits for its output has seen all there is.
            entry.streams.output.end();
            entry.streams = Entry::fresh_streams(&entry.config, entry.log.as_ref());
            if entry.state.status == Status::Restarting {
                entry.state.status = Status::Exited;
            }
            entry.state.error = failure.error.to_string();
            entry.state.exit_code = failure.code;
            entry.last = ExitStatus {
                code: failure.code,
                error: Some(failure.error.to_string()),
            };
            if by_user {
                entry.exits += 1;
                entry.publish();
            }
            state.containers.insert(id.to_owned(), entry);
            Err(failure.error)
        }
    }
}

fn launch(engine: &Arc<Engine>, state: &mut State, id: &str) -> std::result::Result<(), Failure> {
    let linked = state.linked(id)?;
    let network = join(state, id)?;
    let State { containers, .. } = state;
    let Some(entry) = containers.get_mut(id) else {
        return Err(RuntimeError::no_such_container(id).into());
    };
    entry.network = network;
    entry.mount_all();
    let (env, process) = prepare(entry, &linked)?;
    let argv = entry.command();
    let target = process.target.clone();
    let paused = watch::Sender::new(false);
    let work = shell::run(env.clone(), argv, process);
    entry.state = ContainerState {
        status: Status::Running,
        pid: engine.new_pid(),
        started_at: Some(Timestamp::now()),
        finished_at: entry.state.finished_at,
        ..ContainerState::default()
    };
    entry.run = Some(Run {
        processes: env.world.processes.clone(),
        tty: env.tty.clone(),
        env,
        target: target.clone(),
        paused: paused.clone(),
        started: std::time::Instant::now(),
    });
    health::begin(engine, entry);
    entry.publish();
    engine.emit(entry, "start", &[]);
    let (engine, id, number) = (engine.clone(), id.to_owned(), entry.exits);
    tokio::spawn(async move {
        let code = drive(work, target, paused.subscribe()).await;
        engine.ended(&id, number, code);
    });
    Ok(())
}

/// Joins the networks, and publishes the ports.
fn join(state: &mut State, id: &str) -> Result<NetworkSettings> {
    let Some(entry) = state.containers.get(id) else {
        return Err(RuntimeError::no_such_container(id));
    };
    if let Some(other) = entry.host_config.network_mode.strip_prefix("container:") {
        let other = state.container(other)?;
        if !other.status().is_alive() {
            return Err(RuntimeError::InvalidState(format!(
                "cannot join network of a non running container: {}",
                other.id
            )));
        }
    }
    let (name, wanted) = (entry.name.clone(), entry.wanted_networks());
    let mut settings = NetworkSettings {
        sandbox_id: id.to_owned(),
        sandbox_key: format!("/mock/netns/{id}"),
        ..NetworkSettings::default()
    };
    if !matches!(entry.host_config.network_mode.as_str(), "none" | "host") {
        settings.ports = state.publish_ports(entry)?;
    }
    for (network, endpoint) in wanted {
        let (network, endpoint) = state.networks.join(&network, id, &name, &endpoint)?;
        settings.networks.insert(network, endpoint);
    }
    Ok(settings)
}

/// The first process, with all that it starts from.
fn prepare(entry: &Entry, linked: &[String]) -> std::result::Result<(Env, Process), Failure> {
    let config = &entry.config;
    let world = Arc::new(World {
        fs: entry.fs.clone(),
        processes: Arc::new(Processes::default()),
        hostname: config.hostname.clone(),
    });
    let user = user::resolve(&world.fs(), &config.user).map_err(|text| failure(125, &text))?;
    let vars = variables(entry, linked, &user);
    let cwd = if config.working_dir.is_empty() {
        "/"
    } else {
        &config.working_dir
    };
    let cwd = {
        let mut fs = world.fs();
        // Docker makes a working directory that is missing.
        if fs.look("/", cwd, true).is_err() {
            fs.make_dir("/", cwd, true)
                .map_err(|error| failure(125, error.text()))?;
        }
        fs.resolve("/", cwd, true)
            .map_err(|error| failure(125, error.text()))?
    };
    let path = vars
        .get("PATH")
        .map(|(path, _)| path.as_str())
        .unwrap_or_default();
    shell::lookup(&world.fs(), &cwd, path, &entry.path)
        .map_err(|error| failure(error.code, &error.text))?;
    let streams = &entry.streams;
    let sink = |kind| Sink::Stream {
        output: streams.output.clone(),
        kind,
        tty: streams.tty.is_some(),
    };
    let errors = if streams.tty.is_some() {
        StreamKind::Stdout
    } else {
        StreamKind::Stderr
    };
    if let (Some(tty), Some([rows, cols])) = (&streams.tty, entry.host_config.console_size)
        && (rows, cols) != (0, 0)
    {
        tty.resize(coracle_runtime::io::TerminalSize { rows, cols });
    }
    // An init process as the first one leaves the command free to die of signals.
    let init = entry.host_config.init != Some(true);
    let process = world.processes.add(0, &entry.command(), init);
    let env = Env {
        target: process.target.clone(),
        vars,
        cwd,
        user,
        tty: streams.tty.clone(),
        io: Io {
            stdin: Source::Input(streams.input.clone()),
            stdout: sink(StreamKind::Stdout),
            stderr: sink(errors),
        },
        world,
    };
    Ok((env, process))
}

/// What every container has, then what its links and its configuration give it.
pub(super) fn variables(
    entry: &Entry,
    linked: &[String],
    user: &User,
) -> BTreeMap<String, (String, bool)> {
    let mut vars = BTreeMap::from([
        ("PATH".to_owned(), (PATH.to_owned(), true)),
        ("HOSTNAME".to_owned(), (entry.config.hostname.clone(), true)),
    ]);
    if entry.config.tty {
        vars.insert("TERM".into(), ("xterm".into(), true));
    }
    for line in linked.iter().chain(&entry.config.env) {
        match line.split_once('=') {
            Some((name, value)) => drop(vars.insert(name.to_owned(), (value.to_owned(), true))),
            // A name alone takes the variable away.
            None => drop(vars.remove(line)),
        }
    }
    let home = user.home.as_deref().unwrap_or("/");
    vars.entry("HOME".into())
        .or_insert_with(|| (home.to_owned(), true));
    vars
}
