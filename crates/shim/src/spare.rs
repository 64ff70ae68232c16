//! A shim that is there before its container: it has a machine ready, waits for the daemon's word, and
//! goes on as that container's shim.
//!
//! Until then it lives as long as the connection to the daemon: nothing of it is on disk, and its machine
//! dies with it.

use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

use coracle_sandbox::Spare;
use coracle_task::TaskConfig;
use coracle_task::spare::Answer;
use coracle_task::spare::Link;
use coracle_task::spare::Order;
use tokio::signal::unix::SignalKind;
use tokio::signal::unix::signal;

use crate::setup;
use crate::setup::Inherited;

/// Gets ready, waits for a container, and serves it.
pub(crate) fn wait() -> io::Result<()> {
    let link = setup::inherit_link()?;
    let oom_score_adj = setup::detach()?;
    crate::runtime()?.block_on(async {
        // As a shim's: neither ends it.
        let _hangup = signal(SignalKind::hangup())?;
        let _interrupt = signal(SignalKind::interrupt())?;
        let _terminate = signal(SignalKind::terminate())?;
        let link = Link::inherited(link)?;
        let given = match serve(&link, oom_score_adj).await {
            Ok(given) => given,
            Err(error) => {
                // If the daemon is gone, nobody is to be told.
                let _ = link.send(&Answer::Failed(error.to_string()), &[]).await;
                return Err(error);
            }
        };
        drop(link);
        match given {
            Some((config, inherited, spare)) => crate::run(config, inherited, Some(spare)).await,
            None => Ok(()),
        }
    })
}

/// A container, and the machine for it.
type Given = (TaskConfig, Inherited, Spare);

/// Everything until a container is there; nothing if the daemon is gone before.
async fn serve(link: &Link, oom_score_adj: Option<i32>) -> io::Result<Option<Given>> {
    let (task, files) = match link.receive().await? {
        Some((Order::Prepare(task), files)) => (task, files),
        Some(_) => return Err(unexpected()),
        None => return Ok(None),
    };
    let spare = tokio::select! {
        made = Spare::make(&task, files) => made.map_err(io::Error::other)?,
        // It has nothing to say until it is answered.
        early = link.receive::<Order>() => return early.and_then(gone),
    };
    drop(task);
    link.send(&Answer::Ready, &[]).await?;
    let (bundle, fds) = tokio::select! {
        order = link.receive() => match order? {
            Some((Order::Take { bundle }, fds)) => (bundle, fds),
            Some(_) => return Err(unexpected()),
            None => return Ok(None),
        },
        why = spare.ended() => return Err(io::Error::other(why)),
    };
    let (config, inherited) = take(&bundle, fds, oom_score_adj)?;
    link.send(&Answer::Taken, &[]).await?;
    match link.receive().await? {
        Some((Order::Go, _)) => {}
        other => return gone(other),
    }
    crate::write_pid(&bundle)?;
    Ok(Some((config, inherited, spare)))
}

/// Reads the container's task, and takes its descriptors.
fn take(
    bundle: &Path,
    fds: Vec<OwnedFd>,
    oom_score_adj: Option<i32>,
) -> io::Result<(TaskConfig, Inherited)> {
    let mut config = setup::read_config(bundle)?;
    let mut fds = fds.into_iter();
    let (Some(log), Some(listener)) = (fds.next(), fds.next()) else {
        return Err(unexpected());
    };
    let more: Vec<_> = fds.collect();
    let has_handed = config.has_handed();
    if more.len() != setup::port_count(&config)? + usize::from(has_handed) {
        return Err(io::Error::other("it is another number of descriptors"));
    }
    setup::pass_on(&mut config, oom_score_adj);
    let inherited = Inherited::new(listener, more, has_handed)?;
    rustix::stdio::dup2_stderr(&log)?;
    Ok((config, inherited))
}

fn gone(order: Option<(Order, Vec<OwnedFd>)>) -> io::Result<Option<Given>> {
    match order {
        None => Ok(None),
        Some(_) => Err(unexpected()),
    }
}

fn unexpected() -> io::Error {
    io::Error::other("the daemon says what doesn't belong here")
}
