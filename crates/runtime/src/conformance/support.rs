//! What checks share: time limits, error kinds, archives.

use std::io::Read;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;

use crate::io::{BoxStream, ByteStream};
use crate::{Result, RuntimeError};

/// How long anything may take that should come at once; generous, as hosts are slow and busy.
pub(super) const SOON: Duration = Duration::from_secs(60);

/// Waits for what should come soon.
pub(super) async fn soon<T>(what: &str, work: impl Future<Output = T>) -> T {
    match tokio::time::timeout(SOON, work).await {
        Ok(value) => value,
        Err(_) => panic!("{what}: nothing after {SOON:?}"),
    }
}

/// Everything that a stream gives.
pub(super) async fn all<T>(what: &str, mut stream: BoxStream<T>) -> Vec<T> {
    let mut items = Vec::new();
    while let Some(item) = soon(what, stream.next()).await {
        items.push(item.unwrap_or_else(|error| panic!("{what}: {error}")));
    }
    items
}

/// All bytes of a stream.
pub(super) async fn bytes(what: &str, stream: ByteStream) -> Vec<u8> {
    all(what, stream).await.concat()
}

/// A stream of these bytes, in pieces.
pub(super) fn stream(bytes: &[u8]) -> ByteStream {
    let pieces: Vec<Result<Bytes>> = bytes
        .chunks(1000)
        .map(|piece| Ok(Bytes::copy_from_slice(piece)))
        .collect();
    Box::pin(futures_util::stream::iter(pieces))
}

/// Demands an error of a kind (`refused!(result, InvalidState)`), whose text holds some words.
macro_rules! refused {
    ($result:expr, $kind:ident) => {
        $crate::conformance::support::refused!($result, $kind, "")
    };
    ($result:expr, $kind:ident, $words:expr) => {
        match $result {
            Err($crate::RuntimeError::$kind(text)) => {
                let words = $words.to_lowercase();
                assert!(
                    text.to_lowercase().contains(&words),
                    "{}: the text {text:?} should hold {words:?}",
                    stringify!($result)
                );
            }
            Err(other) => panic!(
                "{}: should be {}, is {other:?}",
                stringify!($result),
                stringify!($kind)
            ),
            Ok(_) => panic!(
                "{}: should be {}, succeeds",
                stringify!($result),
                stringify!($kind)
            ),
        }
    };
}
pub(super) use refused;

/// Demands an error whose text holds some words, of whatever kind: where Docker itself blames now
/// the request, now the runtime.
pub(super) fn fails_saying<T>(words: &str, result: Result<T>) {
    match result {
        Err(error) => {
            let text = error.to_string();
            assert!(
                text.to_lowercase().contains(&words.to_lowercase()),
                "the text {text:?} should hold {words:?}"
            );
        }
        Ok(_) => panic!("it should fail, saying {words:?}"),
    }
}

/// Whether a result is the answer to what a runtime does not do.
pub(super) fn not_supported<T>(what: &str, result: Result<T>) {
    match result {
        Err(RuntimeError::NotSupported(_)) => {}
        Err(other) => panic!("{what} is not declared: should be NotSupported, is {other:?}"),
        Ok(_) => panic!("{what} is not declared: should be NotSupported, succeeds"),
    }
}

/// An entry of an archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    /// Without a slash at its end.
    pub(super) path: String,
    /// `d`, `f`, `l` or `?`.
    pub(super) kind: char,
    pub(super) content: Vec<u8>,
}

/// Reads an archive.
pub(super) fn untar(bytes: &[u8]) -> Vec<Entry> {
    let mut archive = tar::Archive::new(bytes);
    let entries = archive.entries().expect("an archive");
    entries
        .map(|entry| {
            let mut entry = entry.expect("a whole archive");
            let path = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
            let kind = match entry.header().entry_type() {
                tar::EntryType::Directory => 'd',
                tar::EntryType::Regular => 'f',
                tar::EntryType::Symlink => 'l',
                _ => '?',
            };
            let mut content = Vec::new();
            entry.read_to_end(&mut content).expect("a whole entry");
            Entry {
                path: path.trim_end_matches('/').to_owned(),
                kind,
                content,
            }
        })
        .collect()
}

/// An archive of files, and of directories (names that end in a slash).
pub(super) fn tar_of(files: &[(&str, &str)]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (name, content) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        header.set_mtime(1_000_000_000);
        if name.ends_with('/') {
            header.set_entry_type(tar::EntryType::Directory);
            header.set_mode(0o755);
        }
        header.set_cksum();
        builder
            .append_data(&mut header, name, content.as_bytes())
            .expect("an archive in memory");
    }
    builder.into_inner().expect("an archive in memory")
}
