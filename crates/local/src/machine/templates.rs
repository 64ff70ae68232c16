//! Templates of machines: made ahead by a process of their own, so that nobody waits for a boot.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::ChildStdin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use coracle_runtime::{Result, RuntimeError};
use coracle_task::MachineConfig;

use crate::durable::{self, Durability};
use crate::engine::Engine;

/// How long after a template could not be made it is asked for again.
const AGAIN: Duration = Duration::from_secs(5 * 60);
/// How often it is noted that a template is used.
const NOTE: Duration = Duration::from_secs(60 * 60);

/// What this daemon did about the template of each shape. Whether there is one is for the maker to find
/// out; it leaves a whole one as it is.
#[derive(Default)]
pub(crate) struct Asked(Mutex<HashMap<u64, Ask>>);

/// What was done about one.
struct Ask {
    /// When it was asked for, or noted last that there is one.
    at: Instant,
    /// Who makes it.
    maker: Option<Maker>,
}

/// A process that makes a template. It gives up when this is dropped.
struct Maker {
    id: u32,
    kernel: PathBuf,
    _wanted: ChildStdin,
}

impl Asked {
    fn lock(&self) -> MutexGuard<'_, HashMap<u64, Ask>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether nothing was done about a shape for so long; from now on something is.
    fn is_due(&self, number: u64, after: Duration) -> bool {
        let mut asked = self.lock();
        let due = (asked.get(&number)).is_none_or(|ask| ask.at.elapsed() >= after);
        if due {
            let at = Instant::now();
            let maker = asked.remove(&number).and_then(|ask| ask.maker);
            asked.insert(number, Ask { at, maker });
        }
        due
    }

    /// It is being made.
    fn begun(&self, number: u64, maker: Maker) {
        if let Some(ask) = self.lock().get_mut(&number) {
            ask.maker = Some(maker);
        }
    }

    /// A maker has ended; there may be another by now.
    fn ended(&self, number: u64, id: u32) {
        if let Some(ask) = self.lock().get_mut(&number) {
            ask.maker.take_if(|maker| maker.id == id);
        }
    }

    /// Lets it be asked for anew.
    pub(crate) fn forget(&self, number: u64) {
        self.lock().remove(&number);
    }

    /// Has those given up whose kernel was removed.
    pub(crate) fn give_up(&self) {
        let in_vain = |ask: &Ask| (ask.maker.as_ref()).is_some_and(|maker| !maker.kernel.exists());
        self.lock().retain(|_, ask| !in_vain(ask));
    }
}

/// The name of a template, from the file that the maker wrote.
pub(crate) fn key(file: &Path) -> Option<String> {
    let text = std::fs::read_to_string(file).ok()?;
    is_key(&text).then_some(text)
}

/// Whether it is a template's name: 64 hexadecimal digits.
pub(crate) fn is_key(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Has the template of the machines of containers without limits made, if there can be machines.
pub(crate) async fn prepare(engine: Arc<Engine>) {
    if engine.machines.unavailable(&engine.config).is_some() {
        return;
    }
    match super::default_shape(&engine).await {
        Ok(config) => {
            ask(&engine, &config);
            engine.machines.spares.look_again();
        }
        Err(error) => tracing::warn!(%error, "no template of machines is made"),
    }
}

/// Has a template of this machine's shape made, once, and again some time after it failed. The machine
/// itself need not wait for it.
pub(crate) fn ask(engine: &Arc<Engine>, config: &MachineConfig) {
    let shape = MachineConfig {
        image: Default::default(),
        layer: Default::default(),
        interfaces: Vec::new(),
        copies: Vec::new(),
        emulator: None,
        ..config.clone()
    };
    let number = number(&shape);
    let asked = &engine.machines.asked;
    if !asked.is_due(number, Duration::MAX) {
        let made = file(engine, number, "key");
        if made.exists() {
            if asked.is_due(number, NOTE) {
                note(&made);
            }
            return;
        }
        // It is being made, or was not to be.
        if !asked.is_due(number, AGAIN) {
            return;
        }
    }
    if let Err(error) = spawn(engine, shape, number) {
        tracing::warn!(%error, "no template of machines is made");
    }
}

/// The console's log of the machine that became the template of a shape.
pub(crate) fn boot_log(engine: &Engine, shape: &MachineConfig) -> PathBuf {
    file(engine, number(shape), "boot.log")
}

/// A file of a shape.
fn file(engine: &Engine, number: u64, kind: &str) -> PathBuf {
    let name = format!("{number:016x}.{kind}");
    engine.config.data_root.join("machines").join(name)
}

/// Notes that a template is used: who collects goes by when the file was changed.
fn note(file: &Path) {
    let opened = std::fs::File::options().write(true).open(file);
    let noted = opened.and_then(|file| file.set_modified(SystemTime::now()));
    if let Err(error) = noted {
        tracing::warn!(%error, "cannot note that a template is used");
    }
}

fn spawn(engine: &Arc<Engine>, mut shape: MachineConfig, number: u64) -> Result<()> {
    let root = engine.config.data_root.join("machines");
    let failed = |error: std::io::Error| {
        RuntimeError::Internal(format!("cannot have a template made: {error}"))
    };
    durable::private_dir(&root.join("templates")).map_err(failed)?;
    let name = format!("{number:016x}");
    shape.boot_log = root.join(format!("{name}.boot.log"));
    shape.user = (engine.machines.users).of_container(name.get(1..).unwrap_or_default());
    let file = root.join(format!("{name}.json"));
    let text = serde_json::to_vec(&shape).map_err(|error| failed(error.into()))?;
    durable::write(&file, &text, Durability::Process).map_err(failed)?;
    let log = root.join("templates.log");
    let mut child =
        coracle_task::spawn_template(&engine.config.shim, &file, &log).map_err(failed)?;
    if let Some(wanted) = child.stdin.take() {
        let maker = Maker {
            id: child.id(),
            kernel: shape.kernel,
            _wanted: wanted,
        };
        engine.machines.asked.begun(number, maker);
    }
    let id = child.id();
    let weak = Arc::downgrade(engine);
    engine.reaper.add_then(child, move || {
        if let Some(engine) = weak.upgrade() {
            engine.machines.asked.ended(number, id);
            engine.machines.spares.look_again();
        }
    });
    Ok(())
}

/// Tells shapes apart, within one daemon's life and across them.
pub(crate) fn number(shape: &MachineConfig) -> u64 {
    let mut hasher = DefaultHasher::new();
    (
        &shape.qemu,
        &shape.accelerator,
        &shape.kernel,
        &shape.initrd,
        &shape.kernel_args,
        shape.cpus,
        shape.max_cpus,
        shape.memory,
        shape.code_cache,
    )
        .hash(&mut hasher);
    hasher.finish()
}
