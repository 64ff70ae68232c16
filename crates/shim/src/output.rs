//! Carries a process' output to the log and to those attached.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::BytesMut;
use coracle_log::LogWriter;
use coracle_log::WriteError;
use coracle_sandbox::Output;
use coracle_task::Stream;
use tokio::io::AsyncReadExt;
use tokio::sync::watch;

use crate::proc::Proc;

/// How much is read at a time.
const CHUNK: usize = 32 << 10;

/// How long output is awaited after a process ended, if others that it started hold the stream
/// open. Docker waits as long.
const LINGER: Duration = Duration::from_secs(2);

/// The container's log, shared by both of its streams.
pub(crate) struct Log {
    writer: Mutex<LogWriter>,
    /// Whether the last attempt failed.
    failing: AtomicBool,
}

impl Log {
    pub(crate) fn new(writer: LogWriter) -> Self {
        Self {
            writer: Mutex::new(writer),
            failing: AtomicBool::new(false),
        }
    }

    fn write(&self, stream: Stream, data: &[u8]) {
        self.complain(self.lock().write(stream, data));
    }

    /// The output ended.
    pub(crate) fn finish(&self) {
        self.complain(self.lock().finish());
    }

    /// Says what goes wrong, when it begins: a full disk stays full for a while.
    fn complain(&self, result: Result<(), WriteError>) {
        let failed_before = self.failing.swap(result.is_err(), Ordering::Relaxed);
        if let Err(error) = result
            && !failed_before
        {
            crate::complain(&error);
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, LogWriter> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Carries one stream until it ends, or until [`LINGER`] after `exited` became true.
pub(crate) async fn pump(
    stream: Stream,
    mut output: Output,
    proc: Arc<Proc>,
    log: Option<Arc<Log>>,
    mut exited: watch::Receiver<bool>,
) {
    let mut over = exited.clone();
    let lingered = async {
        let _ = over.wait_for(|exited| *exited).await;
        tokio::time::sleep(LINGER).await;
    };
    tokio::pin!(lingered);
    let mut buf = BytesMut::new();
    loop {
        buf.reserve(CHUNK);
        let read = tokio::select! {
            biased;
            read = output.read_buf(&mut buf) => read,
            () = &mut lingered => break,
        };
        match read {
            Ok(0) => break,
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(_) => break,
        }
        if let Some(log) = &log {
            log.write(stream, &buf);
        }
        if proc.fanout.has_readers() {
            let bytes = buf.split().freeze();
            proc.fanout.send(stream, &bytes, &mut exited).await;
        } else {
            buf.clear();
        }
        // A process that never stops writing must not keep others from their turn.
        tokio::task::consume_budget().await;
    }
}
