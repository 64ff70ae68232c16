//! Reading a container's log.

use coracle_runtime::io::{LogOptions, Logs};
use coracle_runtime::{Result, RuntimeError};
use futures_util::stream;

use super::wait::until;
use crate::engine::Engine;

pub(crate) fn read(engine: &Engine, name: &str, options: LogOptions) -> Result<Logs> {
    let state = engine.lock();
    let entry = state.container(name)?;
    if options.boot {
        return Err(RuntimeError::no_boot_log(name));
    }
    let tty = entry.config.tty;
    let Some(log) = entry.log.clone() else {
        return Err(RuntimeError::InvalidArgument(
            "configured logging driver does not support reading".into(),
        ));
    };
    if options.follow && entry.status().is_alive() {
        let (mut published, exits) = (entry.published.subscribe(), entry.exits);
        let stopped = async move {
            until(&mut published, |now| now.exits > exits).await;
        };
        return Ok(Logs {
            entries: log.follow(options, stopped),
            tty,
        });
    }
    let entries = log.read(&options, usize::MAX).into_iter().map(Ok);
    Ok(Logs {
        entries: Box::pin(stream::iter(entries)),
        tty,
    })
}
