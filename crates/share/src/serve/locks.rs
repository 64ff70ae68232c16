//! Locks of the guest's processes, held on the host, so that they hold between guests too.
//!
//! flock(2) is the open file's: one of the host for each of the guest. fcntl(2) locks belong to
//! a process and a file: each such pair has an open file description of its own here, which
//! holds them (`F_OFD_SETLK`) and with which all of them go when the process closes the file.

use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::fs::{FlockOperation, OFlags};
use rustix::io::Errno;
use tokio::sync::Notify;

use super::fs::Fs;
use super::sys::{self, Range};
use super::wire::{Args, Header, Reply, Result};
use crate::abi::{LK_FLOCK, op};

pub(super) struct Locks {
    owners: Mutex<HashMap<(u64, u64), Owner>>,
    /// Something was unlocked: who waits may try again.
    pub(super) changed: Notify,
    max: usize,
}

#[derive(Clone)]
struct Owner {
    fd: Arc<OwnedFd>,
    pid: u32,
}

impl Locks {
    pub(super) fn new(max: usize) -> Locks {
        Locks {
            owners: Mutex::default(),
            changed: Notify::new(),
            max: max.max(4),
        }
    }

    fn owners(&self) -> MutexGuard<'_, HashMap<(u64, u64), Owner>> {
        self.owners.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The process closes the file: its locks are gone.
    pub(super) fn close(&self, node: u64, owner: u64) {
        let closed = self.owners().remove(&(node, owner));
        if closed.is_some() {
            drop(closed);
            self.changed.notify_waiters();
        }
    }

    /// Who of the guest may hold a lock that is in the way: sure if there is but one other.
    fn other(&self, node: u64, owner: u64) -> u32 {
        let owners = self.owners();
        let mut others = owners
            .iter()
            .filter(|((at, by), _)| *at == node && *by != owner);
        match (others.next(), others.next()) {
            (Some((_, only)), None) => only.pid,
            _ => 0,
        }
    }
}

/// `struct fuse_lk_in`.
struct Asked {
    handle: u64,
    owner: u64,
    range: Range,
    pid: u32,
    flock: bool,
}

impl Asked {
    fn parse(mut args: Args<'_>) -> Result<Asked> {
        let (handle, owner) = (args.u64()?, args.u64()?);
        let (start, end) = (args.u64()?, args.u64()?);
        let (kind, pid) = (args.u32()?.cast_signed(), args.u32()?);
        let flock = args.u32()? & LK_FLOCK != 0;
        if !matches!(kind, libc::F_RDLCK | libc::F_WRLCK | libc::F_UNLCK) {
            return Err(Errno::INVAL);
        }
        let start = i64::try_from(start).map_err(|_| Errno::INVAL)?;
        let length = match i64::try_from(end).unwrap_or(i64::MAX) {
            i64::MAX => 0,
            end if end < start => return Err(Errno::INVAL),
            end => end - start + 1,
        };
        Ok(Asked {
            handle,
            owner,
            range: Range {
                start,
                length,
                kind,
            },
            pid,
            flock,
        })
    }
}

impl Fs {
    /// Locks or unlocks without waiting; `EAGAIN` if another is in the way.
    pub(super) fn set_lock(&self, header: &Header, args: Args<'_>) -> Result<Reply> {
        let asked = Asked::parse(args)?;
        let unlock = asked.range.kind == libc::F_UNLCK;
        if asked.flock {
            let operation = match asked.range.kind {
                libc::F_RDLCK => FlockOperation::NonBlockingLockShared,
                libc::F_WRLCK => FlockOperation::NonBlockingLockExclusive,
                _ => FlockOperation::Unlock,
            };
            rustix::fs::flock(&self.handles.file(asked.handle)?.fd, operation)?;
        } else {
            let key = (header.node, asked.owner);
            let known = self.locks.owners().get(&key).map(|owner| owner.fd.clone());
            let fd = match known {
                Some(fd) => fd,
                None if unlock => return Ok(Reply::new()),
                None => self.new_owner(key, asked.pid)?,
            };
            sys::lock(&*fd, asked.range)?;
        }
        if unlock || asked.flock || header.opcode == op::SETLK {
            // A lock made weaker lets others in as well.
            self.locks.changed.notify_waiters();
        }
        Ok(Reply::new())
    }

    /// The open file description of a process's locks.
    fn new_owner(&self, key: (u64, u64), pid: u32) -> Result<Arc<OwnedFd>> {
        if self.locks.owners().len() >= self.locks.max {
            return Err(Errno::NOLCK);
        }
        let fd = match self.reopen(key.0, libc::S_IFREG, OFlags::RDWR) {
            Err(Errno::ROFS | Errno::ACCESS | Errno::PERM | Errno::TXTBSY) => {
                self.reopen(key.0, libc::S_IFREG, OFlags::RDONLY)?
            }
            fd => fd?,
        };
        let mut owners = self.locks.owners();
        let owner = owners.entry(key).or_insert_with(|| Owner {
            fd: Arc::new(fd),
            pid,
        });
        Ok(owner.fd.clone())
    }

    /// GETLK: who would be in the way.
    pub(super) fn get_lock(&self, header: &Header, args: Args<'_>) -> Result<Reply> {
        let asked = Asked::parse(args)?;
        if asked.flock || asked.range.kind == libc::F_UNLCK {
            return Err(Errno::INVAL);
        }
        let known = self
            .locks
            .owners()
            .get(&(header.node, asked.owner))
            .map(|owner| owner.fd.clone());
        let fd = match known {
            Some(fd) => fd,
            None => Arc::new(self.reopen(header.node, libc::S_IFREG, OFlags::RDONLY)?),
        };
        let Some(found) = sys::conflict(&*fd, asked.range)? else {
            return Ok(Reply::new()
                .u64(0)
                .u64(0)
                .u32(libc::F_UNLCK.cast_unsigned())
                .u32(0));
        };
        let end = match found.length {
            0 => i64::MAX,
            length => found.start.saturating_add(length - 1),
        };
        Ok(Reply::new()
            .u64(found.start.cast_unsigned())
            .u64(end.cast_unsigned())
            .u32(found.kind.cast_unsigned())
            .u32(self.locks.other(header.node, asked.owner)))
    }
}
