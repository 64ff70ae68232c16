//! Further processes in running containers.
//!
//! An exec is known from its creation until its container is removed, but at most
//! [`KEPT`](Execs::KEPT) ended ones in all: nobody asks for old ones, and they must not pile up.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use coracle_runtime::exec::{Exec, ExecSpec, StartExec};
use coracle_runtime::io::{Attached, BoxStream, StreamKind, TerminalSize};
use coracle_runtime::{Result, RuntimeError, Status};
use coracle_task::{Client, ExecConfig, TaskError};
use futures_util::{StreamExt, stream};
use oci_spec::runtime::Process;
use tokio::sync::oneshot;

use super::actor::task_error;
use super::attach;
use super::bundle;
use super::handle::{Command, Handle, not_running};
use crate::engine::Engine;
use crate::ident;

/// All execs, by id.
#[derive(Debug, Default)]
pub(crate) struct Execs {
    table: Mutex<HashMap<String, Entry>>,
}

#[derive(Clone, Debug)]
struct Entry {
    exec: Exec,
    /// What it is to start as; none once it has.
    process: Option<Process>,
}

impl Execs {
    /// Ended execs that are kept for who asks for their exit code.
    const KEPT: usize = 1024;

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Entry>> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn insert(&self, exec: Exec, process: Process) {
        let mut table = self.lock();
        if table.len() >= Self::KEPT {
            table.retain(|_, entry| entry.exec.running || entry.process.is_some());
        }
        table.insert(
            exec.id.clone(),
            Entry {
                exec,
                process: Some(process),
            },
        );
    }

    fn update(&self, id: &str, change: impl FnOnce(&mut Exec)) {
        if let Some(entry) = self.lock().get_mut(id) {
            change(&mut entry.exec);
        }
    }

    /// Gives what it is to start as, which can happen once.
    fn claim(&self, id: &str) -> Result<(Exec, Process)> {
        let mut table = self.lock();
        let entry = table
            .get_mut(id)
            .ok_or_else(|| RuntimeError::no_such_exec(id))?;
        if entry.exec.running {
            return Err(RuntimeError::InvalidState(format!(
                "Error: Exec command {id} is already running"
            )));
        }
        let process = entry.process.take().ok_or_else(|| {
            RuntimeError::InvalidState(format!("Error: Exec command {id} has already run"))
        })?;
        Ok((entry.exec.clone(), process))
    }

    pub(crate) fn get(&self, id: &str) -> Result<Exec> {
        self.lock()
            .get(id)
            .map(|entry| entry.exec.clone())
            .ok_or_else(|| RuntimeError::no_such_exec(id))
    }

    /// Ids of a container's execs that run, or wait for their start.
    pub(crate) fn running_in(&self, container: &str) -> Vec<String> {
        let table = self.lock();
        let mut ids: Vec<String> = table
            .values()
            .filter(|entry| entry.exec.container_id == container)
            .filter(|entry| entry.exec.running || entry.process.is_some())
            .map(|entry| entry.exec.id.clone())
            .collect();
        ids.sort();
        ids
    }

    /// With the container's first process all others ended.
    pub(crate) fn container_ended(&self, container: &str) {
        for entry in self
            .lock()
            .values_mut()
            .filter(|entry| entry.exec.container_id == container)
        {
            if entry.exec.running {
                entry.exec.running = false;
                entry.exec.pid = 0;
                entry.exec.exit_code.get_or_insert(137);
            }
            entry.process = None;
        }
    }

    pub(crate) fn container_removed(&self, container: &str) {
        self.lock()
            .retain(|_, entry| entry.exec.container_id != container);
    }
}

/// Prepares a process; gives its id.
///
/// `name` is what the user calls the container.
pub(crate) fn create(
    engine: &Engine,
    handle: &Handle,
    name: &str,
    spec: ExecSpec,
) -> Result<String> {
    let now = handle.now();
    if now.container.state.status == Status::Paused {
        return Err(paused(name));
    }
    let Some(run) = &now.run else {
        return Err(not_running(&handle.id));
    };
    let model = bundle::model(engine, handle, &run.process)?;
    let process = coracle_spec::exec_process(&model, &spec, &engine.config.host)?;
    let id = ident::new_id();
    let action = format!("exec_create: {}", spec.cmd.join(" "));
    let exec = Exec {
        id: id.clone(),
        container_id: handle.id.to_string(),
        spec,
        ..Default::default()
    };
    engine.execs.insert(exec, process);
    handle.emit_with(engine, &action, &[("execID", &id)]);
    let _ = handle.commands.send(Command::Refresh);
    Ok(id)
}

/// Docker's text.
fn paused(name: &str) -> RuntimeError {
    RuntimeError::InvalidState(format!(
        "Container {name} is paused, unpause the container before exec"
    ))
}

/// Starts it; gives its streams unless nobody attaches.
///
/// It runs to its end even if nobody waits any more: an exec that counts as started must become one.
pub(crate) async fn start(
    engine: &Arc<Engine>,
    id: &str,
    start: StartExec,
) -> Result<Option<Attached>> {
    let (engine, id) = (engine.clone(), id.to_owned());
    tokio::spawn(async move { start_whole(&engine, &id, start).await })
        .await
        .unwrap_or_else(|error| {
            Err(RuntimeError::Internal(format!(
                "the start was interrupted: {error}"
            )))
        })
}

async fn start_whole(engine: &Arc<Engine>, id: &str, start: StartExec) -> Result<Option<Attached>> {
    let known = engine.execs.get(id)?;
    let handle = engine.find(&known.container_id)?;
    let now = handle.now();
    if now.container.state.status == Status::Paused {
        return Err(paused(&handle.id));
    }
    let run = handle.running()?;
    let (exec, process) = engine.execs.claim(id)?;
    let user = match exec.spec.user.as_str() {
        "" => now.record.config.user.clone(),
        given => given.to_owned(),
    };
    let size = start
        .size
        .map(|size| (size.rows, size.cols))
        .or_else(|| exec.spec.console_size.map(|[rows, cols]| (rows, cols)));
    let attach = !start.detach;
    let stdin = attach && exec.spec.attach_stdin;
    let config = ExecConfig {
        exec_id: id.to_owned(),
        process,
        terminal: exec.spec.tty,
        stdin,
        user: Some(user).filter(|user| !user.is_empty()),
        groups: now.record.host_config.group_add.clone(),
        console_size: size.filter(|size| *size != (0, 0)),
    };
    let result = launch(&run.client, config, attach.then_some(&exec.spec)).await;
    let (pid, attached) = match result {
        Ok(launched) => launched,
        Err(error) => {
            // Docker's: 127 for a command that is not there, 126 for all else.
            let code = match error.kind() {
                Some(coracle_task::ErrorKind::CommandNotFound) => 127,
                _ => 126,
            };
            let client = run.client.clone();
            let exec_id = id.to_owned();
            tokio::spawn(async move { client.delete_exec(&exec_id).await });
            engine.execs.update(id, |exec| exec.exit_code = Some(code));
            let _ = handle.commands.send(Command::Refresh);
            // The container may have ended under it, and nobody have noticed yet.
            let init = format!("/proc/{}", now.container.state.pid);
            if !std::path::Path::new(&init).exists() {
                return Err(not_running(&handle.id));
            }
            return Err(exec_error(error));
        }
    };
    engine.execs.update(id, |exec| {
        exec.running = true;
        exec.pid = pid;
    });
    let action = format!("exec_start: {}", exec.spec.cmd.join(" "));
    handle.emit_with(engine, &action, &[("execID", id)]);
    let (ended, end) = oneshot::channel();
    let watch = watch(engine.clone(), handle, run.client, id.to_owned(), ended);
    tokio::spawn(watch);
    Ok(attached.map(|attached| {
        let mut attached = attach::live(attached, stdin, exec.spec.tty);
        attached.output = until(attached.output, end);
        attached
    }))
}

/// An output that ends when the process has, not when it closes its streams: who reads to the end
/// and then asks for the exit code must get it.
fn until(
    output: BoxStream<(StreamKind, Bytes)>,
    end: oneshot::Receiver<()>,
) -> BoxStream<(StreamKind, Bytes)> {
    let end = stream::once(end).filter_map(|_| std::future::ready(None));
    Box::pin(output.chain(end))
}

async fn launch(
    client: &Client,
    config: ExecConfig,
    attach: Option<&ExecSpec>,
) -> std::result::Result<(i32, Option<coracle_task::Attached>), TaskError> {
    let id = config.exec_id.clone();
    client.exec(config).await?;
    let attached = match attach {
        None => None,
        Some(spec) => {
            let options = coracle_task::AttachOptions {
                stdin: spec.attach_stdin,
                stdout: spec.attach_stdout,
                stderr: spec.attach_stderr,
            };
            Some(client.attach(Some(&id), options).await?)
        }
    };
    Ok((client.start_exec(&id).await?.pid, attached))
}

/// Docker's words, which its CLI turns into exit codes 126 and 127.
fn exec_error(error: TaskError) -> RuntimeError {
    match error.kind() {
        Some(_) => match task_error(error) {
            RuntimeError::InvalidArgument(text) => RuntimeError::InvalidArgument(format!(
                "OCI runtime exec failed: exec failed: unable to start container process: {text}"
            )),
            other => other,
        },
        None => task_error(error),
    }
}

/// Follows it to its end.
async fn watch(
    engine: Arc<Engine>,
    handle: Handle,
    client: Client,
    id: String,
    ended: oneshot::Sender<()>,
) {
    let exit = client.wait(Some(&id)).await;
    let code = match &exit {
        Ok(exit) => exit.code,
        // The container ended under it.
        Err(_) => 137,
    };
    engine.execs.update(&id, |exec| {
        exec.running = false;
        exec.pid = 0;
        exec.exit_code = Some(code);
    });
    let _ = ended.send(());
    let code = code.to_string();
    handle.emit_with(&engine, "exec_die", &[("execID", &id), ("exitCode", &code)]);
    let _ = handle.commands.send(Command::Refresh);
    if exit.is_ok() {
        let _ = client.delete_exec(&id).await;
    }
}

/// Sets the size of its terminal.
pub(crate) async fn resize(engine: &Engine, id: &str, size: TerminalSize) -> Result<()> {
    let exec = engine.execs.get(id)?;
    let run = engine.find(&exec.container_id)?.running()?;
    if !exec.running {
        return Err(RuntimeError::InvalidState(format!(
            "exec command {id} is not running"
        )));
    }
    run.client
        .resize(Some(id), size.rows, size.cols)
        .await
        .map_err(task_error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn output_ends_with_the_process_not_with_its_streams() {
        let (ended, end) = oneshot::channel();
        let said = stream::iter([Ok((StreamKind::Stdout, Bytes::from("hi")))]);
        let mut output = until(Box::pin(said), end);
        assert!(matches!(output.next().await, Some(Ok(_))));
        let mut rest = output.next();
        assert!(futures_util::poll!(&mut rest).is_pending());
        ended.send(()).unwrap();
        assert!(rest.await.is_none());
    }
}
