//! A thread that is there only while there is something to do.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// Does jobs one after the other, off the caller's thread.
pub(crate) struct Worker<J> {
    shared: Arc<Shared<J>>,
}

struct Shared<J> {
    name: &'static str,
    run: Box<dyn Fn(J) + Send + Sync>,
    state: Mutex<State<J>>,
    idle: Condvar,
}

struct State<J> {
    jobs: VecDeque<J>,
    running: bool,
}

impl<J: Send + 'static> Worker<J> {
    pub(crate) fn new(name: &'static str, run: impl Fn(J) + Send + Sync + 'static) -> Worker<J> {
        let state = Mutex::new(State {
            jobs: VecDeque::new(),
            running: false,
        });
        Worker {
            shared: Arc::new(Shared {
                name,
                run: Box::new(run),
                state,
                idle: Condvar::new(),
            }),
        }
    }

    /// Queues a job.
    pub(crate) fn push(&self, job: J) {
        let mut state = lock(&self.shared.state);
        state.jobs.push_back(job);
        if state.running {
            return;
        }
        let shared = Arc::clone(&self.shared);
        let started = std::thread::Builder::new()
            .name(shared.name.into())
            .stack_size(256 << 10)
            .spawn(move || work(&shared));
        state.running = started.is_ok();
        if let Err(error) = started {
            // The job stays queued: the next push tries again, and the next open cleans up.
            tracing::warn!(%error, "can't start the {} thread", self.shared.name);
        }
    }

    /// Waits until all jobs are done.
    pub(crate) fn wait(&self) {
        let mut state = lock(&self.shared.state);
        while state.running {
            state = self
                .shared
                .idle
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }
}

fn work<J>(shared: &Shared<J>) {
    loop {
        let mut state = lock(&shared.state);
        let Some(job) = state.jobs.pop_front() else {
            state.running = false;
            shared.idle.notify_all();
            return;
        };
        drop(state);
        (shared.run)(job);
    }
}

/// Takes a lock. What it guards is valid at every moment, so another thread's panic is no reason
/// not to go on.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU32, Ordering};

    #[test]
    fn all_jobs_are_done_in_order() {
        static SUM: AtomicU32 = AtomicU32::new(0);
        let worker = Worker::new("test", |n: u32| {
            assert_eq!(SUM.fetch_add(1, Ordering::SeqCst), n);
        });
        for n in 0..100 {
            worker.push(n);
            if n == 50 {
                worker.wait();
            }
        }
        worker.wait();
        assert_eq!(SUM.load(Ordering::SeqCst), 100);
    }
}
