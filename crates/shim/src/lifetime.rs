//! How long the shim stays: as long as there is something to serve.
//!
//! | container | it leaves                                                       |
//! |-----------|-----------------------------------------------------------------|
//! | created   | when no client was connected for [`UNUSED`]: its engine is gone |
//! | running   | never                                                           |
//! | stopped   | when no client was connected for [`LINGER`], as the exit record says all; if that couldn't be written, only when told |
//!
//! When told to shut down it leaves at once, but for clients that are still being sent output.

use std::sync::Arc;
use std::time::Duration;

use coracle_task::ErrorKind;
use coracle_task::Status;
use coracle_task::TaskError;
use tokio::net::UnixListener;
use tokio::sync::watch;

use crate::container::Container;
use crate::server;

/// For how long a shim that was never used waits for a client.
const UNUSED: Duration = Duration::from_secs(10);

/// For how long a shim waits for a further client after the container's end.
const LINGER: Duration = Duration::from_secs(2);

/// Pause when connections can't be accepted for want of descriptors or memory.
const BACK_OFF: Duration = Duration::from_millis(100);

/// Who is connected.
pub(crate) struct Lifetime {
    counts: watch::Sender<Counts>,
}

#[derive(Clone, Copy, Default)]
struct Counts {
    clients: usize,
    attached: usize,
    shut_down: bool,
}

/// Counts as a client until it is dropped.
pub(crate) struct Counted {
    lifetime: Arc<Lifetime>,
    attached: bool,
}

impl Lifetime {
    pub(crate) fn new() -> Self {
        Self {
            counts: watch::Sender::new(Counts::default()),
        }
    }

    /// A client is connected.
    pub(crate) fn client(self: &Arc<Self>) -> Counted {
        self.counts.send_modify(|counts| counts.clients += 1);
        Counted {
            lifetime: self.clone(),
            attached: false,
        }
    }

    /// A client is being sent output.
    pub(crate) fn attached(self: &Arc<Self>) -> Counted {
        self.counts.send_modify(|counts| counts.attached += 1);
        Counted {
            lifetime: self.clone(),
            attached: true,
        }
    }

    /// Refuses to end the shim as long as the container needs it.
    pub(crate) fn may_shut_down(&self, container: &Container) -> Result<(), TaskError> {
        match container.state().status {
            Status::Running | Status::Paused => {
                let message = format!("container {} is running", container.config.id);
                Err(TaskError::shim(ErrorKind::InvalidState, message))
            }
            _ if container.init.is_starting() => {
                let message = format!("container {} is starting", container.config.id);
                Err(TaskError::shim(ErrorKind::InvalidState, message))
            }
            _ => Ok(()),
        }
    }

    pub(crate) fn shut_down(&self) {
        self.counts.send_modify(|counts| counts.shut_down = true);
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.lifetime
            .counts
            .send_modify(|counts| match self.attached {
                true => counts.attached -= 1,
                false => counts.clients -= 1,
            });
    }
}

/// Accepts clients until it is time to leave.
pub(crate) async fn serve(listener: UnixListener, container: Arc<Container>) {
    let lifetime = Arc::new(Lifetime::new());
    let mut counts = lifetime.counts.subscribe();
    let mut phase = container.init.watch();
    loop {
        let now = *counts.borrow_and_update();
        phase.borrow_and_update();
        let patience = match container.state().status {
            _ if now.shut_down && now.attached == 0 => return,
            _ if now.clients > 0 => None,
            Status::Created if container.init.is_starting() => None,
            Status::Created => Some(UNUSED),
            Status::Stopped if container.is_recorded() => Some(LINGER),
            _ => None,
        };
        let out_of_patience = async {
            match patience {
                Some(patience) => tokio::time::sleep(patience).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    tokio::spawn(server::serve(stream, container.clone(), lifetime.clone()));
                }
                Err(error) => {
                    crate::complain(&error);
                    tokio::time::sleep(BACK_OFF).await;
                }
            },
            _ = counts.changed() => {}
            _ = phase.changed() => {}
            () = out_of_patience => return,
        }
    }
}
