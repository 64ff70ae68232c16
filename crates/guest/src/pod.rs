//! Several shims with one machine: sessions beside the one of its owner.

use crate::agent::{Agent, unexpected};
use crate::error::Result;
use crate::message::{Reply, Request};

impl Agent {
    /// Has the guest serve another conversation on a channel, by its id, and waits until that is over and what
    /// it owned is gone. Whoever has the channel's other end can [`Agent::connect`] to it. For the
    /// machine's owner only.
    ///
    /// Dropping the future changes nothing for the session, which ends with its channel.
    pub async fn session(&self, channel: u32) -> Result<()> {
        self.order(&Request::Session { channel }).await
    }

    /// Ends all that this session made: containers, shares, mounts, sockets, and files, but for files and
    /// mounts that are to be kept; the machine goes on. `sync`: what was written is on the disks when this is
    /// answered.
    pub async fn release(&self, sync: bool, keep: Vec<String>) -> Result<()> {
        self.order(&Request::Release { sync, keep }).await
    }

    /// The id, in the guest, of the first process of a container of any session; of the kind
    /// `NotFound` if it doesn't run.
    pub async fn leader(&self, id: &str) -> Result<i32> {
        match self.call(&Request::Leader { id: id.into() }).await? {
            Reply::Pid(pid) => Ok(pid),
            reply => Err(unexpected(&reply)),
        }
    }
}
