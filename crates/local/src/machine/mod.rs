//! Containers in virtual machines: what the engine adds to what every container gets.
//!
//! The machine itself is the shim's. The engine gives it a kernel, an initial RAM disk, the image
//! as a disk, a writable disk and tap devices; and asks the shim for files, because they are inside
//! the machine.

pub(crate) mod boot_log;
pub(crate) mod check;
pub(crate) mod collect;
pub(crate) mod emulator;
pub(crate) mod files;
pub(crate) mod pod;
mod rehearsal;
pub(crate) mod spares;
pub(crate) mod templates;
pub(crate) mod top;
mod users;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use coracle_kernel::KernelStore;
use coracle_runtime::spec::HostConfig;
use coracle_runtime::system::MachineInfo;
use coracle_runtime::{Result, RuntimeError};
use coracle_spec::Host;
use coracle_task::{MachineConfig, MachineInterface};

use crate::config::Config;
use crate::container::files::blocking;
use crate::container::record::{Dirs, Record};
use crate::engine::Engine;

/// The runtime's name, as in `--runtime vm`.
pub(crate) const RUNTIME: &str = "vm";
/// The other one's.
pub(crate) const PROCESS: &str = "process";

/// The annotation that names a container's kernel (`--kernel`).
pub(crate) const KERNEL: &str = "coracle.kernel";
/// The annotation with further kernel parameters (`--kernel-arg`).
pub(crate) const KERNEL_ARGS: &str = "coracle.kernel-args";

/// How machines are made.
#[derive(Clone, Debug)]
pub struct MachineSettings {
    /// QEMU's program; `None`: there are no machines.
    pub qemu: Option<PathBuf>,
    /// The agent: a static `coracle-init`.
    pub agent: PathBuf,
    /// Where QEMU's user-mode emulators are, for images of other architectures.
    pub emulators: PathBuf,
    /// `kvm`, `tcg`, or `auto`: what works.
    pub accelerator: String,
    /// Processors of a machine whose container asks for none.
    pub cpus: u32,
    /// Bytes of memory of a machine whose container has no limit.
    pub memory: u64,
    /// Bytes for the guest's kernel and agent, on top of a container's limit.
    pub overhead: u64,
    /// Bytes of translated code that emulation keeps for each machine.
    pub code_cache: u64,
    /// Bytes that a container can write, where it doesn't say.
    pub layer: u64,
    /// Machines that wait for a container.
    pub spares: usize,
}

impl MachineSettings {
    /// The defaults, with the agent beside the shim.
    pub(crate) fn new(shim: &Path) -> Self {
        Self {
            qemu: on_path(&program(ARCHITECTURE)),
            agent: shim.with_file_name("coracle-init"),
            emulators: "/usr/bin".into(),
            accelerator: "auto".into(),
            cpus: 1,
            memory: 1 << 30,
            overhead: 128 << 20,
            code_cache: 128 << 20,
            layer: 16 << 30,
            spares: 1,
        }
    }
}

/// This host's architecture, and so that of its machines.
pub(crate) const ARCHITECTURE: &str = std::env::consts::ARCH;

/// QEMU's program for machines of an architecture.
fn program(architecture: &str) -> String {
    format!("qemu-system-{architecture}")
}

/// Debian's package with that program.
fn package() -> &'static str {
    match ARCHITECTURE {
        "aarch64" => "qemu-system-arm",
        _ => "qemu-system-x86",
    }
}

/// Of which architectures there can be machines, this host's first.
fn architectures(settings: &MachineSettings) -> Vec<String> {
    let own = settings.qemu.as_ref().map(|_| ARCHITECTURE);
    let others = ["x86_64", "aarch64"].into_iter();
    let others = others.filter(|name| *name != ARCHITECTURE && on_path(&program(name)).is_some());
    own.into_iter().chain(others).map(str::to_owned).collect()
}

/// A program on the search path.
fn on_path(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .map(|directory| directory.join(name))
        .find(|program| program.is_file())
}

/// What the engine keeps for machines.
pub(crate) struct Machines {
    /// The guests' kernels.
    pub(crate) kernels: KernelStore,
    users: users::Users,
    pub(crate) asked: templates::Asked,
    pub(crate) spares: spares::Spares,
}

impl Machines {
    /// Opens what is kept under the data root.
    pub(crate) fn open(config: &Config) -> Result<Self> {
        Ok(Self {
            kernels: KernelStore::open(&config.data_root.join("kernels"))?,
            users: users::Users::here(),
            asked: templates::Asked::default(),
            spares: spares::Spares::default(),
        })
    }

    /// Which runtime a container gets that asks for this one.
    pub(crate) fn runtime(&self, config: &Config, asked: &str) -> Result<&'static str> {
        let name = match asked {
            "" => self.default_runtime(config),
            name => name,
        };
        match name {
            PROCESS | "runc" | "io.containerd.runc.v2" => Ok(PROCESS),
            RUNTIME => match self.unavailable(config) {
                None => Ok(RUNTIME),
                Some(why) => Err(RuntimeError::InvalidArgument(format!(
                    "the runtime \"vm\" is not available: {why}"
                ))),
            },
            other => Err(RuntimeError::InvalidArgument(format!(
                "unknown or invalid runtime name: {other}; there are \"process\" and \"vm\""
            ))),
        }
    }

    /// The runtime of containers that name none.
    pub(crate) fn default_runtime<'a>(&self, config: &'a Config) -> &'a str {
        match config.default_runtime.as_str() {
            "auto" => match self.unavailable(config) {
                None if accelerator(config).0 == "kvm" => RUNTIME,
                _ => PROCESS,
            },
            name => name,
        }
    }

    /// All runtimes that there are, with the program of each.
    pub(crate) fn runtimes(&self, config: &Config) -> BTreeMap<String, String> {
        let shim = config.shim.to_string_lossy().into_owned();
        let mut runtimes = BTreeMap::from([(PROCESS.to_owned(), shim.clone())]);
        if self.unavailable(config).is_none() {
            runtimes.insert(RUNTIME.to_owned(), shim);
        }
        runtimes
    }

    /// How machines run here, for people.
    pub(crate) fn info(&self, config: &Config) -> MachineInfo {
        if let Some(unavailable) = self.unavailable(config) {
            return MachineInfo {
                unavailable,
                architectures: architectures(&config.machine),
                ..Default::default()
            };
        }
        let (accelerator, reason) = accelerator(config);
        MachineInfo {
            accelerator,
            reason,
            kernel: self
                .kernels
                .default_name()
                .ok()
                .flatten()
                .unwrap_or_default(),
            architectures: architectures(&config.machine),
            unavailable: String::new(),
        }
    }

    /// Why there are no machines here, if so.
    pub(crate) fn unavailable(&self, config: &Config) -> Option<String> {
        let settings = &config.machine;
        if settings.qemu.is_none() {
            let (program, package) = (program(ARCHITECTURE), package());
            return Some(format!("there is no {program}; install {package}"));
        }
        if !settings.agent.is_file() {
            return Some(format!(
                "there is no {}: it is built beside coracled",
                settings.agent.display()
            ));
        }
        if !matches!(self.kernels.default_name(), Ok(Some(_))) {
            return Some(
                "there is no kernel; install one with \"coracle system kernel install\"".into(),
            );
        }
        None
    }
}

/// What executes machines: as it is set, or as the maker of templates found out; and why.
fn accelerator(config: &Config) -> (String, String) {
    let set = &config.machine.accelerator;
    if set != "auto" {
        return (set.clone(), "as coracled was told".into());
    }
    #[derive(serde::Deserialize)]
    struct Choice {
        accelerator: String,
        reason: String,
    }
    let found = config.data_root.join("machines/accelerator.json");
    let choice = crate::durable::read_json::<Choice>(&found).ok().flatten();
    match choice {
        Some(choice) => (choice.accelerator, choice.reason),
        None => ("tcg".into(), "kvm is not tried yet".into()),
    }
}

/// Whether a container runs in a machine.
pub(crate) fn is_machine(host_config: &HostConfig) -> bool {
    host_config.runtime == RUNTIME
}

/// The facts that a container's specification depends on: the host's, or the guest's.
pub(crate) fn facts<'a>(config: &'a Config, host_config: &HostConfig) -> Cow<'a, Host> {
    match is_machine(host_config) {
        true => Cow::Owned(crate::host::guest_facts(&config.host)),
        false => Cow::Borrowed(&config.host),
    }
}

/// The disk that a container's changes are on.
pub(crate) fn layer(dirs: &Dirs) -> PathBuf {
    dirs.root.join("layer.ext4")
}

/// The machine of a container; its disks are made, if they aren't there.
pub(crate) async fn config(
    engine: &Arc<Engine>,
    record: &Record,
    dirs: &Dirs,
    interfaces: Vec<MachineInterface>,
) -> Result<MachineConfig> {
    let host_config = &record.host_config;
    let mut machine = shape(engine, host_config).await?;
    machine.join = pod::to_join(engine, record)?;
    machine.pod = pod::socket(&dirs.bundle);
    if machine.join.is_none() {
        templates::ask(engine, &machine);
    }
    machine.image = engine.images.root_image(record).await?;
    machine.layer = layer(dirs);
    let bytes = check::layer_size(host_config, engine.config.machine.layer)?;
    crate::disks::new_layer(&machine.layer, bytes).await?;
    machine.journal = check::journal(host_config)?;
    machine.interfaces = interfaces;
    let files = pod::files(engine, record);
    machine.copies = vec![files.hosts(), files.hostname(), files.resolv_conf()];
    machine.user = engine.machines.users.of_container(&record.id);
    machine.boot_log = dirs.root.join("boot.log");
    Ok(machine)
}

/// A machine with neither disks nor interfaces, as a container of this configuration needs it.
async fn shape(engine: &Arc<Engine>, host_config: &HostConfig) -> Result<MachineConfig> {
    let config = &engine.config;
    let settings = &config.machine;
    let qemu = settings.qemu.clone().ok_or_else(|| {
        let program = program(ARCHITECTURE);
        RuntimeError::InvalidState(format!("{program} is gone; install it again"))
    })?;
    let boot = boot(engine, host_config).await?;
    let cpus = check::cpus(host_config, settings.cpus, config.host.cpus);
    Ok(MachineConfig {
        qemu,
        accelerator: settings.accelerator.clone(),
        kernel: boot.kernel,
        initrd: boot.initrd,
        kernel_args: boot.kernel_args,
        cpus,
        max_cpus: check::max_cpus(cpus, config.host.cpus),
        memory: check::memory(host_config, settings.memory, settings.overhead),
        overhead: settings.overhead,
        code_cache: settings.code_cache,
        templates: Some(config.data_root.join("machines/templates")),
        image: PathBuf::new(),
        layer: PathBuf::new(),
        journal: None,
        interfaces: Vec::new(),
        copies: Vec::new(),
        emulator: None,
        user: None,
        boot_log: PathBuf::new(),
        pod: PathBuf::new(),
        join: None,
    })
}

/// The shape of machines whose containers ask for nothing.
async fn default_shape(engine: &Arc<Engine>) -> Result<MachineConfig> {
    shape(engine, &HostConfig::default()).await
}

/// What every machine boots.
struct Boot {
    kernel: PathBuf,
    initrd: PathBuf,
    kernel_args: Vec<String>,
}

/// The kernel that a container asks for, or the default one, and its initial RAM disk.
async fn boot(engine: &Arc<Engine>, host_config: &HostConfig) -> Result<Boot> {
    let (engine, annotations) = (engine.clone(), host_config.annotations.clone());
    blocking(move || {
        let kernels = &engine.machines.kernels;
        let name = annotations.get(KERNEL).map(String::as_str);
        let kernel = kernels.resolve(name)?;
        if kernel.arch.as_str() != ARCHITECTURE {
            return Err(RuntimeError::InvalidArgument(format!(
                "kernel {:?} is one for {}, and machines here are {ARCHITECTURE}",
                kernel.name,
                kernel.arch.as_str()
            )));
        }
        let initrd = kernels.initrd_for(&kernel, &engine.config.machine.agent)?;
        let more = annotations.get(KERNEL_ARGS).map(String::as_str);
        let more = more.unwrap_or_default().split_whitespace();
        Ok(Boot {
            kernel: kernel.image,
            initrd,
            kernel_args: more.map(str::to_owned).collect(),
        })
    })
    .await
}
