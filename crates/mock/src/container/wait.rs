//! Waiting for a container's end.

use coracle_runtime::container::{ExitStatus, WaitCondition};
use coracle_runtime::{Result, Status};
use futures_util::future::BoxFuture;
use tokio::sync::watch;

use super::Published;
use crate::engine::Engine;

/// The wait is registered when this returns: what ends later is counted from now.
pub(crate) fn wait(
    engine: &Engine,
    name: &str,
    condition: WaitCondition,
) -> Result<BoxFuture<'static, Result<ExitStatus>>> {
    let mut published = engine.lock().container(name)?.published.subscribe();
    let exits = published.borrow().exits;
    Ok(Box::pin(async move {
        let found = until(&mut published, |now| match condition {
            // The end of a run counts even where a restart follows.
            WaitCondition::NotRunning => {
                now.exits > exits || !(now.status.is_alive() || now.status == Status::Restarting)
            }
            WaitCondition::NextExit => now.exits > exits,
            WaitCondition::Removed => false,
        });
        Ok(found.await.last)
    }))
}

/// Waits until it fits, or until the container was removed.
pub(crate) async fn until(
    published: &mut watch::Receiver<Published>,
    mut fits: impl FnMut(&Published) -> bool,
) -> Published {
    let found = published
        .wait_for(|now| now.removed || fits(now))
        .await
        .map(|now| now.clone());
    // One that is gone showed its last state before.
    found.unwrap_or_else(|_| published.borrow().clone())
}
