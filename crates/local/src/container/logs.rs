//! Reading a container's log.

use bytes::Bytes;
use coracle_log::{Item, ReadError, ReadOptions};
use coracle_runtime::io::{
    AttachOptions, Attached, BoxStream, LogEntry, LogOptions, Logs, StreamKind,
};
use coracle_runtime::{Result, RuntimeError};
use futures_util::StreamExt;
use jiff::Timestamp;

use super::bundle::log_config;
use super::handle::{Command, Handle};
use crate::engine::Engine;

/// Connects to a container's process, after what it has logged so far where that is asked for.
pub(crate) async fn attach(
    engine: &Engine,
    handle: &Handle,
    options: AttachOptions,
) -> Result<Attached> {
    let now = handle.now();
    let tty = now.record.config.tty;
    if options.logs && options.stream && !now.container.state.status.is_alive() {
        // What was logged is all there is: what comes is the next run's, which begins later.
        let until = Some(Timestamp::now());
        let attached = connect(handle, options).await?;
        if handle.now().exits == now.exits && !handle.now().container.state.status.is_alive() {
            return after_the_log(engine, handle, options, until, attached);
        }
    }
    // The log, followed, is what was written and what comes, without a gap or a repeat. Only a
    // terminal's output, which is to be seen before its line ends, comes from the process itself.
    let followed = options.logs && !tty;
    let mut attached = match options.stream {
        true => {
            let wanted = AttachOptions {
                stdout: options.stdout && !followed,
                stderr: options.stderr && !followed,
                ..options
            };
            connect(handle, wanted).await?
        }
        false => Attached {
            output: Box::pin(futures_util::stream::empty()),
            input: None,
            tty,
        },
    };
    if followed {
        attached.output = logged(engine, handle, options, options.stream, None)?;
        return Ok(attached);
    }
    match options.logs {
        true => after_the_log(engine, handle, options, None, attached),
        false => Ok(attached),
    }
}

async fn connect(handle: &Handle, options: AttachOptions) -> Result<Attached> {
    handle.ask(|reply| Command::Attach { options, reply }).await
}

/// What was logged until then, and after it what comes.
fn after_the_log(
    engine: &Engine,
    handle: &Handle,
    options: AttachOptions,
    until: Option<Timestamp>,
    mut attached: Attached,
) -> Result<Attached> {
    let before = logged(engine, handle, options, false, until)?;
    attached.output = Box::pin(before.chain(attached.output));
    Ok(attached)
}

fn logged(
    engine: &Engine,
    handle: &Handle,
    options: AttachOptions,
    follow: bool,
    until: Option<Timestamp>,
) -> Result<BoxStream<(StreamKind, Bytes)>> {
    let wanted = LogOptions {
        stdout: options.stdout,
        stderr: options.stderr,
        follow,
        until,
        ..Default::default()
    };
    let entries = read(engine, handle, wanted)?.entries;
    Ok(Box::pin(entries.map(|entry| {
        entry.map(|entry| (entry.stream, entry.line))
    })))
}

/// The log of a container.
pub(crate) fn read(engine: &Engine, handle: &Handle, options: LogOptions) -> Result<Logs> {
    let now = handle.now();
    let config = log_config(engine, &now.record, &handle.dirs)?;
    if config.driver == coracle_log::Driver::None {
        return Err(RuntimeError::InvalidArgument(
            "configured logging driver does not support reading".into(),
        ));
    }
    // A log that is written faster than it is read would have no end: what is there now is read.
    let until = match (options.follow, options.tail, options.until) {
        (false, None, None) => Some(Timestamp::now()),
        (_, _, until) => until,
    };
    let most = match (options.follow, options.tail) {
        (false, Some(tail)) => tail,
        _ => usize::MAX,
    };
    let wanted = ReadOptions {
        since: options.since,
        until,
        tail: options.tail,
        stdout: options.stdout,
        stderr: options.stderr,
        details: true,
    };
    let alive = now.container.state.status.is_alive();
    let items = if options.follow && alive {
        let exits = now.exits;
        let handle = handle.clone();
        let stopped = async move {
            handle.until(|now| now.exits > exits).await;
        };
        coracle_log::follow(&config, wanted, stopped)
    } else {
        coracle_log::read(&config, wanted)
    };
    let entries = items
        .filter_map(|item| std::future::ready(entry(item)))
        .take(most);
    let entries: BoxStream<LogEntry> = Box::pin(entries);
    Ok(Logs {
        entries,
        tty: now.record.config.tty,
    })
}

fn entry(item: std::result::Result<Item, ReadError>) -> Option<Result<LogEntry>> {
    match item {
        Ok(Item::Entry(entry)) => Some(Ok(LogEntry {
            time: entry.time,
            stream: match entry.stream {
                coracle_log::Stream::Stdout => StreamKind::Stdout,
                coracle_log::Stream::Stderr => StreamKind::Stderr,
            },
            line: entry.line,
            attributes: entry.attrs,
        })),
        Ok(Item::Skipped(skipped)) => {
            tracing::warn!(?skipped, "a part of a log can't be read");
            None
        }
        Err(error) => Some(Err(RuntimeError::Internal(error.to_string()))),
    }
}
