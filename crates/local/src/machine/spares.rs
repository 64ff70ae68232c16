//! Spare machines: of the shape that most containers need, tried out, and waiting for a container.
//!
//! ```text
//!   keep ── make ──▶ waits ── take_over ──▶ a container's shim
//!                      │
//!                      └── another default shape, or it dies ──▶ gone; keep makes another
//! ```
//! A spare is a shim that was started ahead (`coracle_task::spare`). It ends with our end of the
//! connection to it, so nothing is left of it when this daemon dies, and nothing of it is on disk.

use std::fs::OpenOptions;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use coracle_runtime::{Result, RuntimeError};
use coracle_task::spare::{Answer, Link, MAX_SOCKETS, Order};
use coracle_task::{LOG_FILE, MachineConfig};
use tokio::sync::{Notify, oneshot, watch};

use super::rehearsal;
use crate::container::files::blocking;
use crate::engine::Engine;
use crate::ident;

/// How long nothing may have been started before a spare is made, which takes a processor for half a
/// second: longer than there is between two containers of a script, whose next start would be slowed.
const QUIET: Duration = Duration::from_millis(500);
/// The same where there are [processors enough](ROOM) for that start beside it: shorter than a
/// container of a script takes to end.
const BREATH: Duration = Duration::from_millis(20);
/// So many processors: one for the spare, one for the machine that is being started, and two for what
/// starts both, and for what runs already.
const ROOM: u32 = 4;
/// So many machines that are being started want all processors.
const RUSH: usize = 2;
/// How long making one may take.
const MAKING: Duration = Duration::from_secs(120);
/// How long a spare may take to answer.
const ANSWER: Duration = Duration::from_secs(2);
/// The pause after the first failure in a row; each further one doubles it, up to the last.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LAST_PAUSE: Duration = Duration::from_secs(60);

/// The spares of a daemon.
#[derive(Default)]
pub(crate) struct Spares {
    waiting: Mutex<Vec<Waiting>>,
    /// Machines that are being started.
    starting: watch::Sender<usize>,
    /// That something changed for whoever keeps them.
    changed: Notify,
    /// Failures in a row: of making one, or of one that waited.
    failures: AtomicUsize,
    number: AtomicU64,
}

/// A spare that waits. Dropping this ends it.
struct Waiting {
    number: u64,
    shape: MachineConfig,
    order: oneshot::Sender<Given>,
}

/// What a spare is to be the shim of.
struct Given {
    bundle: PathBuf,
    /// The log, the listening socket, and what a shim is given beside it.
    fds: Vec<OwnedFd>,
    done: oneshot::Sender<std::io::Result<()>>,
}

/// A start that is under way. No spare is begun meanwhile.
pub(crate) struct Starting<'a>(&'a Spares);

impl Drop for Starting<'_> {
    fn drop(&mut self) {
        let ended = |count: &mut usize| *count = count.saturating_sub(1);
        self.0.starting.send_modify(ended);
    }
}

impl Spares {
    /// A machine is being started.
    pub(crate) fn starting(&self) -> Starting<'_> {
        self.starting.send_modify(|count| *count += 1);
        Starting(self)
    }

    /// Returns when no machine has been started for so long.
    async fn quiet(&self, pause: Duration) {
        let mut starting = self.starting.subscribe();
        loop {
            // The sender is here: neither fails.
            let _ = starting.wait_for(|count| *count == 0).await;
            if tokio::time::timeout(pause, starting.changed())
                .await
                .is_err()
            {
                return;
            }
        }
    }

    /// Returns when many are being started.
    async fn rush(&self) {
        let mut starting = self.starting.subscribe();
        let _ = starting.wait_for(|count| *count >= RUSH).await;
    }

    /// The shape of machines may be another one now, or there is a template of it.
    pub(super) fn look_again(&self) {
        self.failures.store(0, Ordering::SeqCst);
        self.changed.notify_one();
    }

    fn waiting(&self) -> MutexGuard<'_, Vec<Waiting>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes one of this shape out.
    fn take(&self, machine: &MachineConfig) -> Option<Waiting> {
        let mut waiting = self.waiting();
        let found = waiting
            .iter()
            .position(|spare| is_same(&spare.shape, machine));
        found.map(|index| waiting.swap_remove(index))
    }

    /// Has a spare become the shim of a bundle, if there is one for this machine: whether that worked.
    pub(crate) async fn take_over(
        &self,
        machine: &MachineConfig,
        bundle: &Path,
        listener: impl AsFd,
        more: &[BorrowedFd<'_>],
    ) -> bool {
        if machine.join.is_some() || more.len() > MAX_SOCKETS {
            return false;
        }
        let Some(spare) = self.take(machine) else {
            return false;
        };
        self.failures.store(0, Ordering::SeqCst);
        let given = || -> std::io::Result<Vec<OwnedFd>> {
            let mut options = OpenOptions::new();
            let log = options.append(true).create(true);
            let log = log.open(bundle.join(LOG_FILE))?;
            let mut fds = vec![log.into(), listener.as_fd().try_clone_to_owned()?];
            for fd in more {
                fds.push(fd.try_clone_to_owned()?);
            }
            Ok(fds)
        };
        let taken = async {
            let (done, answer) = oneshot::channel();
            let order = Given {
                bundle: bundle.to_owned(),
                fds: given()?,
                done,
            };
            let gone = || std::io::Error::other("it has just ended");
            spare.order.send(order).map_err(|_| gone())?;
            answer.await.unwrap_or_else(|_| Err(gone()))
        };
        match taken.await {
            Ok(()) => true,
            Err(error) => {
                tracing::warn!(bundle = %bundle.display(), %error, "a spare machine was of no use");
                false
            }
        }
    }
}

/// How long nothing may have been started before a spare is made, on a host of so many processors.
const fn pause(cpus: u32) -> Duration {
    if cpus < ROOM { QUIET } else { BREATH }
}

/// Whether machines are copies of the same template.
fn is_same(one: &MachineConfig, other: &MachineConfig) -> bool {
    one.qemu == other.qemu
        && one.accelerator == other.accelerator
        && one.kernel == other.kernel
        && one.initrd == other.initrd
        && one.kernel_args == other.kernel_args
        && (one.cpus, one.max_cpus, one.memory) == (other.cpus, other.max_cpus, other.memory)
        && one.code_cache == other.code_cache
        && one.templates == other.templates
}

/// Keeps as many as are wanted, for ever.
pub(crate) async fn keep(engine: Arc<Engine>) {
    let wanted = engine.config.machine.spares;
    if wanted == 0 {
        return;
    }
    let spares = &engine.machines.spares;
    loop {
        let shape = match engine.machines.unavailable(&engine.config) {
            None => super::default_shape(&engine).await.ok(),
            Some(_) => None,
        };
        let missing = {
            let mut waiting = spares.waiting();
            waiting.retain(|spare| {
                shape
                    .as_ref()
                    .is_some_and(|shape| is_same(&spare.shape, shape))
            });
            waiting.len() < wanted
        };
        let Some(shape) = shape.filter(|_| missing) else {
            spares.changed.notified().await;
            continue;
        };
        let failures = spares.failures.load(Ordering::SeqCst);
        if failures > 0 {
            let doubled = FIRST_PAUSE.saturating_mul(1 << (failures - 1).min(10));
            let pause = tokio::time::sleep(doubled.min(LAST_PAUSE));
            tokio::pin!(pause);
            // A start says that machines are wanted, not that they can be had.
            while spares.failures.load(Ordering::SeqCst) > 0 {
                tokio::select! {
                    () = &mut pause => break,
                    () = spares.changed.notified() => {}
                }
            }
        }
        spares.quiet(pause(engine.config.host.cpus)).await;
        let made = tokio::select! {
            made = make(&engine, shape) => made,
            // What is half made ends with the link to it.
            () = spares.rush() => continue,
        };
        if let Err(error) = made {
            spares.failures.fetch_add(1, Ordering::SeqCst);
            tracing::info!(%error, "no spare machine yet");
        }
    }
}

/// Starts one and waits until it is ready.
async fn make(engine: &Arc<Engine>, shape: MachineConfig) -> Result<()> {
    let failed =
        |error: std::io::Error| RuntimeError::Internal(format!("cannot start a spare: {error}"));
    let id = ident::new_id();
    let name = format!("spare-{}", id.get(..12).unwrap_or_default());
    let mut machine = shape.clone();
    machine.user = engine.machines.users.of_container(&id);
    let rehearsal = {
        let (engine, name) = (engine.clone(), name.clone());
        blocking(move || rehearsal::make(&engine.config, &name, machine)).await?
    };
    let (link, theirs) = Link::pair().map_err(failed)?;
    let log = engine.config.data_root.join("machines/templates.log");
    let child = coracle_task::spawn_spare(&engine.config.shim, theirs, &log).map_err(failed)?;
    let pid = child.id();
    engine.reaper.add(child);
    let files: Vec<_> = rehearsal.files.iter().map(AsFd::as_fd).collect();
    let order = Order::Prepare(Box::new(rehearsal.task));
    link.send(&order, &files).await.map_err(failed)?;
    drop(rehearsal.files);
    expect(&link, MAKING, |answer| matches!(answer, Answer::Ready))
        .await
        .map_err(failed)?;
    tracing::debug!(pid, "a spare machine is ready");
    let (order, orders) = oneshot::channel();
    let number = engine
        .machines
        .spares
        .number
        .fetch_add(1, Ordering::Relaxed);
    engine.machines.spares.waiting().push(Waiting {
        number,
        shape,
        order,
    });
    tokio::spawn(attend(engine.clone(), link, number, name, orders));
    Ok(())
}

/// Waits with a spare for its order, or for its end.
async fn attend(
    engine: Arc<Engine>,
    link: Link,
    number: u64,
    name: String,
    orders: oneshot::Receiver<Given>,
) {
    let spares = &engine.machines.spares;
    tokio::select! {
        given = orders => {
            // Nobody wants it: it ends with the link.
            let Ok(given) = given else { return };
            let handed = hand_over(&link, &given).await;
            if handed.is_ok() {
                tracing::info!(spare = name, bundle = %given.bundle.display(), "a spare machine is taken");
            }
            // Nobody waits for it where the start was given up: the shim leaves by itself.
            let _ = given.done.send(handed);
            spares.changed.notify_one();
        }
        said = link.receive::<Answer>() => {
            tracing::warn!(spare = name, ?said, "a spare machine ended");
            spares.failures.fetch_add(1, Ordering::SeqCst);
            spares.waiting().retain(|spare| spare.number != number);
            spares.changed.notify_one();
        }
    }
}

async fn hand_over(link: &Link, given: &Given) -> std::io::Result<()> {
    let fds: Vec<_> = given.fds.iter().map(AsFd::as_fd).collect();
    let bundle = given.bundle.clone();
    link.send(&Order::Take { bundle }, &fds).await?;
    expect(link, ANSWER, |answer| matches!(answer, Answer::Taken)).await?;
    link.send(&Order::Go, &[]).await
}

/// Waits for an answer of this kind.
async fn expect(
    link: &Link,
    patience: Duration,
    wanted: impl Fn(&Answer) -> bool,
) -> std::io::Result<()> {
    let answer = tokio::time::timeout(patience, link.receive::<Answer>()).await;
    match answer.map_err(|_| std::io::Error::from(std::io::ErrorKind::TimedOut))?? {
        Some((answer, _)) if wanted(&answer) => Ok(()),
        Some((Answer::Failed(why), _)) => Err(std::io::Error::other(why)),
        Some((answer, _)) => Err(std::io::Error::other(format!("it said {answer:?}"))),
        None => Err(std::io::Error::other("it ended without a word")),
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::{Instant, advance};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_spare_waits_until_nobody_else_does() {
        let spares = Spares::default();
        let begun = Instant::now();
        let work = async {
            for _ in 0..5 {
                let starting = spares.starting();
                advance(QUIET * 2).await;
                drop(starting);
                advance(QUIET / 2).await;
            }
            begun.elapsed()
        };
        let ((), worked) = tokio::join!(
            async {
                tokio::task::yield_now().await;
                spares.quiet(QUIET).await;
            },
            work
        );
        assert!(begun.elapsed() >= worked + QUIET / 2);
    }

    #[tokio::test(start_paused = true)]
    async fn a_script_gets_spares_where_there_are_processors() {
        assert_eq!((pause(1), pause(ROOM - 1)), (QUIET, QUIET));
        assert_eq!((pause(ROOM), pause(64)), (BREATH, BREATH));
        let spares = Spares::default();
        drop(spares.starting());
        // A container's end, and the next one's creation.
        let between = Duration::from_millis(60);
        let soon = |cpus| tokio::time::timeout(between, spares.quiet(pause(cpus)));
        assert!(soon(ROOM).await.is_ok());
        assert!(soon(ROOM - 1).await.is_err());
        // The next start leaves the one that is being made alone.
        let _next = spares.starting();
        assert!(tokio::time::timeout(QUIET, spares.rush()).await.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn a_spare_makes_way_for_many() {
        let spares = Spares::default();
        let first = spares.starting();
        assert!(tokio::time::timeout(QUIET, spares.rush()).await.is_err());
        let _second = spares.starting();
        spares.rush().await;
        drop(first);
        assert!(tokio::time::timeout(QUIET, spares.rush()).await.is_err());
    }
}
