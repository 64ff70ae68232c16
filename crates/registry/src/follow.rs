//! Reading a blob while it is still being downloaded.

use std::fs::File;
use std::io;
use std::io::Read;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::sync::Condvar;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;

/// How far a download has come; shared by its writer and all [`LayerStream`]s.
#[derive(Debug)]
pub(crate) struct Tail {
    file: File,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Clone, Copy)]
struct State {
    written: u64,
    end: Option<End>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Stored,
    Aborted,
}

impl Tail {
    /// A tail of `file`, which has `written` bytes already.
    pub(crate) fn new(file: File, written: u64) -> Self {
        let state = Mutex::new(State { written, end: None });
        Self {
            file,
            state,
            changed: Condvar::new(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn advance(&self, bytes: usize) {
        self.lock().written += bytes as u64;
        self.changed.notify_all();
    }

    /// The blob was verified and is in the store.
    pub(crate) fn stored(&self) {
        self.end(End::Stored);
    }

    /// There will be no more bytes. Has no effect on a blob that is stored.
    pub(crate) fn abort(&self) {
        self.end(End::Aborted);
    }

    fn end(&self, end: End) {
        self.lock().end.get_or_insert(end);
        self.changed.notify_all();
    }

    /// Waits until there is something behind `at`: returns how far it reaches.
    fn wait(&self, at: u64) -> io::Result<u64> {
        let mut state = self.lock();
        loop {
            match state.end {
                Some(End::Aborted) => {
                    return Err(io::Error::new(
                        io::ErrorKind::ConnectionAborted,
                        "the download of the layer was aborted",
                    ));
                }
                Some(End::Stored) => return Ok(state.written),
                None if state.written > at => return Ok(state.written),
                None => {}
            }
            state = self
                .changed
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }
}

/// The compressed bytes of a layer, readable while they come in. Reads block: use it on a blocking
/// thread.
///
/// The bytes are not verified as they pass. The end of the stream is: it comes only after the blob
/// was verified and stored. If the download fails, is cancelled or has to begin anew, a read fails
/// with [`io::ErrorKind::ConnectionAborted`]; throw away what was made from the stream then.
#[derive(Debug)]
pub struct LayerStream {
    tail: Arc<Tail>,
    at: u64,
}

impl LayerStream {
    pub(crate) fn new(tail: Arc<Tail>) -> Self {
        Self { tail, at: 0 }
    }
}

impl Read for LayerStream {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if buf.is_empty() {
            return Ok(0);
        }
        let there = self.tail.wait(self.at)?.saturating_sub(self.at);
        let wanted = usize::try_from(there).unwrap_or(usize::MAX).min(buf.len());
        let Some(buf) = buf.get_mut(..wanted).filter(|buf| !buf.is_empty()) else {
            return Ok(0);
        };
        let count = self.tail.file.read_at(buf, self.at)?;
        if count == 0 {
            return Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                "the blob's file is too short",
            ));
        }
        self.at += count as u64;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn follows_until_the_blob_is_stored() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"abc").unwrap();
        let tail = Arc::new(Tail::new(file.try_clone().unwrap(), 3));
        let mut stream = LayerStream::new(tail.clone());
        let reader = std::thread::spawn(move || {
            let mut all = Vec::new();
            stream.read_to_end(&mut all).map(|_| all)
        });
        file.write_all(b"defg").unwrap();
        tail.advance(4);
        tail.stored();
        tail.abort();
        assert_eq!(reader.join().unwrap().unwrap(), b"abcdefg");
    }

    #[test]
    fn a_failed_download_is_no_end() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"abc").unwrap();
        let tail = Arc::new(Tail::new(file, 3));
        let mut stream = LayerStream::new(tail.clone());
        let mut buf = [0; 8];
        assert_eq!(stream.read(&mut buf).unwrap(), 3);
        tail.abort();
        assert_eq!(
            stream.read(&mut buf).unwrap_err().kind(),
            io::ErrorKind::ConnectionAborted
        );
    }
}
