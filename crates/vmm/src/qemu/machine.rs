//! One running QEMU.

use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use serde_json::json;
use tokio::net::UnixStream;
use tokio::net::unix::pipe::Receiver;
use tokio::sync::watch;

use crate::error::{Error, Result};
use crate::machine::{End, Exit, Machine};
use crate::qemu::logs::{self, Log};
use crate::qemu::memory::Memory;
use crate::qemu::plug::Plugs;
use crate::qemu::qmp::Qmp;
use crate::spawn::{self, Process, Status};
use crate::spec::{Disk, MacAddr, MachineSpec, Nic};
use crate::template::Template;

/// How long after the process's end its last words may take to arrive.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// The process's end, as seen by whoever wants to know.
pub(super) struct Life {
    pid: i32,
    pidfd: OwnedFd,
    /// That it was us who ended it.
    killed: Arc<AtomicBool>,
    exit: watch::Receiver<Option<Exit>>,
}

impl Life {
    /// Begins to watch over the process, and to listen to it. The watching ends with it.
    pub(super) fn begin(process: Process, qmp: &Qmp, words: Receiver) -> Result<Life> {
        let (sender, exit) = watch::channel(None);
        let killed = Arc::new(AtomicBool::new(false));
        let life = Life {
            pid: process.pid(),
            pidfd: process.pidfd()?,
            killed: Arc::clone(&killed),
            exit,
        };
        let listening = tokio::spawn({
            let qmp = qmp.clone();
            async move { qmp.listen().await }
        });
        let words = tokio::spawn(logs::last_words(words));
        let qmp = qmp.clone();
        tokio::spawn(async move {
            let status = process.wait().await;
            // What it said last is in its pipes, which are closed by now.
            let rest = async { (listening.await, words.await.unwrap_or_default()) };
            let (_, stderr) = (tokio::time::timeout(LAST_WORDS, rest).await)
                .unwrap_or((Ok(String::new()), String::new()));
            let reason = qmp.shutdown().unwrap_or_default();
            let end = match (status, reason.as_str()) {
                _ if killed.load(Ordering::SeqCst) => End::Killed,
                (Ok(Status::Exited(0)), "guest-reset" | "guest-panic") => End::Reboot,
                (Ok(Status::Exited(0)), "guest-shutdown") => End::PowerOff,
                (Ok(Status::Exited(code)), _) => End::Failed(code),
                (Ok(Status::Signal(signal)), _) => End::Signal(signal),
                (Err(_), _) => End::Failed(-1),
            };
            // An error means that nobody wants to know.
            let _ = sender.send(Some(Exit { end, stderr }));
        });
        Ok(life)
    }

    /// Whose end it is.
    pub(super) fn pid(&self) -> i32 {
        self.pid
    }

    /// A descriptor of the process.
    pub(super) fn pidfd(&self) -> Result<OwnedFd> {
        self.pidfd.try_clone().map_err(Error::io("dup"))
    }

    /// Waits for the end.
    pub(super) async fn ended(&self) -> Exit {
        let mut exit = self.exit.clone();
        let ended = exit.wait_for(Option::is_some).await;
        ended.ok().and_then(|exit| exit.clone()).unwrap_or(Exit {
            // Only if the runtime is being shut down.
            end: End::Killed,
            stderr: String::new(),
        })
    }

    /// Whether it is over.
    fn is_over(&self) -> bool {
        self.exit.borrow().is_some()
    }

    /// Ends the process.
    pub(super) fn kill(&self) -> Result<()> {
        if self.is_over() {
            return Ok(());
        }
        self.killed.store(true, Ordering::SeqCst);
        match spawn::kill(&self.pidfd) {
            Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
            Err(errno) => Err(Error::os("killing the machine")(errno)),
        }
    }
}

impl Drop for Life {
    fn drop(&mut self) {
        // An error means that it has ended.
        let _ = self.kill();
    }
}

/// A running QEMU.
pub(super) struct QemuMachine {
    pub(super) spec: MachineSpec,
    pub(super) qmp: Qmp,
    agent: Mutex<Option<UnixStream>>,
    pub(super) life: Life,
    /// Where the console goes.
    pub(super) log: Log,
    warnings: Vec<String>,
    /// Its memory, if it is one to make a template of.
    pub(super) ram: Option<OwnedFd>,
    pub(super) key: String,
    pub(super) plugs: tokio::sync::Mutex<Plugs>,
    pub(super) memory: Arc<tokio::sync::Mutex<Memory>>,
    /// Held by whoever stops the machine, or lets it go on.
    pub(super) still: Arc<tokio::sync::Mutex<()>>,
}

impl QemuMachine {
    pub(super) fn new(
        spec: MachineSpec,
        qmp: Qmp,
        agent: Option<UnixStream>,
        life: Life,
        warnings: Vec<String>,
        ram: Option<OwnedFd>,
        key: String,
    ) -> QemuMachine {
        let memory = Memory::new(spec.shape.memory);
        QemuMachine {
            spec,
            qmp,
            agent: Mutex::new(agent),
            life,
            log: Log::default(),
            warnings,
            ram,
            key,
            plugs: tokio::sync::Mutex::default(),
            memory: Arc::new(tokio::sync::Mutex::new(memory)),
            still: Arc::default(),
        }
    }

    /// Ends the machine that could not be started, and adds what QEMU said of it.
    pub(super) async fn explain(self, error: Error) -> Error {
        if !matches!(error, Error::Ended(_)) {
            return error;
        }
        match tokio::time::timeout(LAST_WORDS * 2, self.life.ended()).await {
            Ok(exit) => Error::Ended(exit.to_string()),
            Err(_) => error,
        }
    }
}

#[async_trait]
impl Machine for QemuMachine {
    fn pid(&self) -> i32 {
        self.life.pid
    }

    fn warnings(&self) -> &[String] {
        &self.warnings
    }

    fn agent(&self) -> Option<UnixStream> {
        self.agent
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
    }

    async fn add_disk(&self, disk: Disk) -> Result<()> {
        self.plug_disk(disk).await
    }

    async fn fill_slot(&self, disk: Disk) -> Result<()> {
        self.fill(disk).await
    }

    fn log_console(&self, path: &Path) -> Result<()> {
        self.log.begin(path)
    }

    async fn remove_disk(&self, serial: &str) -> Result<()> {
        self.unplug_disk(serial).await
    }

    async fn add_nic(&self, nic: Nic) -> Result<()> {
        self.plug_nic(nic).await
    }

    async fn remove_nic(&self, mac: MacAddr) -> Result<()> {
        self.unplug_nic(mac).await
    }

    async fn pause(&self) -> Result<()> {
        let _still = self.still.lock().await;
        self.qmp.run("stop", json!({})).await.map(drop)
    }

    async fn resume(&self) -> Result<()> {
        let _still = self.still.lock().await;
        self.qmp.run("cont", json!({})).await.map(drop)
    }

    async fn set_memory(&self, bytes: u64) -> Result<()> {
        self.resize_memory(bytes).await
    }

    async fn shed(&self) -> Result<bool> {
        self.shed_code().await
    }

    async fn resize_disk(&self, serial: &str, bytes: u64) -> Result<()> {
        self.grow_disk(serial, bytes).await
    }

    async fn snapshot(&self, dir: &Path) -> Result<Template> {
        self.make_template(dir).await
    }

    async fn kill(&self) -> Result<()> {
        self.life.kill()?;
        self.life.ended().await;
        Ok(())
    }

    async fn wait(&self) -> Exit {
        self.life.ended().await
    }
}
