//! Templates: a booted machine's memory and device state in a directory.
//!
//! `ram` is the guest's memory, sparse and as long as it; `state` is the devices' (a migration
//! stream); `template.json` says what they are for. A directory is complete or not there: it is made
//! under another name and renamed.

use std::fs::{self, File};
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rustix::fs::SeekFrom;
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::spec::Generation;

/// The version of the directory's contents.
pub const FORMAT: u32 = 1;

const ABOUT: &str = "template.json";
const RAM: &str = "ram";
const STATE: &str = "state";

/// Larger than any `template.json`.
const MAX_ABOUT: u64 = 64 << 10;

/// A stage that is older than this was left by a crash.
const STALE: Duration = Duration::from_secs(600);

/// A template that was found whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    dir: PathBuf,
    about: About,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct About {
    format: u32,
    /// What [`crate::Vmm::key`] says of its shape.
    key: String,
    /// Bytes of `ram`.
    memory: u64,
    /// Bytes of `state`.
    state: u64,
}

impl Template {
    /// Opens the template in a directory, if it is whole and of this key.
    ///
    /// # Errors
    /// [`Error::Template`] with what is wrong, also if there is none: boot instead, and make it
    /// anew.
    pub fn open(dir: &Path, key: &str) -> Result<Template> {
        let bad = |why: String| Error::template(dir, why);
        let path = dir.join(ABOUT);
        let found = fs::metadata(&path).map_err(|error| bad(format!("{ABOUT}: {error}")))?;
        if !found.is_file() || found.len() > MAX_ABOUT {
            return Err(bad(format!("{ABOUT} is no description")));
        }
        let text = fs::read(&path).map_err(|error| bad(format!("{ABOUT}: {error}")))?;
        let about: About =
            serde_json::from_slice(&text).map_err(|error| bad(format!("{ABOUT}: {error}")))?;
        if about.format != FORMAT {
            return Err(bad(format!("its format is {}, not {FORMAT}", about.format)));
        }
        if about.key != key {
            return Err(bad("it is of another shape".into()));
        }
        let template = Template {
            dir: dir.into(),
            about,
        };
        template.open_files().map(|_| template)
    }

    /// Where it is.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// What shape it has.
    #[must_use]
    pub fn key(&self) -> &str {
        &self.about.key
    }

    /// Its memory and its state, read-only.
    pub(crate) fn open_files(&self) -> Result<(OwnedFd, OwnedFd)> {
        let open = |name: &str, expected: u64| {
            let bad = |why: String| Error::template(&self.dir, format!("{name}: {why}"));
            let file = File::open(self.dir.join(name)).map_err(|error| bad(error.to_string()))?;
            let found = file.metadata().map_err(|error| bad(error.to_string()))?;
            if !found.is_file() || found.len() != expected {
                return Err(bad(format!("{} bytes, not {expected}", found.len())));
            }
            Ok(OwnedFd::from(file))
        };
        Ok((
            open(RAM, self.about.memory)?,
            open(STATE, self.about.state)?,
        ))
    }
}

/// A template in the making. Dropping it removes it.
#[derive(Debug)]
pub(crate) struct Stage {
    dir: PathBuf,
    target: PathBuf,
    done: bool,
}

impl Stage {
    /// Begins one that shall be at `target`.
    pub(crate) fn begin(target: &Path) -> Result<Stage> {
        let (parent, name) = place(target)?;
        fs::create_dir_all(parent).map_err(Error::io(format!("making {}", parent.display())))?;
        sweep(parent, &name);
        let dir = parent.join(format!("{}{}", stage_prefix(&name), Generation::fresh()?));
        fs::create_dir(&dir).map_err(Error::io(format!("making {}", dir.display())))?;
        Ok(Stage {
            dir,
            target: target.into(),
            done: false,
        })
    }

    /// Makes the file for the state.
    pub(crate) fn state(&self) -> Result<File> {
        self.create(STATE)
    }

    fn create(&self, name: &str) -> Result<File> {
        let path = self.dir.join(name);
        File::options()
            .read(true)
            .write(true)
            .create_new(true)
            .open(&path)
            .map_err(Error::io(format!("making {}", path.display())))
    }

    /// Completes the template from the memory and the written state, and puts it in its place.
    /// One that somebody else has put there meanwhile is kept.
    pub(crate) fn finish(mut self, key: &str, ram: &OwnedFd, state: &File) -> Result<Template> {
        let failed = |what: &str| Error::io(format!("{what} of a template"));
        let copy = self.create(RAM)?;
        let memory = copy_sparse(ram, &copy).map_err(failed("copying the memory"))?;
        copy.sync_all().map_err(failed("syncing the memory"))?;
        state.sync_all().map_err(failed("syncing the state"))?;
        let about = About {
            format: FORMAT,
            key: key.into(),
            memory,
            state: state
                .metadata()
                .map_err(failed("measuring the state"))?
                .len(),
        };
        let text = serde_json::to_vec_pretty(&about)
            .map_err(|error| Error::template(&self.target, error.to_string()))?;
        let file = self.create(ABOUT)?;
        io::Write::write_all(&mut &file, &text).map_err(failed("writing the description"))?;
        file.sync_all().map_err(failed("syncing the description"))?;
        sync(&self.dir)?;
        let (parent, name) = place(&self.target)?;
        for _ in 0..3 {
            match fs::rename(&self.dir, &self.target) {
                Ok(()) => {
                    self.done = true;
                    sync(parent)?;
                    return Template::open(&self.target, key);
                }
                Err(error)
                    if matches!(error.raw_os_error(), Some(libc::ENOTEMPTY | libc::EEXIST)) => {}
                Err(error) => {
                    return Err(Error::io(format!("making {}", self.target.display()))(
                        error,
                    ));
                }
            }
            if let Ok(theirs) = Template::open(&self.target, key) {
                return Ok(theirs);
            }
            // Damaged, or of another shape: out of the way at once, then away.
            let old = parent.join(format!("{}{}", stage_prefix(&name), Generation::fresh()?));
            if fs::rename(&self.target, &old).is_ok() {
                let _ = fs::remove_dir_all(&old);
            }
        }
        Err(Error::template(
            &self.target,
            "something else is in its place, again and again",
        ))
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        if !self.done {
            // What can't be removed now is stale later.
            let _ = fs::remove_dir_all(&self.dir);
        }
    }
}

fn place(target: &Path) -> Result<(&Path, String)> {
    match (target.parent(), target.file_name()) {
        (Some(parent), Some(name)) if target.is_absolute() => {
            Ok((parent, name.to_string_lossy().into_owned()))
        }
        _ => Err(Error::Invalid(format!(
            "{} is no place for a template",
            target.display()
        ))),
    }
}

fn stage_prefix(name: &str) -> String {
    format!(".{name}.stage-")
}

/// Removes what a crash has left.
fn sweep(parent: &Path, name: &str) {
    let prefix = stage_prefix(name);
    let now = SystemTime::now();
    for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
        let stale = entry.file_name().to_string_lossy().starts_with(&prefix)
            && (entry.metadata().and_then(|data| data.modified()).ok())
                .and_then(|time| now.duration_since(time).ok())
                .is_some_and(|age| age > STALE);
        if stale {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

fn sync(dir: &Path) -> Result<()> {
    File::open(dir)
        .and_then(|dir| dir.sync_all())
        .map_err(Error::io(format!("syncing {}", dir.display())))
}

/// Copies what isn't a hole, nor a page of zeroes; the length.
fn copy_sparse(from: &OwnedFd, to: &File) -> io::Result<u64> {
    use std::os::unix::fs::FileExt;
    const PAGE: usize = 4096;
    let length = rustix::fs::fstat(from)?.st_size as u64;
    to.set_len(length)?;
    let mut buffer = vec![0; 256 * PAGE];
    let mut at = 0;
    while at < length {
        let start = match rustix::fs::seek(from, SeekFrom::Data(at)) {
            Ok(start) => start,
            // Nothing but a hole is left.
            Err(Errno::NXIO) => break,
            Err(errno) => return Err(errno.into()),
        };
        let end = rustix::fs::seek(from, SeekFrom::Hole(start))?;
        at = start;
        while at < end {
            let wanted = buffer.len().min((end - at) as usize);
            let chunk = buffer.get_mut(..wanted).unwrap_or_default();
            let count = rustix::io::pread(from, &mut *chunk, at)?;
            if count == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let mut written = at;
            for page in chunk.get(..count).unwrap_or_default().chunks(PAGE) {
                if page.iter().any(|byte| *byte != 0) {
                    to.write_all_at(page, written)?;
                }
                written += page.len() as u64;
            }
            at = written;
        }
    }
    Ok(length)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn make(dir: &Path, key: &str) -> Template {
        let stage = Stage::begin(dir).unwrap();
        let mut state = stage.state().unwrap();
        io::Write::write_all(&mut state, b"devices").unwrap();
        let ram = tempfile::tempfile().unwrap();
        ram.set_len(4 << 20).unwrap();
        std::os::unix::fs::FileExt::write_all_at(&ram, b"memory", (1 << 20) + 5).unwrap();
        stage.finish(key, &ram.into(), &state).unwrap()
    }

    fn names(dir: &Path) -> Vec<String> {
        let mut names: Vec<_> = fs::read_dir(dir)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn what_was_made_is_found_and_sparse() {
        use std::os::unix::fs::MetadataExt;
        let top = tempfile::tempdir().unwrap();
        let dir = top.path().join("sub/one");
        let made = make(&dir, "k");
        assert_eq!(Template::open(&dir, "k").unwrap(), made);
        let ram = dir.join(RAM);
        assert!(ram.metadata().unwrap().blocks() < 64);
        let bytes = fs::read(&ram).unwrap();
        assert_eq!(bytes.len(), 4 << 20);
        assert_eq!(&bytes[(1 << 20) + 5..][..6], b"memory");
        assert_eq!(names(dir.parent().unwrap()), ["one"]);
    }

    #[test]
    fn a_damaged_one_is_refused_and_replaced() {
        let top = tempfile::tempdir().unwrap();
        let dir = top.path().join("one");
        let damages: [fn(&Path); 8] = [
            |dir| fs::remove_file(dir.join(RAM)).unwrap(),
            |dir| fs::write(dir.join(RAM), "short").unwrap(),
            |dir| fs::remove_file(dir.join(STATE)).unwrap(),
            |dir| fs::write(dir.join(STATE), "").unwrap(),
            |dir| fs::write(dir.join(ABOUT), "{").unwrap(),
            |dir| fs::write(dir.join(ABOUT), vec![b' '; 1 << 20]).unwrap(),
            |dir| {
                let path = dir.join(ABOUT);
                let text = fs::read_to_string(&path).unwrap();
                fs::write(&path, text.replace("\"format\": 1", "\"format\": 9")).unwrap();
            },
            |dir| {
                fs::remove_file(dir.join(STATE)).unwrap();
                fs::create_dir(dir.join(STATE)).unwrap();
            },
        ];
        for damage in damages {
            make(&dir, "k");
            damage(&dir);
            let error = Template::open(&dir, "k").unwrap_err();
            assert!(matches!(error, Error::Template { .. }), "{error}");
        }
        make(&dir, "k");
        assert!(matches!(
            Template::open(&dir, "other").unwrap_err(),
            Error::Template { .. }
        ));
        make(&dir, "other");
        Template::open(&dir, "other").unwrap();
        assert_eq!(names(top.path()), ["one"]);
    }

    #[test]
    fn an_abandoned_one_leaves_nothing() {
        let top = tempfile::tempdir().unwrap();
        let dir = top.path().join("one");
        let stage = Stage::begin(&dir).unwrap();
        stage.state().unwrap();
        drop(stage);
        assert!(names(top.path()).is_empty());
        assert!(Stage::begin(Path::new("relative")).is_err());
    }

    #[test]
    fn the_first_of_two_makers_wins() {
        let top = tempfile::tempdir().unwrap();
        let dir = top.path().join("one");
        make(&dir, "k");
        let inode = |dir: &Path| std::os::unix::fs::MetadataExt::ino(&fs::metadata(dir).unwrap());
        let first = inode(&dir);
        make(&dir, "k");
        assert_eq!(inode(&dir), first);
        assert_eq!(names(top.path()), ["one"]);
    }
}
