//! Waiting for a container's end.

use coracle_runtime::container::{ExitStatus, WaitCondition};
use coracle_runtime::{Result, Status};
use futures_util::future::BoxFuture;

use super::handle::{Handle, Published};

/// The wait is registered when this returns: what ends later is counted from now.
pub(crate) fn wait(
    handle: Handle,
    condition: WaitCondition,
) -> BoxFuture<'static, Result<ExitStatus>> {
    let exits = handle.now().exits;
    Box::pin(async move {
        let mut published = handle.published.clone();
        let found = published
            .wait_for(|now| {
                now.removed
                    || match condition {
                        // As in Docker, the end of a run counts even where a restart follows.
                        WaitCondition::NotRunning => now.exits > exits || !runs(now),
                        WaitCondition::NextExit => now.exits > exits,
                        WaitCondition::Removed => false,
                    }
            })
            .await;
        // A task that is gone showed its last state before.
        let last = match found {
            Ok(now) => now.last.clone(),
            Err(_) => handle.now().last,
        };
        Ok(last)
    })
}

/// Whether it runs, or is about to again: Docker counts a container between two runs as running.
fn runs(now: &Published) -> bool {
    let status = now.container.state.status;
    status.is_alive() || status == Status::Restarting
}
