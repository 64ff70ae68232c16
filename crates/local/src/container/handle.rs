//! How the rest of the engine talks to a container's task, and what it sees of it.

use std::sync::Arc;

use coracle_runtime::container::{Changed, Container, ExitStatus, RemoveOptions, UpdateOptions};
use coracle_runtime::io::{AttachOptions, Attached};
use coracle_runtime::spec::EndpointSettings;
use coracle_runtime::{Result, RuntimeError, Status};
use coracle_task::Client;
use oci_spec::runtime::Process;
use tokio::sync::{mpsc, oneshot, watch};

use super::record::{Dirs, Record};
use crate::machine::files::Opened;

/// What a container is asked; each is answered once it is done, or refused with a reason.
pub(crate) enum Command {
    Start {
        reply: Reply<Changed>,
    },
    /// Sends a signal. With `stop`, the user means it to end: no restart policy starts it again.
    Signal {
        signal: i32,
        stop: bool,
        reply: Reply<()>,
    },
    /// Freezes. For a commit, the next daemon thaws it if this one dies meanwhile.
    Pause {
        for_commit: bool,
        reply: Reply<()>,
    },
    Unpause {
        reply: Reply<()>,
    },
    /// Keeps a container that removes itself from doing so at its next end, or no longer.
    Hold {
        hold: bool,
        reply: Reply<()>,
    },
    Rename {
        name: String,
        reply: Reply<()>,
    },
    Update {
        options: Box<UpdateOptions>,
        reply: Reply<Vec<String>>,
    },
    Remove {
        options: RemoveOptions,
        reply: Reply<()>,
    },
    Attach {
        options: AttachOptions,
        reply: Reply<Attached>,
    },
    /// Joins a network, at once where it runs.
    Connect {
        network: String,
        settings: Box<EndpointSettings>,
        reply: Reply<()>,
    },
    /// Leaves one.
    Disconnect {
        network: String,
        reply: Reply<()>,
    },
    /// Loses a link, by its alias.
    Unlink {
        alias: String,
        reply: Reply<()>,
    },
    /// A health check's outcome, of the run it belongs to.
    Health {
        run: u64,
        result: coracle_runtime::container::HealthResult,
    },
    /// Opens the files of one in a machine, which is started for them if it doesn't run.
    Files {
        reply: Reply<Opened>,
    },
    /// Looks at a field that changes outside of the task, such as the set of running execs.
    Refresh,
}

pub(crate) type Reply<T> = oneshot::Sender<Result<T>>;

/// What a container's task shows of it.
#[derive(Clone, Debug)]
pub(crate) struct Published {
    pub(crate) container: Arc<Container>,
    pub(crate) record: Arc<Record>,
    /// How many times it has ended (or failed to start).
    pub(crate) exits: u64,
    /// How it last ended.
    pub(crate) last: ExitStatus,
    /// Its process, while there is one.
    pub(crate) run: Option<Run>,
    pub(crate) removed: bool,
}

/// A running container's process.
#[derive(Clone, Debug)]
pub(crate) struct Run {
    pub(crate) client: Client,
    /// What the first process was started as: further ones take after it.
    pub(crate) process: Arc<Process>,
}

/// A container, for those outside of its task. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Handle {
    pub(crate) id: Arc<str>,
    pub(crate) dirs: Arc<Dirs>,
    pub(crate) commands: mpsc::UnboundedSender<Command>,
    pub(crate) published: watch::Receiver<Published>,
}

impl Handle {
    pub(crate) fn now(&self) -> Published {
        self.published.borrow().clone()
    }

    pub(crate) fn status(&self) -> Status {
        self.published.borrow().container.state.status
    }

    pub(crate) fn name(&self) -> String {
        self.published.borrow().container.name.clone()
    }

    /// Asks, and waits for the answer.
    pub(crate) async fn ask<T>(&self, command: impl FnOnce(Reply<T>) -> Command) -> Result<T> {
        let (reply, answer) = oneshot::channel();
        let gone = || RuntimeError::no_such_container(&self.id);
        self.commands.send(command(reply)).map_err(|_| gone())?;
        answer.await.map_err(|_| gone())?
    }

    /// The process of a running container, or Docker's text for why there is none.
    pub(crate) fn running(&self) -> Result<Run> {
        let published = self.published.borrow();
        match (published.container.state.status, &published.run) {
            (Status::Running | Status::Paused, Some(run)) => Ok(run.clone()),
            _ => Err(not_running(&self.id)),
        }
    }

    /// Waits until it fits; `None` where it was removed before.
    pub(crate) async fn until(
        &self,
        mut fits: impl FnMut(&Published) -> bool,
    ) -> Option<Published> {
        let mut published = self.published.clone();
        let found = published.wait_for(|now| now.removed || fits(now)).await;
        found.ok().filter(|now| fits(now)).map(|now| now.clone())
    }
}

/// Docker's text.
pub(crate) fn not_running(id: &str) -> RuntimeError {
    RuntimeError::InvalidState(format!("container {id} is not running"))
}

impl Handle {
    /// Publishes an event about this container.
    pub(crate) fn emit(&self, engine: &crate::engine::Engine, action: &str) {
        self.emit_with(engine, action, &[]);
    }

    /// Publishes an event about this container, with more about it.
    pub(crate) fn emit_with(
        &self,
        engine: &crate::engine::Engine,
        action: &str,
        extra: &[(&str, &str)],
    ) {
        let record = self.now().record;
        engine.events.publish(
            coracle_runtime::event::EventKind::Container,
            action,
            record.id.as_str(),
            super::actor::attributes(&record, extra),
        );
    }
}
