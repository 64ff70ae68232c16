//! What the guest has opened.

use std::collections::{HashMap, VecDeque};
use std::ffi::CStr;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::io::Errno;

use super::wire::Result;

/// An open file.
pub(super) struct File {
    pub(super) fd: OwnedFd,
    /// Opened with `O_APPEND`.
    pub(super) append: bool,
}

/// An open directory.
pub(super) struct Directory {
    pub(super) fd: OwnedFd,
    pub(super) position: Mutex<Position>,
}

/// Entries read from the host and not yet given to the guest.
#[derive(Default)]
pub(super) struct Position {
    /// Where the first of `entries`, or what comes after them, is.
    pub(super) at: u64,
    pub(super) entries: VecDeque<Entry>,
}

pub(super) struct Entry {
    pub(super) inode: u64,
    /// `DT_*`.
    pub(super) kind: u32,
    pub(super) name: Box<CStr>,
    /// Where the entry after this one is.
    pub(super) next: u64,
}

enum Handle {
    File(Arc<File>),
    Directory(Arc<Directory>),
}

pub(super) struct Handles {
    state: Mutex<State>,
    max: usize,
}

#[derive(Default)]
struct State {
    open: HashMap<u64, Handle>,
    last: u64,
}

impl Handles {
    pub(super) fn new(max: usize) -> Handles {
        Handles {
            state: Mutex::default(),
            max,
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, handle: Handle) -> Result<u64> {
        let mut state = self.lock();
        if state.open.len() >= self.max {
            return Err(Errno::NFILE);
        }
        state.last += 1;
        let id = state.last;
        state.open.insert(id, handle);
        Ok(id)
    }

    /// `ENFILE` if the guest may open no more; asked before something is created.
    pub(super) fn room(&self) -> Result<()> {
        if self.lock().open.len() >= self.max {
            Err(Errno::NFILE)
        } else {
            Ok(())
        }
    }

    pub(super) fn add_file(&self, fd: OwnedFd, append: bool) -> Result<u64> {
        self.add(Handle::File(Arc::new(File { fd, append })))
    }

    pub(super) fn add_directory(&self, fd: OwnedFd) -> Result<u64> {
        let position = Mutex::default();
        self.add(Handle::Directory(Arc::new(Directory { fd, position })))
    }

    pub(super) fn file(&self, id: u64) -> Result<Arc<File>> {
        match self.lock().open.get(&id) {
            Some(Handle::File(file)) => Ok(file.clone()),
            Some(Handle::Directory(_)) => Err(Errno::ISDIR),
            None => Err(Errno::BADF),
        }
    }

    pub(super) fn directory(&self, id: u64) -> Result<Arc<Directory>> {
        match self.lock().open.get(&id) {
            Some(Handle::Directory(directory)) => Ok(directory.clone()),
            Some(Handle::File(_)) => Err(Errno::NOTDIR),
            None => Err(Errno::BADF),
        }
    }

    /// Forgets a handle; what it was is closed when nobody uses it any more.
    pub(super) fn close(&self, id: u64) -> Result<()> {
        let closed = self.lock().open.remove(&id);
        closed.map(drop).ok_or(Errno::BADF)
    }
}

impl Directory {
    pub(super) fn position(&self) -> MutexGuard<'_, Position> {
        self.position.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
