//! Working for a process of the guest: a thread's user, mask and capabilities for one operation.

use std::os::fd::OwnedFd;

use rustix::fs::Mode;
use rustix::io::Errno;
use rustix::thread::{CapabilitySet, CapabilitySets, capabilities, set_capabilities};

use super::sys;
use super::wire::{Header, Result};

/// One thread of the pool. Its mask is its own, its working directory is `/proc/self/fd`.
pub(super) struct Worker {
    own: CapabilitySets,
    uid: u32,
    gid: u32,
}

impl Worker {
    /// Prepares the calling thread.
    pub(super) fn new(descriptors: &OwnedFd) -> Result<Worker> {
        sys::own_directory_and_mask()?;
        rustix::process::fchdir(descriptors)?;
        rustix::process::umask(Mode::empty());
        Ok(Worker {
            own: capabilities(None)?,
            uid: rustix::process::geteuid().as_raw(),
            gid: rustix::process::getegid().as_raw(),
        })
    }

    /// Until the guard is dropped, what this thread makes belongs to the process that asks, and
    /// has the mode that a local file system would give. Who may do what has been decided by the
    /// guest's kernel, so the right to pass over modes is kept. Without the privilege to act for
    /// others, new files are the server's own.
    pub(super) fn act_for(&self, header: &Header, umask: u32) -> Result<Acting<'_>> {
        rustix::process::umask(Mode::from_raw_mode(umask & 0o777));
        let mut acting = Acting {
            worker: self,
            user: false,
            group: false,
            capabilities: false,
        };
        let privileged = self
            .own
            .effective
            .contains(CapabilitySet::SETUID | CapabilitySet::SETGID);
        if !privileged {
            return Ok(acting);
        }
        if header.gid != self.gid {
            acting.group = true;
            if !sys::set_fsgid(header.gid) {
                return Err(Errno::OVERFLOW);
            }
        }
        if header.uid != self.uid {
            acting.user = true;
            acting.capabilities = true;
            if !sys::set_fsuid(header.uid) {
                return Err(Errno::OVERFLOW);
            }
            self.without(CapabilitySet::FSETID)?;
        }
        Ok(acting)
    }

    /// Until the guard is dropped, writing drops set-user-id and set-group-id, as for one without
    /// the privilege to keep them.
    pub(super) fn drop_set_ids(&self, really: bool) -> Result<Acting<'_>> {
        let capabilities = really && self.own.effective.contains(CapabilitySet::FSETID);
        let acting = Acting {
            worker: self,
            user: false,
            group: false,
            capabilities,
        };
        if capabilities {
            self.without(CapabilitySet::FSETID)?;
        }
        Ok(acting)
    }

    fn without(&self, dropped: CapabilitySet) -> Result<()> {
        let effective = self.own.effective.difference(dropped);
        set_capabilities(
            None,
            CapabilitySets {
                effective,
                ..self.own
            },
        )
    }
}

/// The thread is as before when this is dropped.
#[must_use]
pub(super) struct Acting<'a> {
    worker: &'a Worker,
    user: bool,
    group: bool,
    capabilities: bool,
}

impl Drop for Acting<'_> {
    fn drop(&mut self) {
        // Going back to what one was is always allowed.
        if self.user {
            sys::set_fsuid(self.worker.uid);
        }
        if self.group {
            sys::set_fsgid(self.worker.gid);
        }
        if self.capabilities {
            let _ = set_capabilities(None, self.worker.own);
        }
    }
}
