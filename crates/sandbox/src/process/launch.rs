//! Makes the container's processes, in the launcher's steps.
//!
//! The kernel kills them when the thread that started their helper ends. So that is done on the
//! thread that serves everything, which ends with this program; what takes longer is not.

use std::os::fd::OwnedFd;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;

use coracle_launcher::Created;
use coracle_launcher::Error;
use coracle_launcher::ExecRequest;
use coracle_launcher::Helper;
use coracle_launcher::InitRequest;
use coracle_launcher::Process;

/// A container that is made and waits to be started. Dropping it unmakes the container, which
/// blocks for a moment.
#[derive(Debug)]
pub(crate) struct Pending {
    pub(crate) pid: i32,
    pub(crate) console: Option<OwnedFd>,
    created: Created,
}

/// A helper that was started before anybody knew what for.
static SPARE: Mutex<Option<Helper>> = Mutex::new(None);

fn spare() -> MutexGuard<'static, Option<Helper>> {
    SPARE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Starts the helper of the next container, whichever it is.
pub(crate) fn prepare() -> Result<(), Error> {
    let helper = Helper::start("container")?;
    *spare() = Some(helper);
    Ok(())
}

/// Makes a container.
pub(crate) async fn create(request: InitRequest) -> Result<Pending, Error> {
    let helper = match spare().take() {
        Some(helper) => helper,
        None => Helper::start(&request.id)?,
    };
    blocking(move || {
        // The request's copies of the process' streams go with it: with them open its output
        // would never end.
        let mut created = helper.create(&request)?;
        Ok(Pending {
            pid: created.pid(),
            console: created.console(),
            created,
        })
    })
    .await
}

/// Starts a further process in a container.
pub(crate) async fn exec(request: ExecRequest) -> Result<Process, Error> {
    let helper = Helper::start("exec")?;
    blocking(move || helper.exec(&request)).await
}

impl Pending {
    /// Executes the command.
    pub(crate) async fn start(self) -> Result<Process, Error> {
        blocking(move || self.created.start()).await
    }
}

/// Does what blocks on another thread.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    let work = tokio::task::spawn_blocking(work);
    work.await
        .unwrap_or_else(|error| Err(Error::Launcher(format!("its thread ended: {error}"))))
}
