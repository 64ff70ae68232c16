//! One of its machines: a process that sleeps, and a task that answers.

use std::fs::File;
use std::io::Write;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileTypeExt;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use rustix::process::{Pid, PidfdFlags};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::sync::watch;
use tokio::task::AbortHandle;

use super::guest::{Devices, Leaving};
use crate::error::{Error, Result};
use crate::machine::{End, Exit, Machine};
use crate::spawn;
use crate::spec::{Disk, MacAddr, MachineSpec, Nic};
use crate::template::{Stage, Template};

pub(super) struct Scripted {
    pid: i32,
    life: Arc<Life>,
    devices: Arc<Mutex<Devices>>,
    agent: Mutex<Option<UnixStream>>,
    exit: watch::Receiver<Option<End>>,
    paused: watch::Sender<bool>,
    guest: AbortHandle,
    /// Bytes of memory and the key, of a machine that is to become a template.
    template: Option<(u64, String)>,
}

/// The process, and what it is ended for.
struct Life {
    pidfd: OwnedFd,
    killed: AtomicBool,
    leaving: Mutex<Option<Leaving>>,
}

fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Scripted {
    pub(super) async fn start(mut spec: MachineSpec, key: String) -> Result<Scripted> {
        let failed = Error::io;
        let (ours, theirs) = match spec.agent.take() {
            Some(theirs) => (None, std::os::unix::net::UnixStream::from(theirs)),
            None => {
                let pair = std::os::unix::net::UnixStream::pair();
                let (ours, theirs) = pair.map_err(failed("making a socket pair"))?;
                ours.set_nonblocking(true).map_err(failed("fcntl"))?;
                (
                    Some(UnixStream::from_std(ours).map_err(failed("a socket"))?),
                    theirs,
                )
            }
        };
        theirs.set_nonblocking(true).map_err(failed("fcntl"))?;
        let theirs = UnixStream::from_std(theirs).map_err(failed("a socket"))?;
        let devices = Arc::new(Mutex::new(Devices::of(&spec)?));
        if !spec.console.as_os_str().is_empty() {
            let log = File::create(&spec.console);
            let log = log.and_then(|mut log| writeln!(log, "agent: port"));
            log.map_err(failed("writing the console"))?;
        }
        let mut child = Command::new("sleep")
            .arg("infinity")
            .stdin(Stdio::null())
            .spawn()
            .map_err(failed("starting sleep"))?;
        let pid = child.id() as i32;
        let process = Pid::from_raw(pid).ok_or_else(|| Error::Start("no process".into()))?;
        let pidfd = rustix::process::pidfd_open(process, PidfdFlags::empty());
        let life = Arc::new(Life {
            pidfd: pidfd.map_err(Error::os("opening a process"))?,
            killed: AtomicBool::new(false),
            leaving: Mutex::default(),
        });
        let (ended, exit) = watch::channel(None);
        let why = life.clone();
        std::thread::spawn(move || {
            let signal = child.wait().ok().and_then(|status| status.signal());
            let end = match *lock(&why.leaving) {
                Some(Leaving::Off) => End::PowerOff,
                Some(Leaving::Reboot) => End::Reboot,
                None if why.killed.load(Ordering::SeqCst) => End::Killed,
                None => End::Signal(signal.unwrap_or_default()),
            };
            ended.send_replace(Some(end));
        });
        let (paused, pausing) = watch::channel(false);
        let guest = Guest {
            life: life.clone(),
            devices: devices.clone(),
            exit: exit.clone(),
            pausing,
        };
        let machine = Scripted {
            pid,
            life,
            devices,
            agent: Mutex::new(ours),
            exit,
            paused,
            guest: tokio::spawn(guest.run(theirs)).abort_handle(),
            template: spec.template.then_some((spec.shape.memory, key)),
        };
        for disk in spec.disks {
            machine.add_disk(disk).await?;
        }
        for nic in spec.nics {
            machine.add_nic(nic).await?;
        }
        Ok(machine)
    }
}

impl Life {
    fn end(&self) {
        // An error means that it has ended.
        let _ = spawn::kill(&self.pidfd);
    }
}

impl Drop for Scripted {
    fn drop(&mut self) {
        self.guest.abort();
        self.life.end();
    }
}

/// Who answers.
struct Guest {
    life: Arc<Life>,
    devices: Arc<Mutex<Devices>>,
    exit: watch::Receiver<Option<End>>,
    pausing: watch::Receiver<bool>,
}

impl Guest {
    async fn run(mut self, stream: UnixStream) {
        let mut exit = self.exit.clone();
        tokio::select! {
            () = self.serve(stream) => {}
            _ = exit.wait_for(Option::is_some) => {}
        }
    }

    /// Ends with its machine only: somebody else may have the other end of what it was copied from.
    async fn serve(&mut self, stream: UnixStream) {
        let mut stream = BufReader::new(stream);
        let mut line = String::new();
        while matches!(stream.read_line(&mut line).await, Ok(1..)) {
            let _gone = self.pausing.wait_for(|paused| !paused).await.is_err();
            let answer = lock(&self.devices).answer(line.trim_end());
            line.clear();
            match answer {
                Ok(answer) => {
                    let _gone = stream
                        .get_mut()
                        .write_all(format!("{answer}\n").as_bytes())
                        .await;
                }
                Err(leaving) => {
                    *lock(&self.life.leaving) = Some(leaving);
                    self.life.end();
                }
            }
        }
        std::future::pending().await
    }
}

#[async_trait]
impl Machine for Scripted {
    fn pid(&self) -> i32 {
        self.pid
    }

    fn warnings(&self) -> &[String] {
        &[]
    }

    fn agent(&self) -> Option<UnixStream> {
        lock(&self.agent).take()
    }

    async fn add_disk(&self, disk: Disk) -> Result<()> {
        lock(&self.devices).add_disk(&disk)
    }

    async fn fill_slot(&self, disk: Disk) -> Result<()> {
        lock(&self.devices).fill(&disk)
    }

    async fn remove_disk(&self, serial: &str) -> Result<()> {
        lock(&self.devices).remove_disk(serial)
    }

    async fn add_nic(&self, nic: Nic) -> Result<()> {
        let kind = File::from(nic.tap)
            .metadata()
            .map(|found| found.file_type());
        match kind {
            Ok(kind) if kind.is_char_device() => lock(&self.devices).add_card(nic.mac),
            _ => Err(Error::Unsupported("it is no tap".into())),
        }
    }

    async fn remove_nic(&self, mac: MacAddr) -> Result<()> {
        lock(&self.devices).remove_card(mac)
    }

    fn log_console(&self, path: &Path) -> Result<()> {
        File::create(path)
            .map(drop)
            .map_err(Error::io("making the console's file"))
    }

    async fn pause(&self) -> Result<()> {
        if self.exit.borrow().is_some() {
            return Err(Error::Ended("before".into()));
        }
        self.paused.send_replace(true);
        Ok(())
    }

    async fn resume(&self) -> Result<()> {
        self.paused.send_replace(false);
        Ok(())
    }

    async fn set_memory(&self, bytes: u64) -> Result<()> {
        lock(&self.devices).set_memory(bytes)
    }

    async fn resize_disk(&self, serial: &str, bytes: u64) -> Result<()> {
        lock(&self.devices).resize_disk(serial, bytes)
    }

    async fn snapshot(&self, dir: &Path) -> Result<Template> {
        let refused = |why: &str| Error::Unsupported(why.to_owned());
        let Some((memory, key)) = &self.template else {
            return Err(refused("it was not started for that"));
        };
        if !lock(&self.devices).is_bare() {
            return Err(refused("something is plugged in"));
        }
        let ram = rustix::fs::memfd_create("scripted", rustix::fs::MemfdFlags::CLOEXEC);
        let ram = ram.map_err(Error::os("making the memory"))?;
        rustix::fs::ftruncate(&ram, *memory).map_err(Error::os("making the memory"))?;
        let stage = Stage::begin(dir)?;
        let mut state = stage.state()?;
        state
            .write_all(super::STATE)
            .map_err(Error::io("writing the state"))?;
        self.kill().await?;
        stage.finish(key, &ram, &state)
    }

    async fn kill(&self) -> Result<()> {
        self.life.killed.store(true, Ordering::SeqCst);
        self.life.end();
        self.wait().await;
        Ok(())
    }

    async fn wait(&self) -> Exit {
        let mut exit = self.exit.clone();
        let end = exit
            .wait_for(Option::is_some)
            .await
            .ok()
            .and_then(|end| *end);
        Exit {
            end: end.unwrap_or(End::Killed),
            stderr: String::new(),
        }
    }
}
