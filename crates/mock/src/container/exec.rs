//! Further processes in running containers.

use std::collections::HashMap;
use std::sync::Arc;

use coracle_runtime::exec::{Exec, ExecSpec, StartExec};
use coracle_runtime::io::{Attached, StreamKind, TerminalSize};
use coracle_runtime::{Result, RuntimeError, Status};

use super::attach::{INT, pump, receive};
use super::start::variables;
use super::{Entry, not_running, user};
use crate::engine::{Engine, State};
use crate::ident;
use crate::process::run::drive;
use crate::process::target::Process;
use crate::process::{Input, Output, Tty};
use crate::shell::{self, Env, Io, PATH, Sink, Source};

/// All execs, by id.
#[derive(Debug, Default)]
pub(crate) struct Execs {
    table: HashMap<String, Known>,
}

#[derive(Clone, Debug)]
struct Known {
    exec: Exec,
    /// Variables that its container's links gave it.
    linked: Vec<String>,
    started: bool,
    tty: Option<Arc<Tty>>,
}

impl Execs {
    /// Ended execs that are kept for who asks for their exit code.
    const KEPT: usize = 1024;

    fn insert(&mut self, exec: Exec, linked: Vec<String>) {
        if self.table.len() >= Self::KEPT {
            self.table
                .retain(|_, known| known.exec.running || !known.started);
        }
        self.table.insert(
            exec.id.clone(),
            Known {
                exec,
                linked,
                started: false,
                tty: None,
            },
        );
    }

    fn known(&mut self, id: &str) -> Result<&mut Known> {
        self.table
            .get_mut(id)
            .ok_or_else(|| RuntimeError::no_such_exec(id))
    }

    pub(crate) fn get(&self, id: &str) -> Result<Exec> {
        let known = self
            .table
            .get(id)
            .ok_or_else(|| RuntimeError::no_such_exec(id))?;
        Ok(known.exec.clone())
    }

    /// Ids of a container's execs that run, or wait for their start.
    pub(crate) fn running_in(&self, container: &str) -> Vec<String> {
        let mut ids: Vec<String> = self
            .table
            .values()
            .filter(|known| known.exec.container_id == container)
            .filter(|known| known.exec.running || !known.started)
            .map(|known| known.exec.id.clone())
            .collect();
        ids.sort();
        ids
    }

    /// With the container's first process all others ended.
    pub(crate) fn container_ended(&mut self, container: &str) {
        for known in self
            .table
            .values_mut()
            .filter(|known| known.exec.container_id == container)
        {
            if known.exec.running {
                known.exec.running = false;
                known.exec.pid = 0;
                known.exec.exit_code.get_or_insert(137);
            }
            known.started = true;
        }
    }

    pub(crate) fn container_removed(&mut self, container: &str) {
        self.table
            .retain(|_, known| known.exec.container_id != container);
    }
}

fn paused(id: &str) -> RuntimeError {
    RuntimeError::InvalidState(format!(
        "Container {id} is paused, unpause the container before exec"
    ))
}

fn check_running(entry: &Entry) -> Result<()> {
    match entry.status() {
        Status::Running => Ok(()),
        Status::Paused => Err(paused(&entry.id)),
        _ => Err(not_running(&entry.id)),
    }
}

/// Prepares a process; gives its id.
pub(crate) fn create(engine: &Engine, container: &str, spec: ExecSpec) -> Result<String> {
    let mut state = engine.lock();
    let entry = state.container(container)?;
    check_running(entry)?;
    if spec.cmd.is_empty() {
        return Err(RuntimeError::InvalidArgument(
            "No exec command specified".into(),
        ));
    }
    let linked = state.linked_now(entry)?;
    let id = ident::new_id();
    let action = format!("exec_create: {}", spec.cmd.join(" "));
    engine.emit(entry, &action, &[("execID", &id)]);
    let container_id = entry.id.clone();
    let exec = Exec {
        id: id.clone(),
        container_id,
        spec,
        ..Exec::default()
    };
    state.execs.insert(exec, linked);
    Ok(id)
}

/// Starts it; gives its streams unless nobody attaches.
pub(crate) fn start(engine: &Arc<Engine>, id: &str, start: StartExec) -> Result<Option<Attached>> {
    let mut state = engine.lock();
    let State {
        execs, containers, ..
    } = &mut *state;
    let known = execs.known(id)?;
    let entry = containers
        .get(&known.exec.container_id)
        .ok_or_else(|| RuntimeError::no_such_container(&known.exec.container_id))?;
    check_running(entry)?;
    if known.exec.running {
        return Err(RuntimeError::InvalidState(format!(
            "Error: Exec command {id} is already running"
        )));
    }
    if known.started {
        return Err(RuntimeError::InvalidState(format!(
            "Error: Exec command {id} has already run"
        )));
    }
    known.started = true;
    let spec = known.exec.spec.clone();
    let attach = !start.detach;
    let output = Arc::new(Output::new(None));
    let stdin = attach && spec.attach_stdin;
    let input = Arc::new(if stdin {
        Input::default()
    } else {
        Input::closed()
    });
    let size = start.size.or_else(|| {
        spec.console_size
            .map(|[rows, cols]| TerminalSize { rows, cols })
    });
    let tty = spec.tty.then(|| Arc::new(Tty::new(size)));
    known.tty = tty.clone();
    let linked = std::mem::take(&mut known.linked);
    let (env, process) = match prepare(entry, &spec, &linked, &output, &input, tty.clone()) {
        Ok(prepared) => prepared,
        Err((code, text)) => {
            known.exec.exit_code = Some(code);
            return Err(match code {
                126 | 127 => RuntimeError::InvalidArgument(format!(
                    "OCI runtime exec failed: exec failed: unable to start container process: {text}"
                )),
                _ => RuntimeError::Internal(text),
            });
        }
    };
    known.exec.running = true;
    known.exec.pid = engine.new_pid();
    let action = format!("exec_start: {}", spec.cmd.join(" "));
    engine.emit(entry, &action, &[("execID", id)]);
    let target = process.target.clone();
    let attached = attach.then(|| {
        let (receiver, _) = output.attach(spec.attach_stdout, spec.attach_stderr);
        let pipe = stdin.then(|| {
            let (ours, theirs) = tokio::io::duplex(64 << 10);
            let ends = tty.is_none();
            let interrupted = target.clone();
            tokio::spawn(pump(
                theirs,
                input,
                output.clone(),
                tty,
                move || interrupted.signal(INT, false),
                ends,
            ));
            Box::pin(ours) as _
        });
        Attached {
            output: receive(receiver),
            input: pipe,
            tty: spec.tty,
        }
    });
    let paused = entry.running()?.paused.subscribe();
    let work = shell::run(env, spec.cmd, process);
    let (engine, id) = (engine.clone(), id.to_owned());
    tokio::spawn(async move {
        let code = drive(work, target, paused).await;
        // It is known before the streams end: who has read them all may ask.
        ended(&engine, &id, code);
        output.end();
    });
    Ok(attached)
}

/// The process, with all that it starts from; else an exit code and Docker's text.
fn prepare(
    entry: &Entry,
    spec: &ExecSpec,
    linked: &[String],
    output: &Arc<Output>,
    input: &Arc<Input>,
    tty: Option<Arc<Tty>>,
) -> std::result::Result<(Env, Process), (i32, String)> {
    let Some(run) = &entry.run else {
        return Err((128, not_running(&entry.id).to_string()));
    };
    let mut env = run.env.clone();
    env.vars = variables(entry, linked, &env.user);
    for line in &spec.env {
        match line.split_once('=') {
            Some((name, value)) => {
                drop(env.vars.insert(name.to_owned(), (value.to_owned(), true)));
            }
            None => drop(env.vars.remove(line)),
        }
    }
    if spec.tty {
        env.vars
            .entry("TERM".into())
            .or_insert(("xterm".into(), true));
    }
    if !spec.user.is_empty() {
        env.user = user::resolve(&env.world.fs(), &spec.user).map_err(|text| (125, text))?;
    }
    if !spec.working_dir.is_empty() {
        let found = env.world.fs().look("/", &spec.working_dir, true);
        env.cwd = match found {
            Ok((real, node)) if node.is_dir() => real,
            _ => {
                return Err((
                    126,
                    format!(
                        "chdir to cwd (\"{}\") set in config.json failed: no such file or directory",
                        spec.working_dir
                    ),
                ));
            }
        };
    }
    let command = spec.cmd.first().map(String::as_str).unwrap_or_default();
    let path = env.var("PATH").unwrap_or(PATH).to_owned();
    shell::lookup(&env.world.fs(), &env.cwd, &path, command)
        .map_err(|error| (error.code, error.text))?;
    let sink = |kind| Sink::Stream {
        output: output.clone(),
        kind,
        tty: spec.tty,
    };
    env.io = Io {
        stdin: Source::Input(input.clone()),
        stdout: sink(StreamKind::Stdout),
        stderr: sink(if spec.tty {
            StreamKind::Stdout
        } else {
            StreamKind::Stderr
        }),
    };
    env.tty = tty;
    let process = run.processes.add(0, &spec.cmd, false);
    env.target = process.target.clone();
    Ok((env, process))
}

fn ended(engine: &Engine, id: &str, code: i32) {
    let mut state = engine.lock();
    let State {
        execs, containers, ..
    } = &mut *state;
    let Ok(known) = execs.known(id) else { return };
    known.exec.running = false;
    known.exec.pid = 0;
    known.exec.exit_code = Some(code);
    if let Some(entry) = containers.get(&known.exec.container_id) {
        let code = code.to_string();
        engine.emit(entry, "exec_die", &[("execID", id), ("exitCode", &code)]);
    }
}

/// Sets the size of its terminal.
pub(crate) fn resize(engine: &Engine, id: &str, size: TerminalSize) -> Result<()> {
    let mut state = engine.lock();
    let State {
        execs, containers, ..
    } = &mut *state;
    let known = execs.known(id)?;
    if let Some(entry) = containers.get(&known.exec.container_id) {
        entry.running()?;
    }
    if !known.exec.running {
        return Err(RuntimeError::InvalidState(format!(
            "exec command {id} is not running"
        )));
    }
    match &known.tty {
        Some(tty) => tty.resize(size),
        None => return Err(no_terminal()),
    }
    Ok(())
}

pub(crate) fn no_terminal() -> RuntimeError {
    RuntimeError::InvalidState("the process has no terminal".into())
}
