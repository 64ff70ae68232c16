//! The files of an archive while it is being loaded.

use std::collections::HashMap;
use std::io::Read;

use coracle_archive::Entry;
use coracle_archive::Kind;
use coracle_archive::Limits;
use coracle_archive::TarReader;
use coracle_oci::Descriptor;
use coracle_oci::Digest;
use coracle_oci::limits;
use coracle_oci::media::Compression;

use crate::ArchiveError;
use crate::Lease;
use crate::LoadProgress;
use crate::Store;
use crate::StoreError;
use crate::ingest::Staged;

/// Files of one archive.
const MAX_FILES: usize = 100_000;
/// Links that lead from one to the next.
const MAX_LINKS: usize = 16;
/// The files that say what the others are; they are kept in memory.
const METADATA: [&str; 4] = ["index.json", "manifest.json", "oci-layout", "repositories"];
/// Bytes of one of these.
const METADATA_BYTES: u64 = 8 << 20;

/// All files of an archive by their names, and the content of most of them by digest.
pub(crate) struct Members<'a> {
    store: &'a Store,
    lease: &'a Lease,
    names: HashMap<String, Member>,
    staged: HashMap<Digest, Staged>,
}

enum Member {
    /// Content that is in a stage file, or in the store already.
    Content(Content),
    /// One of [`METADATA`].
    Metadata(Vec<u8>),
    /// The name of another file.
    Link(String),
}

/// What is known of a file's content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Content {
    pub(crate) digest: Digest,
    pub(crate) size: u64,
    pub(crate) compression: Compression,
}

impl<'a> Members<'a> {
    /// Reads an archive to its end.
    pub(crate) fn read(
        store: &'a Store,
        lease: &'a Lease,
        archive: impl Read,
        progress: &mut dyn FnMut(LoadProgress<'_>),
    ) -> Result<Self, StoreError> {
        let mut this = Self {
            store,
            lease,
            names: HashMap::new(),
            staged: HashMap::new(),
        };
        let mut tar = TarReader::new(archive, Limits::default());
        while let Some(entry) = tar.next_entry().map_err(ArchiveError::Tar)? {
            let name = normal(&entry.path)?;
            let member = match entry.kind {
                Kind::Directory => continue,
                Kind::File if entry.sparse.is_none() => {
                    match this.file(&name, &entry, &mut tar, progress)? {
                        Some(member) => member,
                        None => continue,
                    }
                }
                Kind::HardLink => Member::Link(normal(&entry.link)?),
                Kind::Symlink => Member::Link(beside(&name, &entry.link)?),
                _ => return Err(ArchiveError::EntryKind(name).into()),
            };
            this.insert(name, member)?;
        }
        Ok(this)
    }

    fn insert(&mut self, name: String, member: Member) -> Result<(), StoreError> {
        if self.names.len() >= MAX_FILES {
            return Err(ArchiveError::TooMany {
                what: "files",
                max: MAX_FILES,
            }
            .into());
        }
        let same = match (self.names.get(&name), &member) {
            (None, _) => true,
            (Some(Member::Content(old)), Member::Content(new)) => old.digest == new.digest,
            (Some(Member::Metadata(old)), Member::Metadata(new)) => old == new,
            (Some(Member::Link(old)), Member::Link(new)) => old == new,
            _ => false,
        };
        // Readers differ in which of two they take; whoever checks an archive must see what is used.
        if !same {
            return Err(ArchiveError::Duplicate(name).into());
        }
        self.names.insert(name, member);
        Ok(())
    }

    fn file(
        &mut self,
        name: &str,
        entry: &Entry,
        tar: &mut TarReader<impl Read>,
        progress: &mut dyn FnMut(LoadProgress<'_>),
    ) -> Result<Option<Member>, StoreError> {
        if METADATA.contains(&name) {
            return Ok(Some(Member::Metadata(metadata(name, entry.size, tar)?)));
        }
        // Of old archives: what Docker before 1.10 needed.
        if matches!(name.rsplit_once('/'), Some((_, "VERSION" | "json"))) {
            return Ok(None);
        }
        let expected = blob_digest(name)
            .map(|digest| Descriptor::new("application/octet-stream", digest, entry.size));
        if let Some(expected) = &expected
            && let Some(blob) = self.store.hold(self.lease, &expected.digest)?
            && blob.size == expected.size
        {
            let compression = head(&self.store.open_blob(&expected.digest)?);
            let digest = expected.digest.clone();
            return Ok(Some(Member::Content(Content {
                digest,
                size: blob.size,
                compression,
            })));
        }
        let mut ingest = self.store.ingest(self.lease, expected.as_ref())?;
        let mut compression = None;
        loop {
            let chunk = tar.chunk().map_err(ArchiveError::Tar)?;
            if chunk.is_empty() {
                break;
            }
            compression.get_or_insert_with(|| Compression::detect(chunk));
            ingest.write(chunk)?;
            progress(LoadProgress {
                name,
                done: ingest.offset(),
                size: entry.size,
            });
        }
        let staged = ingest.finish()?;
        let content = Content {
            digest: staged.digest.clone(),
            size: staged.size,
            compression: compression.unwrap_or(Compression::None),
        };
        self.staged.entry(content.digest.clone()).or_insert(staged);
        Ok(Some(Member::Content(content)))
    }

    /// Whether there is a file of this name.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.names.contains_key(name)
    }

    /// One of the files that say what the others are.
    pub(crate) fn metadata(&self, name: &str) -> Option<&[u8]> {
        match self.follow(name)? {
            Member::Metadata(bytes) => Some(bytes),
            _ => None,
        }
    }

    /// The content of the file `name`, links followed.
    pub(crate) fn content(&self, name: &str) -> Result<&Content, StoreError> {
        let normal = normal(name.as_bytes())?;
        match self.follow(&normal) {
            Some(Member::Content(content)) => Ok(content),
            _ => Err(ArchiveError::Missing(name.into()).into()),
        }
    }

    fn follow(&self, name: &str) -> Option<&Member> {
        let mut member = self.names.get(name)?;
        for _ in 0..MAX_LINKS {
            match member {
                Member::Link(target) => member = self.names.get(target)?,
                other => return Some(other),
            }
        }
        None
    }

    /// The size of content that came with the archive or is in the store already.
    pub(crate) fn size(&self, digest: &Digest) -> Result<Option<u64>, StoreError> {
        match self.staged.get(digest) {
            Some(staged) => Ok(Some(staged.size)),
            None => Ok(self.store.hold(self.lease, digest)?.map(|blob| blob.size)),
        }
    }

    /// Reads content of at most `limit` bytes.
    pub(crate) fn bytes(&self, digest: &Digest, limit: usize) -> Result<Vec<u8>, StoreError> {
        match self.staged.get(digest) {
            Some(staged) => staged.read_small(limit),
            None => self.store.read_small(digest, limit),
        }
    }

    /// The manifest of an image that is in the store already with all its content.
    pub(crate) fn known_image(&self, id: &Digest) -> Result<Option<Descriptor>, StoreError> {
        self.store.hold_image(self.lease, id)
    }

    /// Makes content visible.
    pub(crate) fn commit(&mut self, digest: &Digest) -> Result<(), StoreError> {
        match self.staged.remove(digest) {
            Some(staged) => staged.commit(),
            None => Ok(()),
        }
    }
}

fn metadata(name: &str, size: u64, tar: &mut TarReader<impl Read>) -> Result<Vec<u8>, StoreError> {
    if size > METADATA_BYTES {
        let limit = METADATA_BYTES;
        return Err(ArchiveError::TooLarge {
            name: name.into(),
            size,
            limit,
        }
        .into());
    }
    let mut bytes = Vec::new();
    loop {
        let chunk = tar.chunk().map_err(ArchiveError::Tar)?;
        if chunk.is_empty() {
            return Ok(bytes);
        }
        bytes.extend_from_slice(chunk);
    }
}

/// The digest that a blob's name promises.
fn blob_digest(name: &str) -> Option<Digest> {
    let (algorithm, hex) = name.strip_prefix("blobs/")?.split_once('/')?;
    Digest::from_hex(algorithm.parse().ok()?, hex).ok()
}

fn head(mut file: &std::fs::File) -> Compression {
    let mut head = [0; 4];
    match file.read_exact(&mut head) {
        Ok(()) => Compression::detect(&head),
        Err(_) => Compression::None,
    }
}

/// A path within the archive, without `.` and empty parts.
fn normal(path: &[u8]) -> Result<String, StoreError> {
    resolve(Vec::new(), path)
}

/// What a symbolic link at `name` points to.
fn beside(name: &str, target: &[u8]) -> Result<String, StoreError> {
    let dir: Vec<&str> = name.split('/').collect();
    let dir = dir
        .split_last()
        .map(|(_, dir)| dir.to_vec())
        .unwrap_or_default();
    match target.starts_with(b"/") {
        true => resolve(Vec::new(), target),
        false => resolve(dir, target),
    }
}

fn resolve<'a>(mut parts: Vec<&'a str>, path: &'a [u8]) -> Result<String, StoreError> {
    let refused = || ArchiveError::Path(String::from_utf8_lossy(path).into_owned());
    for part in std::str::from_utf8(path).map_err(|_| refused())?.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop().ok_or_else(refused)?;
            }
            part => parts.push(part),
        }
    }
    Ok(parts.join("/"))
}

/// What a configuration may have at most, for the readers beside this.
pub(crate) const CONFIG_BYTES: usize = limits::CONFIG_BYTES;
