//! The end of a run, and what follows it.

use std::sync::Arc;
use std::time::Duration;

use coracle_runtime::Status;
use coracle_runtime::container::ExitStatus;
use jiff::Timestamp;

use super::{Entry, start};
use crate::engine::{Engine, State};

impl Engine {
    /// A container's first process has ended.
    pub(crate) fn ended(self: &Arc<Self>, id: &str, number: u64, code: i32) {
        let mut state = self.lock();
        let current = state
            .containers
            .get(id)
            .is_some_and(|entry| entry.exits == number);
        if current && self.settle(&mut state, id, code) {
            self.after_end(&mut state, id);
        }
    }

    /// Takes the end of a run into the state; `false` where it did not run.
    pub(crate) fn settle(&self, state: &mut State, id: &str, code: i32) -> bool {
        let Some(mut entry) = state.containers.remove(id) else {
            return false;
        };
        let Some(run) = entry.run.take() else {
            state.containers.insert(id.to_owned(), entry);
            return false;
        };
        run.processes.kill_all();
        entry.streams.output.end();
        entry.streams.input.close();
        entry.streams = Entry::fresh_streams(&entry.config, entry.log.as_ref());
        state.execs.container_ended(id);
        state.networks.leave(id);
        entry.network = entry.idle_network(state);
        entry.state.status = Status::Exited;
        entry.state.pid = 0;
        entry.state.exit_code = code;
        entry.state.finished_at = Some(Timestamp::now());
        entry.last = ExitStatus { code, error: None };
        let ran = last_run(&entry).as_secs().to_string();
        let text = code.to_string();
        self.emit(
            &entry,
            "die",
            &[("exitCode", &text), ("execDuration", &ran)],
        );
        state.containers.insert(id.to_owned(), entry);
        true
    }

    /// A restart, a removal, or nothing. The end is published together with what follows, so that
    /// nobody sees a container between two states.
    pub(crate) fn after_end(self: &Arc<Self>, state: &mut State, id: &str) {
        let Some(entry) = state.containers.get_mut(id) else {
            return;
        };
        entry.exits += 1;
        let policy = &entry.host_config.restart_policy;
        if coracle_runtime::restart::wanted(
            policy,
            entry.last.code,
            entry.restart_count,
            entry.stopped_by_user,
        ) {
            let ran = last_run(entry);
            let pause = entry.backoff.next(ran);
            entry.state.status = Status::Restarting;
            let (engine, id, exits) = (self.clone(), id.to_owned(), entry.exits);
            tokio::spawn(async move {
                tokio::time::sleep(pause).await;
                engine.restart_now(&id, exits);
            });
        }
        entry.publish();
        if entry.host_config.auto_remove {
            state.discard(self, id, true);
        }
    }

    fn restart_now(self: &Arc<Self>, id: &str, exits: u64) {
        let mut state = self.lock();
        let Some(entry) = state.containers.get_mut(id) else {
            return;
        };
        // It was started, stopped or removed meanwhile.
        if entry.status() != Status::Restarting || entry.exits != exits {
            return;
        }
        entry.restart_count += 1;
        if start::start_locked(self, &mut state, id, false).is_err() {
            self.after_end(&mut state, id);
        }
    }
}

/// How long the last run took.
fn last_run(entry: &Entry) -> Duration {
    match (entry.state.started_at, entry.state.finished_at) {
        (Some(start), Some(end)) => {
            Duration::try_from(end.duration_since(start)).unwrap_or_default()
        }
        _ => Duration::ZERO,
    }
}
