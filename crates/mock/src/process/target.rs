//! What signals are sent to.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use coracle_runtime::signal;
use tokio::sync::{Notify, watch};

/// CHLD, CONT, URG, WINCH: ignored by who does not handle them (signal(7)).
const IGNORED: [i32; 4] = [17, 18, 23, 28];
/// STOP, TSTP, TTIN, TTOU: job control is not simulated.
const STOPS: [i32; 4] = [19, 20, 21, 22];

/// One simulated process.
#[derive(Debug)]
pub(crate) struct Target {
    /// Its id in the container.
    pub(crate) pid: i32,
    pub(crate) parent: i32,
    command: Mutex<String>,
    /// The first of its pid namespace: it only gets what it handles (pid_namespaces(7)).
    init: bool,
    handlers: Mutex<Handlers>,
    wake: Notify,
    death: watch::Sender<Option<i32>>,
}

#[derive(Debug, Default)]
struct Handlers {
    traps: HashMap<i32, String>,
    pending: VecDeque<String>,
}

impl Target {
    fn new(pid: i32, parent: i32, command: String, init: bool) -> Self {
        Self {
            pid,
            parent,
            command: Mutex::new(command),
            init,
            handlers: Mutex::default(),
            wake: Notify::new(),
            death: watch::Sender::new(None),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Handlers> {
        self.handlers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The line that it runs.
    pub(crate) fn command(&self) -> String {
        self.command
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// It has become another program.
    pub(crate) fn became(&self, argv: &[String]) {
        *self.command.lock().unwrap_or_else(PoisonError::into_inner) = argv.join(" ");
    }

    /// Delivers a signal; `inside`, from a process of the same container.
    pub(crate) fn signal(&self, number: i32, inside: bool) {
        if number == signal::KILL {
            if !(self.init && inside) {
                self.die(number);
            }
            return;
        }
        let mut handlers = self.lock();
        if let Some(action) = handlers.traps.get(&number).cloned() {
            if !action.is_empty() {
                handlers.pending.push_back(action);
                self.wake.notify_one();
            }
            return;
        }
        drop(handlers);
        if !self.init && number > 0 && !IGNORED.contains(&number) && !STOPS.contains(&number) {
            self.die(number);
        }
    }

    /// Ends it at once.
    pub(crate) fn die(&self, number: i32) {
        self.death
            .send_if_modified(|death| death.replace(number).is_none());
    }

    /// Resolves with the signal that ended it.
    pub(crate) async fn died(&self) -> i32 {
        let mut death = self.death.subscribe();
        match death.wait_for(Option::is_some).await {
            Ok(number) => number.unwrap_or(signal::KILL),
            Err(_) => signal::KILL,
        }
    }

    /// Sets what a shell does on a signal; `None` is the default, an empty line nothing.
    pub(crate) fn trap(&self, number: i32, action: Option<String>) {
        let mut handlers = self.lock();
        match action {
            Some(action) => drop(handlers.traps.insert(number, action)),
            None => drop(handlers.traps.remove(&number)),
        }
    }

    /// The action of a signal that came.
    pub(crate) fn pending(&self) -> Option<String> {
        self.lock().pending.pop_front()
    }

    /// Waits until a handled signal has come.
    pub(crate) async fn woken(&self) {
        loop {
            let woken = self.wake.notified();
            if !self.lock().pending.is_empty() {
                return;
            }
            woken.await;
        }
    }
}

/// The processes of one container's run.
#[derive(Debug, Default)]
pub(crate) struct Processes {
    table: Mutex<BTreeMap<i32, Arc<Target>>>,
    last: std::sync::atomic::AtomicI32,
}

impl Processes {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<i32, Arc<Target>>> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a process; it stays in the table until the guard is dropped.
    pub(crate) fn add(self: &Arc<Self>, parent: i32, argv: &[String], init: bool) -> Process {
        let pid = self.last.fetch_add(1, std::sync::atomic::Ordering::Relaxed) + 1;
        let target = Arc::new(Target::new(pid, parent, argv.join(" "), init));
        self.lock().insert(pid, target.clone());
        Process {
            target,
            table: self.clone(),
        }
    }

    pub(crate) fn get(&self, pid: i32) -> Option<Arc<Target>> {
        self.lock().get(&pid).cloned()
    }

    pub(crate) fn all(&self) -> Vec<Arc<Target>> {
        self.lock().values().cloned().collect()
    }

    /// With the first process all others end.
    pub(crate) fn kill_all(&self) {
        for target in self.all() {
            target.die(signal::KILL);
        }
    }
}

/// A place in the table of processes.
#[derive(Debug)]
pub(crate) struct Process {
    pub(crate) target: Arc<Target>,
    table: Arc<Processes>,
}

impl Drop for Process {
    fn drop(&mut self) {
        self.table.lock().remove(&self.target.pid);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_first_process_only_gets_what_it_handles() {
        let table = Arc::new(Processes::default());
        let init = table.add(0, &["sleep".into()], true);
        init.target.signal(15, false);
        init.target.signal(9, true);
        assert!(init.target.death.borrow().is_none());
        init.target.trap(15, Some("exit 3".into()));
        init.target.signal(15, false);
        init.target.woken().await;
        assert_eq!(init.target.pending().unwrap(), "exit 3");
        init.target.signal(9, false);
        assert_eq!(init.target.died().await, 9);
    }

    #[tokio::test]
    async fn others_die_by_default() {
        let table = Arc::new(Processes::default());
        let process = table.add(1, &["sleep".into()], false);
        process.target.signal(28, true);
        assert!(process.target.death.borrow().is_none());
        process.target.signal(15, true);
        assert_eq!(process.target.died().await, 15);
        drop(process);
        assert!(table.all().is_empty());
    }
}
