//! Answers the host's requests.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use coracle_guest::{Call, Events, FsOperation, Reply, Request, Service};
use coracle_sandbox::Sandbox;

use crate::containers::{Containers, Given};
use crate::error::{Result, blocking, sandbox};
use crate::port::Port;
use crate::session::{Held, Sessions};
use crate::sockets::Listeners;
use crate::{
    binfmt, clock, disks, files, filesystems, interfaces, machine, mounts, power, prepare,
    processors, reaper, roots, setup, shares, stats,
};

/// The agent: what is there to be asked for, by one of its callers. What one of them makes is its own.
#[derive(Default)]
pub struct Agent {
    pub(crate) containers: Containers,
    pub(crate) listeners: Listeners,
    events: Events,
    pub(crate) held: Held,
    pub(crate) sessions: Sessions,
}

impl Agent {
    /// Where its events come from: to be given to `coracle_guest::serve`.
    #[must_use]
    pub fn events(&self) -> Events {
        self.events.clone()
    }
}

/// Serves the host, for ever.
pub(crate) fn run() -> io::Result<()> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        // Threads that a template has, its copies needn't make.
        .thread_keep_alive(Duration::from_secs(24 * 60 * 60))
        .max_blocking_threads(64)
        .build()?
        .block_on(async {
            tokio::spawn(reaper::reap());
            let agent = Arc::new(Agent::default());
            let mut port = Port::open().await?;
            loop {
                let events = agent.events();
                if let Err(error) = coracle_guest::serve(&mut port, agent.clone(), &events).await {
                    crate::complain(&format!("the host's port: {error}"));
                }
                port = port.reconnect().await?;
            }
        })
}

#[async_trait]
impl Service for Agent {
    async fn call(&self, request: Request, call: &Call) -> Result<Reply> {
        self.held.note(&request);
        match request {
            Request::Create {
                id,
                config,
                spec,
                filter,
                stdio,
            } => {
                let given = Given::read(&config, spec, filter)?;
                let created = self.containers.create(&id, given, stdio, call);
                return Ok(Reply::Pid(created.await?.1));
            }
            Request::Start { id } => {
                let container = self.containers.get(&id)?;
                return self.containers.start(&id, &container, &self.events).await;
            }
            Request::Run {
                id,
                config,
                spec,
                filter,
                stdio,
            } => {
                let given = Given::read(&config, spec, filter)?;
                let created = self.containers.create(&id, given, stdio, call);
                let (container, _) = created.await?;
                return self.containers.start(&id, &container, &self.events).await;
            }
            Request::Exec { id, config, stdio } => {
                let (config, events) = (config.read()?, &self.events);
                return self.containers.exec(&id, config, stdio, call, events).await;
            }
            Request::Stats { id } => {
                let container = self.containers.get(&id)?;
                let stats = container.sandbox.stats().await.map_err(sandbox)?;
                return stats::container(&stats);
            }
            Request::Pids { id } => {
                let pids = self.containers.get(&id)?.sandbox.pids().await;
                return Ok(Reply::Pids(pids.map_err(sandbox)?));
            }
            Request::OomKilled { id } => {
                let container = self.containers.get(&id)?;
                return Ok(Reply::Flag(container.sandbox.oom_killed().await));
            }
            Request::Leader { id } => return self.containers.leader(&id).map(Reply::Pid),
            Request::StatPath { id, path } => {
                let container = self.containers.find(&id);
                return blocking(move || files::stat(&id, container.as_deref(), &path)).await;
            }
            Request::ReadPath { id, path, channel } => {
                let (container, channel) = (self.containers.find(&id), call.channel(channel)?);
                return files::read(id, container, path, channel).await;
            }
            Request::ReadFile { path } => {
                return blocking(move || machine::read_file(&path)).await;
            }
            Request::Sysctl { name, value } => {
                let read = blocking(move || machine::sysctl(&name, value.as_deref()));
                return read.await.map(Reply::Text);
            }
            Request::GetEnv { name } => return Ok(Reply::Value(self.containers.env(&name))),
            // Where everything waits for this, no thread may be free.
            Request::FileSystem {
                path,
                operation: FsOperation::Thaw,
            } => return filesystems::operate(&path, FsOperation::Thaw).map(Reply::Count),
            Request::FileSystem { path, operation } => {
                let count = blocking(move || filesystems::operate(&path, operation)).await?;
                return Ok(Reply::Count(count));
            }
            Request::MachineStats => {
                let stats = blocking(stats::machine).await?;
                return Ok(Reply::Machine(Box::new(stats)));
            }
            other => self.order(other, call).await?,
        }
        Ok(Reply::Done)
    }
}

impl Agent {
    /// What is answered by nothing but that it is done.
    async fn order(&self, request: Request, call: &Call) -> Result<()> {
        match request {
            Request::Setup { setup, channels } => setup::setup(&setup, &channels, call),
            Request::Prepare => prepare::prepare().await,
            Request::Signal { id, exec, signal } => {
                let process = self.containers.get(&id)?.process(&exec)?;
                process.kill(signal).await.map_err(sandbox)
            }
            Request::KillAll { id, signal } => {
                let container = self.containers.get(&id)?;
                container.sandbox.kill_all(signal).await.map_err(sandbox)
            }
            Request::Resize {
                id,
                exec,
                rows,
                cols,
            } => {
                let process = self.containers.get(&id)?.process(&exec)?;
                process.resize(rows, cols).await.map_err(sandbox)
            }
            Request::Pause { id } => {
                let container = self.containers.get(&id)?;
                container.sandbox.pause().await.map_err(sandbox)
            }
            Request::Resume { id } => {
                let container = self.containers.get(&id)?;
                container.sandbox.resume().await.map_err(sandbox)
            }
            Request::Update { id, resources } => {
                let (container, resources) = (self.containers.get(&id)?, resources.read()?);
                container.sandbox.update(&resources).await.map_err(sandbox)
            }
            Request::Delete { id } => self.containers.delete(&id).await,
            Request::WritePath {
                id,
                path,
                options,
                channel,
            } => {
                let (container, channel) = (self.containers.find(&id), call.channel(channel)?);
                files::write(id, container, path, options, channel).await
            }
            Request::Changes { id, channel } => {
                let (container, channel) = (self.containers.find(&id), call.channel(channel)?);
                files::changes(id, container, channel).await
            }
            Request::Diff { id, channel } => {
                let (container, channel) = (self.containers.find(&id), call.channel(channel)?);
                files::diff(id, container, channel).await
            }
            Request::Export { id, channel } => {
                let (container, channel) = (self.containers.find(&id), call.channel(channel)?);
                files::export(id, container, channel).await
            }
            Request::AddRoot(root) => blocking(move || roots::add(&root)).await,
            Request::RemoveRoot { id } => blocking(move || roots::remove(&id)).await,
            Request::Mount(mount) => blocking(move || mounts::mount(&mount)).await,
            Request::SettleDisk { serial } => blocking(move || disks::settle(&serial)).await,
            Request::Unmount { target } => blocking(move || mounts::unmount(&target)).await,
            Request::Share { share, channel } => shares::share(&share, call.channel(channel)?),
            Request::MakeDir {
                path,
                mode,
                parents,
            } => blocking(move || machine::make_dir(&path, mode, parents)).await,
            Request::WriteFile(file) => blocking(move || machine::write_file(&file)).await,
            Request::SetEnv { name, value } => {
                self.containers.set_env(name, value);
                Ok(())
            }
            Request::SetTime(time) => clock::set(time),
            Request::SetProcessors { count } => blocking(move || processors::set(count)).await,
            Request::SetHostname(name) => machine::set_hostname(&name),
            Request::Binfmt(binfmt) => blocking(move || binfmt::register(&binfmt)).await,
            Request::SetInterface(interface) => {
                blocking(move || interfaces::set(&[interface])).await
            }
            Request::UnsetInterface(interface) => {
                blocking(move || interfaces::unset(&interface)).await
            }
            Request::Listen(listen) => self.listeners.listen(&listen, &self.events),
            Request::Unlisten { relay } => self.listeners.unlisten(relay),
            Request::Accept {
                relay,
                connection,
                channel,
            } => self
                .listeners
                .accept(relay, connection, call.channel(channel)?),
            Request::Dial { target, channel } => {
                let (saying, channel) = (self.listeners.saying(), call.channel(channel)?);
                crate::sockets::dial(&self.containers, saying, &target, channel).await
            }
            Request::Settle => {
                self.listeners.settle(&self.events).await;
                Ok(())
            }
            Request::Session { channel } => self.session(call.channel(channel)?).await,
            Request::Release { sync, keep } => self.release(sync, &keep).await,
            Request::Shutdown => self.shutdown().await,
            // The caller has done all others.
            other => Err(crate::error::invalid(format!("not an order: {other:?}"))),
        }
    }

    /// Ends all containers, then, when that is answered, the machine.
    async fn shutdown(&self) -> Result<()> {
        self.sessions.check_owner()?;
        for id in self.containers.ids() {
            if let Err(failure) = self.containers.delete(&id).await {
                crate::complain(&failure.message);
            }
            let unmounted = blocking(move || roots::remove(&id)).await;
            if let Err(failure) = unmounted {
                crate::complain(&failure.message);
            }
        }
        let _again_when_needed = disks::scan();
        tokio::task::spawn_blocking(rustix::fs::sync).await.ok();
        tokio::spawn(async {
            tokio::time::sleep(Duration::from_millis(20)).await;
            power::off();
        });
        Ok(())
    }
}
