//! What a container's machine wrote to its console.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use coracle_runtime::io::{LogEntry, LogOptions, Logs, StreamKind};
use coracle_runtime::{Result, RuntimeError};

use super::{is_machine, shape, templates};
use crate::container::files::blocking;
use crate::container::handle::Handle;
use crate::engine::Engine;

/// How a kernel begins: a clone's console has nothing of its boot.
const BEGINNING: &[u8] = b"Linux version ";

/// The console's lines. Those of the boot come first, also where it was the template's.
pub(crate) async fn read(
    engine: &Arc<Engine>,
    handle: &Handle,
    options: &LogOptions,
) -> Result<Logs> {
    let now = handle.now();
    let host_config = &now.record.host_config;
    if !is_machine(host_config) {
        return Err(RuntimeError::no_boot_log(&now.container.name));
    }
    let own = handle.dirs.root.join("boot.log");
    let template = match shape(engine, host_config).await {
        Ok(shape) => Some(templates::boot_log(engine, &shape)),
        // Its kernel is gone, and so is what that one said.
        Err(_) => None,
    };
    let tail = options.tail;
    let lines = blocking(move || {
        let failed =
            |error: io::Error| RuntimeError::Internal(format!("cannot read the console: {error}"));
        let mut text = whole(&own).map_err(failed)?;
        let booted = text.windows(BEGINNING.len()).any(|at| at == BEGINNING);
        if let Some(template) = template.filter(|_| !booted && !text.is_empty()) {
            text.splice(0..0, whole(&template).map_err(failed)?);
        }
        let mut lines: Vec<Bytes> = text
            .split_inclusive(|byte| *byte == b'\n')
            .map(Bytes::copy_from_slice)
            .collect();
        if let Some(tail) = tail {
            lines.drain(..lines.len().saturating_sub(tail));
        }
        Ok(lines)
    })
    .await?;
    let entries = lines.into_iter().map(|line| {
        Ok(LogEntry {
            time: jiff::Timestamp::UNIX_EPOCH,
            stream: StreamKind::Stdout,
            line,
            attributes: BTreeMap::new(),
        })
    });
    Ok(Logs {
        entries: Box::pin(futures_util::stream::iter(entries)),
        tty: now.record.config.tty,
    })
}

/// A console's log, which is bounded where it is written; nothing if there is none.
fn whole(path: &Path) -> io::Result<Vec<u8>> {
    match std::fs::read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        read => read,
    }
}
