//! Callers beside the machine's owner, each on a channel of the owner's, and the end of what one of
//! them made.

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use coracle_guest::{Channel, Failure, Request};
use rustix::io::Errno;
use rustix::mount::UnmountFlags;

use crate::error::{Result, blocking, invalid};
use crate::service::Agent;
use crate::{disks, roots};

/// How many sessions there may be at a time.
const MAX_SESSIONS: usize = 128;

/// The sessions that there are, as the owner or one of them has it.
#[derive(Default)]
pub(crate) struct Sessions {
    is_member: bool,
    count: Arc<AtomicUsize>,
}

impl Sessions {
    /// Refuses what only the machine's owner may do.
    pub(crate) fn check_owner(&self) -> Result<()> {
        match self.is_member {
            true => Err(invalid("only the machine's owner may ask for this")),
            false => Ok(()),
        }
    }
}

/// What was mounted and written for a caller. Noted before it is done, as what is half done has to go too.
#[derive(Default)]
pub(crate) struct Held(Mutex<Mounted>);

#[derive(Default)]
struct Mounted {
    roots: Vec<String>,
    targets: Vec<String>,
    files: Vec<String>,
}

impl Held {
    pub(crate) fn note(&self, request: &Request) {
        match request {
            Request::Setup { setup, .. } => {
                let mut held = self.lock();
                let roots = setup.roots.iter().map(|root| root.container.clone());
                held.roots.extend(roots);
                let mounts = setup.mounts.iter().map(|mount| mount.target.clone());
                held.targets.extend(mounts);
                let shares = setup.shares.iter().map(|share| share.target.clone());
                held.targets.extend(shares);
                let files = setup.files.iter().map(|file| file.path.clone());
                held.files.extend(files);
            }
            Request::AddRoot(root) => self.lock().roots.push(root.container.clone()),
            Request::RemoveRoot { id } => self.lock().roots.retain(|other| other != id),
            Request::Mount(mount) => self.lock().targets.push(mount.target.clone()),
            Request::Share { share, .. } => self.lock().targets.push(share.target.clone()),
            Request::WriteFile(file) => {
                let mut held = self.lock();
                if !held.files.contains(&file.path) {
                    held.files.push(file.path.clone());
                }
            }
            Request::Unmount { target } => {
                let mut held = self.lock();
                let last = held.targets.iter().rposition(|other| other == target);
                if let Some(last) = last {
                    held.targets.remove(last);
                }
            }
            _ => {}
        }
    }

    fn take(&self) -> Mounted {
        std::mem::take(&mut *self.lock())
    }

    fn lock(&self) -> MutexGuard<'_, Mounted> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Mounted {
    /// Unmounts it all; the first failure counts, and keeps nothing else from being unmounted.
    fn unmount(self, sync: bool) -> Result<()> {
        for target in self.targets.iter().rev() {
            // A share is not waited for: whoever serves it may be gone.
            let flags = UnmountFlags::DETACH | UnmountFlags::NOFOLLOW;
            match rustix::mount::unmount(target.as_str(), flags) {
                Ok(()) | Err(Errno::INVAL | Errno::NOENT) => {}
                Err(errno) => crate::complain(&format!("unmount {target}: {errno}")),
            }
        }
        for path in self.targets.iter().chain(&self.files) {
            // Never what is in it: it may be the host's.
            let _may_be_another_kind = fs::remove_file(path);
            let _may_hold_other_things = fs::remove_dir(path);
            if let Some(parent) = Path::new(path).parent() {
                let _may_hold_other_things = fs::remove_dir(parent);
            }
        }
        let mut result = Ok(());
        for id in &self.roots {
            result = result.and(roots::remove(id));
        }
        if sync {
            rustix::fs::sync();
        }
        let _again_when_needed = disks::scan();
        result
    }
}

impl Agent {
    /// Serves another caller on a channel; returns when that is over and what it made is gone.
    pub(crate) async fn session(&self, mut channel: Channel) -> Result<()> {
        self.sessions.check_owner()?;
        let count = self.sessions.count.clone();
        if count.fetch_add(1, Ordering::Relaxed) >= MAX_SESSIONS {
            count.fetch_sub(1, Ordering::Relaxed);
            return Err(invalid("there are too many sessions"));
        }
        let mut member = Agent::default();
        member.containers = self.containers.beside();
        member.sessions.is_member = true;
        let member = Arc::new(member);
        // A task of its own: it is cleaned up after, whatever becomes of the call.
        let served = tokio::spawn(async move {
            let events = member.events();
            // A channel that failed has ended.
            let _ = coracle_guest::serve(&mut channel, member.clone(), &events).await;
            drop(channel);
            let released = member.release(false, &[]).await;
            count.fetch_sub(1, Ordering::Relaxed);
            released
        });
        served
            .await
            .unwrap_or_else(|error| Err(Failure::internal(format!("the session ended: {error}"))))
    }

    /// Ends what this caller made.
    pub(crate) async fn release(&self, sync: bool, keep: &[String]) -> Result<()> {
        let mut ended = Ok(());
        for id in self.containers.ids() {
            ended = ended.and(self.containers.delete(&id).await);
        }
        self.listeners.clear();
        let mut held = self.held.take();
        held.files.retain(|file| !keep.contains(file));
        held.targets.retain(|target| !keep.contains(target));
        ended.and(blocking(move || held.unmount(sync)).await)
    }
}
