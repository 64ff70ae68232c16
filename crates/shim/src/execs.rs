//! Further processes in the running container.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;

use coracle_sandbox::SandboxError;
use coracle_sandbox::Streams;
use coracle_task::ErrorKind;
use coracle_task::Event;
use coracle_task::ExecConfig;
use coracle_task::ExecState;
use coracle_task::Started;
use coracle_task::TaskError;

use crate::container::Container;
use crate::proc::Phase;
use crate::proc::Proc;

/// How many execs may be known at a time.
const MAX_EXECS: usize = 4096;

/// The execs that weren't deleted.
#[derive(Default)]
pub(crate) struct Execs {
    table: Mutex<BTreeMap<String, Exec>>,
}

struct Exec {
    proc: Arc<Proc>,
    /// Until it is started.
    config: Option<ExecConfig>,
}

impl Execs {
    /// Makes one known.
    pub(crate) fn add(&self, config: ExecConfig) -> Result<(), TaskError> {
        let mut table = self.lock();
        let id = config.exec_id.clone();
        if id.is_empty() || id.len() > 256 {
            let message = "an exec id has 1 to 256 bytes";
            return Err(TaskError::shim(ErrorKind::InvalidArgument, message));
        }
        if table.contains_key(&id) {
            let message = format!("exec {id} exists already");
            return Err(TaskError::shim(ErrorKind::AlreadyExists, message));
        }
        if table.len() >= MAX_EXECS {
            let message = format!("there are {MAX_EXECS} execs already: delete some first");
            return Err(TaskError::shim(ErrorKind::InvalidState, message));
        }
        let proc = Arc::new(Proc::new(config.terminal, true));
        table.insert(
            id,
            Exec {
                proc,
                config: Some(config),
            },
        );
        Ok(())
    }

    /// Forgets one that doesn't run.
    pub(crate) fn remove(&self, id: &str) -> Result<(), TaskError> {
        let mut table = self.lock();
        let exec = table.get(id).ok_or_else(|| unknown(id))?;
        if matches!(exec.proc.phase(), Phase::Starting | Phase::Running(..)) {
            let message = format!("exec {id} is running");
            return Err(TaskError::shim(ErrorKind::InvalidState, message));
        }
        if let Some(exec) = table.remove(id) {
            abandon(&exec.proc, "the exec was deleted before its start");
        }
        Ok(())
    }

    /// The container ended: what was not started never will be.
    pub(crate) fn abandon(&self) {
        for exec in self.lock().values() {
            abandon(&exec.proc, "the container ended before the exec's start");
        }
    }

    pub(crate) fn get(&self, id: &str) -> Result<Arc<Proc>, TaskError> {
        self.lock()
            .get(id)
            .map(|exec| exec.proc.clone())
            .ok_or_else(|| unknown(id))
    }

    pub(crate) fn states(&self) -> Vec<ExecState> {
        let table = self.lock();
        let state = |(id, exec): (&String, &Exec)| {
            let phase = exec.proc.phase();
            ExecState {
                exec_id: id.clone(),
                status: phase.status(),
                pid: phase.started().map_or(0, |started| started.pid),
                exit: phase.exit().cloned(),
            }
        };
        table.iter().map(state).collect()
    }

    fn take_config(&self, id: &str) -> Result<(Arc<Proc>, ExecConfig), TaskError> {
        let mut table = self.lock();
        let exec = table.get_mut(id).ok_or_else(|| unknown(id))?;
        exec.proc.claim_start()?;
        let config = exec.config.take().ok_or_else(|| unknown(id))?;
        Ok((exec.proc.clone(), config))
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Exec>> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Container {
    /// Starts a known exec.
    pub(crate) async fn start_exec(self: &Arc<Self>, id: &str) -> Result<Started, TaskError> {
        self.check_thawed()?;
        let (proc, config) = self.execs.take_config(id)?;
        // Without anybody to read it, output is best not made.
        let streams = Streams {
            stdin: config.stdin,
            output: proc.fanout.has_readers(),
        };
        let launched = match self.sandbox.exec(&config, streams).await {
            Ok(launched) => launched,
            Err(error) => {
                let exit = proc.fail(&error);
                proc.settle(exit);
                return Err(self.refused(error));
            }
        };
        let (started, ending) = proc.begin(launched, None).await;
        let exec_id = config.exec_id;
        let event = Event::ExecStarted {
            exec_id: exec_id.clone(),
            pid: started.pid,
        };
        self.subscribers.publish(&event);
        let container = self.clone();
        tokio::spawn(async move {
            let exit = ending.wait().await;
            proc.stdin.end();
            proc.fanout.end();
            proc.settle(exit.clone());
            container
                .subscribers
                .publish(&Event::ExecExited { exec_id, exit });
        });
        Ok(started)
    }
}

/// Tells those who wait for the start of this, or are attached to it.
fn abandon(proc: &Proc, why: &str) {
    if proc.claim_start().is_ok() {
        let exit = proc.fail(&SandboxError::state(why));
        proc.settle(exit);
    }
}

fn unknown(id: &str) -> TaskError {
    TaskError::shim(ErrorKind::NotFound, format!("there is no exec {id}"))
}
