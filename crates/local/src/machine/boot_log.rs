//! What a container's machine wrote to its console.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use coracle_log::Watch;
use coracle_runtime::io::{LogEntry, LogOptions, Logs, StreamKind};
use coracle_runtime::{Result, RuntimeError};
use futures_util::{Stream, StreamExt, TryStreamExt};

use super::{is_machine, shape, templates};
use crate::container::files::blocking;
use crate::container::handle::Handle;
use crate::engine::Engine;

/// How a kernel begins: a clone's console has nothing of its boot.
const BEGINNING: &[u8] = b"Linux version ";

/// The console's lines. Those of the boot come first, also where it was the template's; those that are
/// still to come last, until the machine ends, if that is asked for.
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
    let follows = options.follow && now.container.state.status.is_alive();
    let mut console = Console::open(own, follows).map_err(failed)?;
    let tail = options.tail;
    let (lines, console) = blocking(move || {
        let mut text = console.more().map_err(failed)?;
        let booted = text.windows(BEGINNING.len()).any(|at| at == BEGINNING);
        if let Some(template) = template.filter(|_| !booted && !text.is_empty()) {
            text.splice(0..0, whole(&template).map_err(failed)?);
        }
        let mut lines = lines(&text);
        if let Some(tail) = tail {
            lines.drain(..lines.len().saturating_sub(tail));
        }
        Ok((lines, console))
    })
    .await?;
    let first = futures_util::stream::iter(lines).map(Ok);
    let (exits, handle) = (now.exits, handle.clone());
    let ended = async move {
        handle.until(|now| now.exits > exits).await;
    };
    Ok(Logs {
        entries: match follows {
            true => Box::pin(first.chain(follow(console, ended)).map_ok(entry)),
            false => Box::pin(first.map_ok(entry)),
        },
        tty: now.record.config.tty,
    })
}

fn failed(error: io::Error) -> RuntimeError {
    RuntimeError::Internal(format!("cannot read the console: {error}"))
}

fn lines(text: &[u8]) -> Vec<Bytes> {
    text.split_inclusive(|byte| *byte == b'\n')
        .map(Bytes::copy_from_slice)
        .collect()
}

fn entry(line: Bytes) -> LogEntry {
    LogEntry {
        time: jiff::Timestamp::UNIX_EPOCH,
        stream: StreamKind::Stdout,
        line,
        attributes: BTreeMap::new(),
    }
}

/// A console's log, of which some was read.
struct Console {
    path: PathBuf,
    file: Option<File>,
    /// Told before it is looked, so that nothing is missed.
    watch: Option<Watch>,
}

impl Console {
    fn open(path: PathBuf, watched: bool) -> io::Result<Self> {
        let watch = match watched {
            true => Some(Watch::new(&path)?),
            false => None,
        };
        Ok(Self {
            path,
            file: None,
            watch,
        })
    }

    /// What was written since the last time. A log that is full is begun anew under its name.
    fn more(&mut self) -> io::Result<Vec<u8>> {
        let mut text = Vec::new();
        if let Some(file) = &mut self.file {
            file.read_to_end(&mut text)?;
        }
        let now = match File::open(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(text),
            opened => opened?,
        };
        if self.is_another(&now)? {
            self.file.insert(now).read_to_end(&mut text)?;
        }
        Ok(text)
    }

    fn is_another(&self, now: &File) -> io::Result<bool> {
        let Some(file) = &self.file else {
            return Ok(true);
        };
        let (old, new) = (file.metadata()?, now.metadata()?);
        Ok((old.dev(), old.ino()) != (new.dev(), new.ino()))
    }
}

/// What is written from now on, until the end.
fn follow(
    console: Console,
    ended: impl Future<Output = ()> + Send + 'static,
) -> impl Stream<Item = Result<Bytes>> + Send {
    let ended = Box::pin(ended);
    futures_util::stream::try_unfold(Some((console, ended)), |state| async move {
        let Some((mut console, mut ended)) = state else {
            return Ok(None);
        };
        loop {
            let changed = async {
                match &mut console.watch {
                    Some(watch) => watch.changed().await,
                    None => Ok(()),
                }
            };
            let over = tokio::select! {
                () = &mut ended => true,
                changed = changed => changed.map(|()| false).map_err(failed)?,
            };
            // A console's few lines don't block.
            let text = console.more().map_err(failed)?;
            let rest = (!over).then_some((console, ended));
            match rest {
                Some((same, still)) if text.is_empty() => (console, ended) = (same, still),
                rest => return Ok(Some((Bytes::from(text), rest))),
            }
        }
    })
}

/// A console's log, which is bounded where it is written; nothing if there is none.
fn whole(path: &Path) -> io::Result<Vec<u8>> {
    match std::fs::read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        read => read,
    }
}
