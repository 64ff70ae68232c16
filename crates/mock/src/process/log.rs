//! A container's log, line by line.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use coracle_runtime::io::{BoxStream, LogEntry, LogOptions, StreamKind};
use futures_util::stream;
use jiff::Timestamp;
use tokio::sync::watch;

/// Longer lines are logged in parts, as Docker does.
const MAX_LINE: usize = 16 << 10;

/// A log. Kept for the container's life.
#[derive(Debug)]
pub(crate) struct Log {
    state: Mutex<State>,
    /// Entries so far.
    length: watch::Sender<usize>,
    attributes: BTreeMap<String, String>,
}

#[derive(Debug, Default)]
struct State {
    entries: Vec<LogEntry>,
    /// The lines that are not ended yet, of standard output and error.
    partial: [Vec<u8>; 2],
}

impl Log {
    pub(crate) fn new(attributes: BTreeMap<String, String>) -> Self {
        Self {
            state: Mutex::default(),
            length: watch::Sender::new(0),
            attributes,
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn len(&self) -> usize {
        self.lock().entries.len()
    }

    pub(crate) fn write(&self, stream: StreamKind, bytes: &[u8]) {
        let mut state = self.lock();
        let mut partial = std::mem::take(&mut state.partial[index(stream)]);
        for byte in bytes {
            partial.push(*byte);
            if *byte == b'\n' || partial.len() >= MAX_LINE {
                let line = std::mem::take(&mut partial);
                self.push(&mut state, stream, line);
            }
        }
        state.partial[index(stream)] = partial;
        self.length.send_replace(state.entries.len());
    }

    /// Logs the lines that will not be ended any more.
    pub(crate) fn flush(&self) {
        let mut state = self.lock();
        for stream in [StreamKind::Stdout, StreamKind::Stderr] {
            let line = std::mem::take(&mut state.partial[index(stream)]);
            if !line.is_empty() {
                self.push(&mut state, stream, line);
            }
        }
        self.length.send_replace(state.entries.len());
    }

    fn push(&self, state: &mut State, stream: StreamKind, line: Vec<u8>) {
        let attributes = self.attributes.clone();
        let entry = LogEntry {
            time: Timestamp::now(),
            stream,
            line: Bytes::from(line),
            attributes,
        };
        state.entries.push(entry);
    }

    fn after(&self, place: usize) -> Option<LogEntry> {
        self.lock().entries.get(place).cloned()
    }

    /// The first `most` entries that fit.
    pub(crate) fn read(&self, options: &LogOptions, most: usize) -> Vec<LogEntry> {
        let state = self.lock();
        let fitting: Vec<LogEntry> = state
            .entries
            .iter()
            .take(most)
            .filter(|entry| wanted(entry, options))
            .filter(|entry| options.until.is_none_or(|until| entry.time <= until))
            .cloned()
            .collect();
        let skip = fitting
            .len()
            .saturating_sub(options.tail.unwrap_or(usize::MAX));
        fitting.into_iter().skip(skip).collect()
    }

    /// What fits so far, and then what comes, until `stopped` ends and all was read.
    pub(crate) fn follow(
        self: Arc<Self>,
        options: LogOptions,
        stopped: impl Future<Output = ()> + Send + 'static,
    ) -> BoxStream<LogEntry> {
        let length = self.len();
        let first = self.read(&options, length);
        let state = Follow {
            log: self.clone(),
            options,
            ready: first.into(),
            place: length,
            length: self.length.subscribe(),
            stopped: Some(Box::pin(stopped)),
        };
        Box::pin(stream::unfold(state, |mut state| async move {
            let entry = state.next().await?;
            Some((Ok(entry), state))
        }))
    }
}

fn wanted(entry: &LogEntry, options: &LogOptions) -> bool {
    let stream = match entry.stream {
        StreamKind::Stdout => options.stdout,
        StreamKind::Stderr => options.stderr,
    };
    stream && options.since.is_none_or(|since| entry.time >= since)
}

fn index(stream: StreamKind) -> usize {
    match stream {
        StreamKind::Stdout => 0,
        StreamKind::Stderr => 1,
    }
}

/// A reader that goes on.
struct Follow {
    log: Arc<Log>,
    options: LogOptions,
    ready: std::collections::VecDeque<LogEntry>,
    place: usize,
    length: watch::Receiver<usize>,
    stopped: Option<std::pin::Pin<Box<dyn Future<Output = ()> + Send>>>,
}

impl Follow {
    async fn next(&mut self) -> Option<LogEntry> {
        if let Some(entry) = self.ready.pop_front() {
            return Some(entry);
        }
        loop {
            self.length.borrow_and_update();
            while let Some(entry) = self.log.after(self.place) {
                self.place += 1;
                if self.options.until.is_some_and(|until| entry.time > until) {
                    return None;
                }
                if wanted(&entry, &self.options) {
                    return Some(entry);
                }
            }
            // After the end there is one more look: what was written last comes before it.
            let stopped = self.stopped.as_mut()?;
            tokio::select! {
                changed = self.length.changed() => changed.ok()?,
                () = until(self.options.until) => return None,
                () = stopped => self.stopped = None,
            }
        }
    }
}

/// Waits for a time of day; for ever, where there is none.
async fn until(time: Option<Timestamp>) {
    match time {
        None => std::future::pending().await,
        Some(time) => {
            let left = time.duration_since(Timestamp::now());
            tokio::time::sleep(left.try_into().unwrap_or_default()).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::StreamExt;

    use super::*;

    fn all() -> LogOptions {
        LogOptions {
            stdout: true,
            stderr: true,
            ..LogOptions::default()
        }
    }

    fn lines(log: &Log, options: &LogOptions) -> Vec<String> {
        let entries = log.read(options, usize::MAX);
        entries
            .iter()
            .map(|entry| String::from_utf8_lossy(&entry.line).into_owned())
            .collect()
    }

    #[test]
    fn lines_are_put_together_and_long_ones_split() {
        let log = Log::new(BTreeMap::new());
        log.write(StreamKind::Stdout, b"a\nb");
        log.write(StreamKind::Stderr, b"err\n");
        log.write(StreamKind::Stdout, b"c\nrest");
        assert_eq!(lines(&log, &all()), ["a\n", "err\n", "bc\n"]);
        log.flush();
        assert_eq!(
            lines(
                &log,
                &LogOptions {
                    tail: Some(2),
                    ..all()
                }
            ),
            ["bc\n", "rest"]
        );
        assert_eq!(
            lines(
                &log,
                &LogOptions {
                    stdout: false,
                    ..all()
                }
            ),
            ["err\n"]
        );
        log.write(StreamKind::Stdout, &vec![b'x'; MAX_LINE + 1]);
        log.flush();
        assert_eq!(lines(&log, &all()).last().unwrap(), "x");
    }

    #[tokio::test]
    async fn a_follower_sees_everything_up_to_the_end() {
        let log = Arc::new(Log::new(BTreeMap::new()));
        log.write(StreamKind::Stdout, b"1\n");
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let follower = log
            .clone()
            .follow(all(), async move { drop(stopped.await) });
        let writer = log.clone();
        tokio::spawn(async move {
            for n in 2..=50 {
                writer.write(StreamKind::Stdout, format!("{n}\n").as_bytes());
                tokio::task::yield_now().await;
            }
            drop(stop);
        });
        let seen: Vec<_> = follower.map(|entry| entry.unwrap().line).collect().await;
        assert_eq!(seen.len(), 50);
        assert_eq!(seen[49], "50\n");
    }
}
