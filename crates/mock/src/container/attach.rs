//! Connecting clients to a container's process, before or while it runs.

use std::sync::Arc;

use bytes::Bytes;
use coracle_runtime::io::{AttachOptions, Attached, BoxStream, LogOptions, StreamKind};
use coracle_runtime::{Result, RuntimeError, Status};
use futures_util::{StreamExt, stream};
use tokio::io::{AsyncReadExt, DuplexStream};

use super::Entry;
use crate::engine::Engine;
use crate::process::output::Receiver;
use crate::process::tty::{Tty, Typed};
use crate::process::{Input, Output};

/// Bytes of input kept while the process does not read.
const INPUT_BUFFER: usize = 64 << 10;
/// SIGINT.
pub(crate) const INT: i32 = 2;

/// Attaches now, or to what will run next; first gives what was logged, where that is asked for.
pub(crate) fn attach(engine: &Arc<Engine>, name: &str, options: AttachOptions) -> Result<Attached> {
    let state = engine.lock();
    let entry = state.container(name)?;
    match entry.status() {
        Status::Paused => {
            return Err(RuntimeError::InvalidState(format!(
                "container {name} is paused, unpause the container before attach"
            )));
        }
        Status::Restarting => {
            return Err(RuntimeError::InvalidState(format!(
                "container {name} is restarting, wait until the container is running"
            )));
        }
        _ => {}
    }
    let streams = &entry.streams;
    let mut output: BoxStream<(StreamKind, Bytes)> = Box::pin(stream::empty());
    let mut logged = usize::MAX;
    if options.stream {
        let (receiver, before) = streams.output.attach(options.stdout, options.stderr);
        logged = before;
        output = receive(receiver);
    }
    if options.logs
        && let Some(log) = &entry.log
    {
        let wanted = LogOptions {
            stdout: options.stdout,
            stderr: options.stderr,
            ..LogOptions::default()
        };
        let entries = log.read(&wanted, logged);
        let entries = entries
            .into_iter()
            .map(|entry| Ok((entry.stream, entry.line)));
        output = Box::pin(stream::iter(entries).chain(output));
    }
    let input = (options.stdin && options.stream && entry.config.open_stdin).then(|| {
        let (ours, theirs) = tokio::io::duplex(INPUT_BUFFER);
        let ends = entry.config.stdin_once && !entry.config.tty;
        let tty = streams.tty.clone();
        let (weak, id) = (Arc::downgrade(engine), entry.id.clone());
        let interrupt = move || {
            let Some(engine) = weak.upgrade() else { return };
            if let Ok(run) = engine.lock().container(&id).and_then(Entry::running) {
                run.target.signal(INT, false);
            }
        };
        tokio::spawn(pump(
            theirs,
            streams.input.clone(),
            streams.output.clone(),
            tty,
            interrupt,
            ends,
        ));
        Box::pin(ours) as _
    });
    engine.emit(entry, "attach", &[]);
    Ok(Attached {
        output,
        input,
        tty: entry.config.tty,
    })
}

/// What a client gets, as a stream.
pub(crate) fn receive(receiver: Receiver) -> BoxStream<(StreamKind, Bytes)> {
    Box::pin(stream::unfold(receiver, |mut receiver| async move {
        let item = receiver.recv().await?;
        Some((Ok(item), receiver))
    }))
}

/// Carries input to the process until either side ends; with `ends` the client's end is end of input.
pub(crate) async fn pump(
    mut from: DuplexStream,
    to: Arc<Input>,
    echo: Arc<Output>,
    tty: Option<Arc<Tty>>,
    interrupt: impl Fn() + Send,
    ends: bool,
) {
    let mut buffer = vec![0; 4096];
    loop {
        let bytes = match from.read(&mut buffer).await {
            Ok(0) | Err(_) => break,
            Ok(length) => buffer.get(..length).unwrap_or_default(),
        };
        let Some(tty) = &tty else {
            if !to.write(bytes).await {
                return;
            }
            continue;
        };
        for typed in tty.typed(bytes) {
            match typed {
                Typed::Echo(bytes) => echo.write(StreamKind::Stdout, bytes).await,
                Typed::Line(line) => drop(to.write(&line).await),
                Typed::End => to.end_once(),
                Typed::Interrupt => interrupt(),
            }
        }
    }
    if ends {
        to.close();
    }
}
