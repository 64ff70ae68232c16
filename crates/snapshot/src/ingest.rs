//! Decompresses, hashes and unpacks a layer at the same time, each on a thread of its own.
//!
//! ```text
//! reader ─ decompress ─┬─ hash            (diff id)
//!                      └─ apply_layer     (the caller's thread)
//! ```
//! Buffers go round: the one that is done with a buffer last gives it back.

use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};

use coracle_archive::apply_layer;
use coracle_archive::{Applied, ApplyOptions, Decompressor, Error as ArchiveError, Limit};
use coracle_oci::{Digest, Digester};

use crate::error::{Error, Result};

/// Uncompressed bytes that change hands at once.
const CHUNK: usize = 256 << 10;

/// Chunks that a thread may be ahead of the next.
const AHEAD: usize = 4;

/// A piece of the uncompressed stream.
#[derive(Default)]
struct Chunk {
    data: Vec<u8>,
    len: usize,
}

/// Unpacks the possibly compressed layer into the empty directory `fs`, and checks that its
/// uncompressed bytes have the digest `diff_id`.
///
/// # Errors
/// [`Error::Archive`], [`Error::WrongDiff`]; `fs` then holds a part of the layer.
pub(crate) fn unpack(
    reader: impl Read + Send,
    fs: &Path,
    diff_id: &Digest,
    opts: &ApplyOptions,
) -> Result<Applied> {
    let source = Decompressor::new(reader)?;
    let max = opts.limits.max_bytes;
    let (to_apply, from_source) = sync_channel(AHEAD);
    let (to_hash, for_hash) = sync_channel(AHEAD);
    let (give_back, returned) = channel();
    let hash_returns = give_back.clone();
    std::thread::scope(|scope| {
        let decompress = std::thread::Builder::new()
            .name("decompress".into())
            .spawn_scoped(scope, move || {
                produce(source, &returned, &to_apply, &to_hash, max)
            });
        let hash = std::thread::Builder::new()
            .name("hash".into())
            .spawn_scoped(scope, move || digest(diff_id, &for_hash, &hash_returns));
        let (Ok(_), Ok(hash)) = (decompress, hash) else {
            return Err(ArchiveError::Read(io::Error::other("can't start a thread")).into());
        };
        let mut stream = Stream {
            chunks: from_source,
            give_back,
            current: None,
            used: 0,
            ended: false,
        };
        let applied = apply_layer(&mut stream, fs, opts);
        if applied.is_ok() {
            // The digest is that of the whole stream, with whatever follows the archive's end.
            io::copy(&mut stream, &mut io::sink()).map_err(ArchiveError::Read)?;
        }
        // After an error this stops the other threads.
        drop(stream);
        let applied = applied?;
        let found = hash
            .join()
            .map_err(|_| ArchiveError::Read(io::Error::other("the hashing thread panicked")))?;
        if found != *diff_id {
            return Err(Error::WrongDiff {
                expected: diff_id.clone(),
                found,
            });
        }
        Ok(applied)
    })
}

/// Reads the stream and hands it to both others, until it ends or nobody wants it.
fn produce(
    mut source: impl Read,
    returned: &Receiver<Vec<u8>>,
    to_apply: &SyncSender<io::Result<Arc<Chunk>>>,
    to_hash: &SyncSender<Arc<Chunk>>,
    max: u64,
) {
    let mut total = 0u64;
    loop {
        let mut chunk = Chunk {
            data: returned.try_recv().unwrap_or_default(),
            len: 0,
        };
        chunk.data.resize(CHUNK, 0);
        while let Some(space) = chunk.data.get_mut(chunk.len..).filter(|s| !s.is_empty()) {
            match source.read(space) {
                Ok(0) => break,
                Ok(n) => chunk.len += n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => {
                    let _ = to_apply.send(Err(e));
                    return;
                }
            }
        }
        if chunk.len == 0 {
            return;
        }
        total += chunk.len as u64;
        if total > max {
            let error = ArchiveError::LimitExceeded {
                limit: Limit::Bytes,
                max,
            };
            let _ = to_apply.send(Err(io::Error::new(io::ErrorKind::FileTooLarge, error)));
            return;
        }
        let chunk = Arc::new(chunk);
        if to_hash.send(Arc::clone(&chunk)).is_err() || to_apply.send(Ok(chunk)).is_err() {
            return;
        }
    }
}

fn digest(like: &Digest, chunks: &Receiver<Arc<Chunk>>, give_back: &Sender<Vec<u8>>) -> Digest {
    let mut digester = Digester::new(like.algorithm());
    for chunk in chunks {
        digester.update(chunk.data.get(..chunk.len).unwrap_or_default());
        reuse(chunk, give_back);
    }
    digester.finish()
}

/// Gives a buffer back, if this was its last use.
fn reuse(chunk: Arc<Chunk>, give_back: &Sender<Vec<u8>>) {
    if let Some(chunk) = Arc::into_inner(chunk) {
        // Nobody wants it any more at the stream's end.
        let _ = give_back.send(chunk.data);
    }
}

/// The uncompressed stream as the unpacking thread reads it.
struct Stream {
    chunks: Receiver<io::Result<Arc<Chunk>>>,
    give_back: Sender<Vec<u8>>,
    current: Option<Arc<Chunk>>,
    used: usize,
    ended: bool,
}

impl Read for Stream {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        loop {
            if let Some(chunk) = &self.current {
                let rest = chunk.data.get(self.used..chunk.len).unwrap_or_default();
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
            if self.ended {
                return Ok(0);
            }
            match self.chunks.recv() {
                Ok(Ok(chunk)) => {
                    self.current = Some(chunk);
                    self.used = 0;
                }
                Ok(Err(e)) => return Err(e),
                Err(_) => self.ended = true,
            }
        }
    }
}
