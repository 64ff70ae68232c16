//! Runs simulated processes, and freezes them.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use tokio::sync::watch;

use super::Target;
use crate::shell::SIGNALLED;

/// Runs a process to its end, but for the time that its container is paused; gives the exit code.
pub(crate) async fn drive(
    mut work: BoxFuture<'static, i32>,
    target: Arc<Target>,
    mut paused: watch::Receiver<bool>,
) -> i32 {
    loop {
        if *paused.borrow_and_update() {
            tokio::select! {
                number = target.died() => return SIGNALLED + number,
                changed = paused.changed() => {
                    if changed.is_err() {
                        return SIGNALLED + coracle_runtime::signal::KILL;
                    }
                }
            }
            continue;
        }
        tokio::select! {
            biased;
            changed = paused.changed() => {
                if changed.is_err() {
                    return SIGNALLED + coracle_runtime::signal::KILL;
                }
            }
            code = &mut work => return code,
        }
    }
}
