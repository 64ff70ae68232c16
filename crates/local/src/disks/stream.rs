//! A layer's uncompressed bytes: decompressed and checked on threads of their own, so that whoever
//! reads them does neither.
//!
//! ```text
//! blob ─ decompress ─┬─ hash       (diff id)
//!                    └─ read()     (the caller's thread)
//! ```

use std::fs::File;
use std::io::{self, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread::JoinHandle;

use coracle_archive::Decompressor;
use coracle_oci::{Digest, Digester};

/// Bytes that change hands at once.
const CHUNK: usize = 256 << 10;

/// Chunks that a thread may be ahead of the next.
const AHEAD: usize = 4;

/// A stream that ends in an error where its bytes aren't those of their diff id, and at once where
/// it was cancelled.
pub(super) struct Stream {
    chunks: Receiver<io::Result<Arc<Vec<u8>>>>,
    give_back: Sender<Vec<u8>>,
    current: Option<Arc<Vec<u8>>>,
    used: usize,
    /// Until the end was seen.
    hash: Option<JoinHandle<Digest>>,
    diff_id: Digest,
    cancelled: Arc<AtomicBool>,
}

impl Stream {
    pub(super) fn open(
        blob: File,
        diff_id: &Digest,
        cancelled: Arc<AtomicBool>,
    ) -> io::Result<Stream> {
        let source = Decompressor::new(blob).map_err(io::Error::other)?;
        let (to_reader, chunks) = sync_channel(AHEAD);
        let (to_hash, for_hash) = sync_channel(AHEAD);
        let (give_back, returned) = channel();
        let hash_returns = give_back.clone();
        let digester = Digester::new(diff_id.algorithm());
        let hash = std::thread::Builder::new()
            .name("hash".into())
            .spawn(move || digest(digester, &for_hash, &hash_returns))?;
        // It ends when nobody reads any more.
        std::thread::Builder::new()
            .name("decompress".into())
            .spawn(move || produce(source, &returned, &to_reader, &to_hash))?;
        Ok(Stream {
            chunks,
            give_back,
            current: None,
            used: 0,
            hash: Some(hash),
            diff_id: diff_id.clone(),
            cancelled,
        })
    }

    /// All bytes were read.
    fn check(&mut self) -> io::Result<()> {
        let Some(hash) = self.hash.take() else {
            return Ok(());
        };
        let found = hash
            .join()
            .map_err(|_| io::Error::other("the hashing thread panicked"))?;
        if found == self.diff_id {
            return Ok(());
        }
        Err(io::Error::new(
            io::ErrorKind::InvalidData,
            format!("the layer's digest is {found} instead of {}", self.diff_id),
        ))
    }
}

impl Read for Stream {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        loop {
            if let Some(chunk) = &self.current {
                let rest = chunk.get(self.used..).unwrap_or_default();
                if !rest.is_empty() {
                    let len = rest.len().min(buf.len());
                    if let (Some(to), Some(from)) = (buf.get_mut(..len), rest.get(..len)) {
                        to.copy_from_slice(from);
                    }
                    self.used += len;
                    return Ok(len);
                }
            }
            if let Some(chunk) = self.current.take() {
                reuse(chunk, &self.give_back);
            }
            if self.cancelled.load(Ordering::Relaxed) {
                return Err(io::Error::other("nobody wants the image any more"));
            }
            match self.chunks.recv() {
                Ok(chunk) => {
                    self.current = Some(chunk?);
                    self.used = 0;
                }
                Err(_) => return self.check().map(|()| 0),
            }
        }
    }
}

fn produce(
    mut source: impl Read,
    returned: &Receiver<Vec<u8>>,
    to_reader: &SyncSender<io::Result<Arc<Vec<u8>>>>,
    to_hash: &SyncSender<Arc<Vec<u8>>>,
) {
    loop {
        let mut chunk = returned.try_recv().unwrap_or_default();
        chunk.resize(CHUNK, 0);
        let mut len = 0;
        while let Some(space) = chunk.get_mut(len..).filter(|space| !space.is_empty()) {
            match source.read(space) {
                Ok(0) => break,
                Ok(n) => len += n,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    // Without a reader there is nobody to be told.
                    let _ = to_reader.send(Err(error));
                    return;
                }
            }
        }
        if len == 0 {
            return;
        }
        chunk.truncate(len);
        let chunk = Arc::new(chunk);
        if to_hash.send(Arc::clone(&chunk)).is_err() || to_reader.send(Ok(chunk)).is_err() {
            return;
        }
    }
}

fn digest(
    mut digester: Digester,
    chunks: &Receiver<Arc<Vec<u8>>>,
    give_back: &Sender<Vec<u8>>,
) -> Digest {
    for chunk in chunks {
        digester.update(&chunk);
        reuse(chunk, give_back);
    }
    digester.finish()
}

/// Gives a buffer back, if this was its last use.
fn reuse(chunk: Arc<Vec<u8>>, give_back: &Sender<Vec<u8>>) {
    if let Some(chunk) = Arc::into_inner(chunk) {
        // Nobody wants it any more at the stream's end.
        let _ = give_back.send(chunk);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Seek, Write};

    fn blob(data: &[u8]) -> File {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(data).unwrap();
        file.rewind().unwrap();
        file
    }

    fn read(data: &[u8], diff_id: &Digest, cancelled: bool) -> io::Result<Vec<u8>> {
        let cancelled = Arc::new(AtomicBool::new(cancelled));
        let mut out = Vec::new();
        Stream::open(blob(data), diff_id, cancelled)?.read_to_end(&mut out)?;
        Ok(out)
    }

    #[test]
    fn what_comes_out_is_checked() {
        let data: Vec<u8> = (0..3_000_000u32).map(|n| (n % 253) as u8).collect();
        let diff_id = Digest::sha256(&data);
        assert_eq!(read(&data, &diff_id, false).unwrap(), data);
        let error = read(&data, &Digest::sha256(b"other"), false).unwrap_err();
        assert!(error.to_string().contains("digest"), "{error}");
        assert!(read(&data, &diff_id, true).is_err());
        assert_eq!(read(b"", &Digest::sha256(b""), false).unwrap(), b"");
    }
}
