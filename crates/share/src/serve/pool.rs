//! A few threads for calls that may block. They are made when needed and end with the pool.
//!
//! Not tokio's: they have a mask and a directory of their own, and change their user.

use std::collections::VecDeque;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::caller::Worker;

type Job = Box<dyn FnOnce(&Worker) + Send>;

/// A thread without work ends after this.
const IDLE: Duration = Duration::from_secs(10);
/// Nothing here recurses or keeps much on the stack.
const STACK: usize = 128 << 10;

/// Ends its threads when dropped, without waiting for a call that hangs.
pub(super) struct Pool(Arc<Shared>);

struct Shared {
    state: Mutex<State>,
    wake: Condvar,
    descriptors: Arc<OwnedFd>,
    max_threads: usize,
}

#[derive(Default)]
struct State {
    jobs: VecDeque<Job>,
    threads: usize,
    idle: usize,
    closed: bool,
}

impl Pool {
    pub(super) fn new(descriptors: Arc<OwnedFd>, max_threads: usize) -> Pool {
        Pool(Arc::new(Shared {
            state: Mutex::default(),
            wake: Condvar::new(),
            descriptors,
            max_threads,
        }))
    }

    /// Has a thread do `job`. Whoever calls bounds the number of jobs.
    pub(super) fn submit(&self, job: impl FnOnce(&Worker) + Send + 'static) -> io::Result<()> {
        let mut state = self.0.lock();
        if state.jobs.len() >= state.idle && state.threads < self.0.max_threads {
            let shared = self.0.clone();
            let thread = std::thread::Builder::new()
                .name("share".into())
                .stack_size(STACK);
            match thread.spawn(move || shared.run()) {
                Ok(_) => state.threads += 1,
                Err(error) if state.threads == 0 => return Err(error),
                // Those that are there will come to it.
                Err(_) => {}
            }
        }
        state.jobs.push_back(Box::new(job));
        drop(state);
        self.0.wake.notify_one();
        Ok(())
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.closed = true;
        let jobs = std::mem::take(&mut state.jobs);
        drop(state);
        drop(jobs);
        self.0.wake.notify_all();
    }
}

impl Shared {
    /// No code runs under this lock that could leave the state half changed.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn run(&self) {
        // Without its own mask a thread could not do right; its jobs are dropped, which the
        // server sees at its start.
        let worker = Worker::new(&self.descriptors);
        loop {
            let mut state = self.lock();
            let job = loop {
                if let Some(job) = state.jobs.pop_front() {
                    break Some(job);
                }
                if state.closed {
                    break None;
                }
                state.idle += 1;
                let (next, waited) = self
                    .wake
                    .wait_timeout(state, IDLE)
                    .unwrap_or_else(PoisonError::into_inner);
                state = next;
                state.idle -= 1;
                if waited.timed_out() && state.jobs.is_empty() {
                    break None;
                }
            };
            let Some(job) = job else {
                state.threads -= 1;
                return;
            };
            drop(state);
            if let Ok(worker) = &worker {
                job(worker);
            }
        }
    }
}
