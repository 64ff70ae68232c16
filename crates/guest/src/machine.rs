//! The machine itself.

use crate::agent::{Agent, unexpected};
use crate::error::Result;
use crate::message::{Reply, Request};
use crate::mux::{Channel, Direction};
use crate::types::*;

impl Agent {
    /// Makes the machine ready for its containers. Answers a channel for each of `setup.shares`, in
    /// their order, on which the guest's kernel speaks FUSE: serve it before anything uses the share.
    ///
    /// Failing leaves what was done before: the machine is of no use then.
    pub async fn setup(&self, setup: &Setup) -> Result<Vec<Channel>> {
        let shares: Result<Vec<_>> = setup
            .shares
            .iter()
            .map(|_| self.open_channel(Direction::Both))
            .collect();
        let shares = shares?;
        let request = Request::Setup {
            setup: Box::new(setup.clone()),
            channels: shares.iter().map(Channel::id).collect(),
        };
        self.order(&request).await?;
        Ok(shares)
    }

    /// Does in a template what needn't be done in each of its copies. When it is answered, nothing is
    /// under way from the guest until it is asked for something.
    pub async fn prepare(&self) -> Result<()> {
        self.order(&Request::Prepare).await
    }

    /// Mounts a container's root file system, see [`Setup::roots`].
    pub async fn add_root(&self, root: &Root) -> Result<()> {
        self.order(&Request::AddRoot(root.clone())).await
    }

    /// Unmounts a container's root file system. No error if there is none.
    pub async fn remove_root(&self, id: &str) -> Result<()> {
        self.order(&Request::RemoveRoot { id: id.into() }).await
    }

    /// Mounts a file system.
    pub async fn mount(&self, mount: &Mount) -> Result<()> {
        self.order(&Request::Mount(mount.clone())).await
    }

    /// Unmounts what is mounted there.
    pub async fn unmount(&self, target: &str) -> Result<()> {
        let target = target.into();
        self.order(&Request::Unmount { target }).await
    }

    /// Waits until nothing of a disk is mounted any more, and all is written to it: so that it can be
    /// taken away. What was unmounted may still be on its way out with the last who saw it.
    pub async fn settle_disk(&self, serial: &str) -> Result<()> {
        let serial = serial.into();
        self.order(&Request::SettleDisk { serial }).await
    }

    /// Mounts a directory or file of the host; the channel is as in [`Self::setup`].
    pub async fn share(&self, share: &Share) -> Result<Channel> {
        let channel = self.open_channel(Direction::Both)?;
        let request = Request::Share {
            share: share.clone(),
            channel: channel.id(),
        };
        self.order(&request).await?;
        Ok(channel)
    }

    /// Makes a directory; with `parents` those above it too, and none that exists is an error.
    pub async fn make_dir(&self, path: &str, mode: u32, parents: bool) -> Result<()> {
        let path = path.into();
        let request = Request::MakeDir {
            path,
            mode,
            parents,
        };
        self.order(&request).await
    }

    /// Writes a file.
    pub async fn write_file(&self, file: &File) -> Result<()> {
        self.order(&Request::WriteFile(file.clone())).await
    }

    /// Reads a file; refused if it is larger than a frame.
    pub async fn read_file(&self, path: &str) -> Result<Vec<u8>> {
        let path = path.into();
        match self.call(&Request::ReadFile { path }).await? {
            Reply::Bytes(bytes) => Ok(bytes),
            reply => Err(unexpected(&reply)),
        }
    }

    /// Sets a kernel parameter if there is a value, and answers what it is then.
    pub async fn sysctl(&self, name: &str, value: Option<&str>) -> Result<String> {
        let request = Request::Sysctl {
            name: name.into(),
            value: value.map(Into::into),
        };
        match self.call(&request).await? {
            Reply::Text(text) => Ok(text),
            reply => Err(unexpected(&reply)),
        }
    }

    /// Sets or unsets a variable that all processes of containers get which don't set it themselves.
    pub async fn set_env(&self, name: &str, value: Option<&str>) -> Result<()> {
        let request = Request::SetEnv {
            name: name.into(),
            value: value.map(Into::into),
        };
        self.order(&request).await
    }

    /// What was set by [`Self::set_env`].
    pub async fn env(&self, name: &str) -> Result<Option<String>> {
        let name = name.into();
        match self.call(&Request::GetEnv { name }).await? {
            Reply::Value(value) => Ok(value),
            reply => Err(unexpected(&reply)),
        }
    }

    /// Sets the clock.
    pub async fn set_time(&self, time: Time) -> Result<()> {
        self.order(&Request::SetTime(time)).await
    }

    /// Sets the machine's host name.
    pub async fn set_hostname(&self, name: &str) -> Result<()> {
        self.order(&Request::SetHostname(name.into())).await
    }

    /// Has programs of another architecture run by an interpreter. One of that name is replaced.
    pub async fn binfmt(&self, binfmt: &Binfmt) -> Result<()> {
        self.order(&Request::Binfmt(binfmt.clone())).await
    }

    /// Makes an interface be as told; one that was just plugged in is waited for.
    pub async fn set_interface(&self, interface: &Interface) -> Result<()> {
        self.order(&Request::SetInterface(interface.clone())).await
    }

    /// Takes the addresses, gateways and routes of `interface` away from it, before it is unplugged.
    pub async fn unset_interface(&self, interface: &Interface) -> Result<()> {
        let interface = interface.clone();
        self.order(&Request::UnsetInterface(interface)).await
    }

    /// Freezes, thaws, trims or syncs the file system that a path is on. Answers how many bytes were
    /// trimmed, else 0.
    pub async fn file_system(&self, path: &str, operation: FsOperation) -> Result<u64> {
        let path = path.into();
        match self.call(&Request::FileSystem { path, operation }).await? {
            Reply::Count(bytes) => Ok(bytes),
            reply => Err(unexpected(&reply)),
        }
    }

    /// What the whole machine uses.
    pub async fn machine_stats(&self) -> Result<MachineStats> {
        match self.call(&Request::MachineStats).await? {
            Reply::Machine(stats) => Ok(*stats),
            reply => Err(unexpected(&reply)),
        }
    }

    /// Makes a unix socket in the guest. Its connections come as [`Event::Connected`](crate::Event);
    /// [`Self::accept`] takes them.
    pub async fn listen(&self, listen: &Listen) -> Result<()> {
        self.order(&Request::Listen(listen.clone())).await
    }

    /// Removes such a socket. Connections that were accepted stay.
    pub async fn unlisten(&self, relay: u32) -> Result<()> {
        self.order(&Request::Unlisten { relay }).await
    }

    /// Takes a connection that an event told of.
    pub async fn accept(&self, relay: u32, connection: u32) -> Result<Channel> {
        let channel = self.open_channel(Direction::Both)?;
        let request = Request::Accept {
            relay,
            connection,
            channel: channel.id(),
        };
        self.order(&request).await?;
        Ok(channel)
    }

    /// Connects to a port or socket in the guest.
    pub async fn dial(&self, target: &Target) -> Result<Channel> {
        let channel = self.open_channel(Direction::Both)?;
        let request = Request::Dial {
            target: target.clone(),
            channel: channel.id(),
        };
        self.order(&request).await?;
        Ok(channel)
    }

    /// Waits until all that the guest said on connections ([`Self::accept`], [`Self::dial`]) is on its
    /// way: for when its containers have ended. How long is the caller's to bound.
    pub async fn settle(&self) -> Result<()> {
        self.order(&Request::Settle).await
    }

    /// Has so many of the machine's processors be used, the first ones. On an error those that were
    /// used are.
    pub async fn set_processors(&self, count: u32) -> Result<()> {
        self.order(&Request::SetProcessors { count }).await
    }

    /// Syncs and unmounts the disks, and powers the machine off. The answer may be that the
    /// connection is lost, which is what was asked for.
    pub async fn shutdown(&self) -> Result<()> {
        self.order(&Request::Shutdown).await
    }
}
