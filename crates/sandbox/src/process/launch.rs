//! The thread that makes the container's first process. A half-made container dies with the
//! thread that made it, so it is one and the same until the command runs.

use std::os::fd::OwnedFd;
use std::sync::mpsc;
use std::thread;

use coracle_launcher::Created;
use coracle_launcher::Error;
use coracle_launcher::InitRequest;
use coracle_launcher::Process;
use tokio::sync::oneshot;

/// Waits for the order to start a container that is made. Dropping it unmakes the container.
#[derive(Debug)]
pub(crate) struct Pending {
    pub(crate) pid: i32,
    pub(crate) console: Option<OwnedFd>,
    order: mpsc::Sender<Order>,
}

struct Order {
    answer: oneshot::Sender<Result<Process, Error>>,
}

/// Makes a container.
pub(crate) async fn create(request: InitRequest) -> Result<Pending, Error> {
    let (answer, created) = oneshot::channel();
    let work = move || {
        let (pid, console, process) = match coracle_launcher::create(&request) {
            Ok(mut process) => (process.pid(), process.console(), process),
            Err(error) => return drop(answer.send(Err(error))),
        };
        // Our copies of the process' streams: with them open its output would never end.
        drop(request);
        let (order, orders) = mpsc::channel();
        if answer
            .send(Ok(Pending {
                pid,
                console,
                order,
            }))
            .is_ok()
        {
            finish(process, &orders);
        }
    };
    spawn(work)?;
    created.await.unwrap_or_else(|_| Err(lost()))
}

fn finish(created: Created, orders: &mpsc::Receiver<Order>) {
    if let Ok(Order { answer }) = orders.recv() {
        // Nobody to take it: the sandbox is being deleted, which ends what is in its cgroup.
        let _ = answer.send(created.start());
    }
}

impl Pending {
    /// Executes the command.
    pub(crate) async fn start(self) -> Result<Process, Error> {
        let (answer, started) = oneshot::channel();
        self.order.send(Order { answer }).map_err(|_| lost())?;
        started.await.unwrap_or_else(|_| Err(lost()))
    }
}

/// Does what blocks on a thread of its own.
fn spawn(work: impl FnOnce() + Send + 'static) -> Result<(), Error> {
    match thread::Builder::new().name("launch".into()).spawn(work) {
        Ok(_) => Ok(()),
        Err(error) => Err(Error::Launcher(format!("cannot make a thread: {error}"))),
    }
}

fn lost() -> Error {
    Error::Launcher("its thread ended".into())
}
