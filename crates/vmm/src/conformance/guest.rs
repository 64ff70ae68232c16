//! The suite's guest: a kernel that is found, and an initrd that is made.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;

use super::PATIENCE;
use crate::machine::Vmm;
use crate::spec::{Accelerator, Arch, MachineSpec, Shape};

/// What a packaged kernel needs from its modules, in the order of loading.
const MODULES: [&str; 14] = [
    "virtio_ring",
    "virtio",
    "virtio_pci_legacy_dev",
    "virtio_pci_modern_dev",
    "virtio_pci",
    "virtio_console",
    "virtio_blk",
    "failover",
    "net_failover",
    "virtio_net",
    "virtio_balloon",
    "virtio_mem",
    "vmgenid",
    "acpiphp_ibm",
];

/// A kernel and an initrd whose first process answers lines on the agent's port.
#[derive(Debug, Clone)]
pub struct Guest {
    arch: Arch,
    kernel: Kernel,
    initrd: PathBuf,
}

impl Guest {
    /// Makes the guest in a directory. Its kernel is what `CORACLE_TEST_KERNEL` names, with the modules
    /// in the directory `CORACLE_TEST_MODULES`, if it needs any; else the newest in the fixtures' cache
    /// (`CORACLE_CACHE`): made by `kernel/build` for this host's architecture, fetched by
    /// `fixtures/foreign` for another. A foreign guest's are `CORACLE_TEST_KERNEL_AARCH64` and so on.
    ///
    /// # Errors
    /// Why there is none, for the line that says what was skipped.
    pub fn make(dir: &Path, arch: Arch) -> Result<Guest, String> {
        let kernel = Kernel::find(arch)?;
        let program = compile(dir, arch)?;
        let initrd = dir.join("initrd");
        write_initrd(&initrd, &program, kernel.modules.as_deref())
            .map_err(|error| format!("making the initrd: {error}"))?;
        Ok(Guest {
            arch,
            kernel,
            initrd,
        })
    }

    /// A guest with these files.
    #[must_use]
    pub fn of(arch: Arch, image: PathBuf, initrd: PathBuf) -> Guest {
        let modules = None;
        Guest {
            arch,
            kernel: Kernel { image, modules },
            initrd,
        }
    }

    /// The guest whose initrd was made in a directory before.
    ///
    /// # Errors
    /// As [`Guest::make`].
    pub fn at(dir: &Path, arch: Arch) -> Result<Guest, String> {
        let initrd = dir.join("initrd");
        let found = initrd.is_file().then_some(initrd);
        Ok(Guest {
            arch,
            kernel: Kernel::find(arch)?,
            initrd: found.ok_or("no initrd was made there")?,
        })
    }

    /// A machine's shape with this guest, whose console is that device.
    #[must_use]
    pub fn shape(&self, accelerator: Accelerator, console: &str) -> Shape {
        let args = [
            "quiet",
            "panic=-1",
            "random.trust_cpu=on",
            "memhp_default_state=online",
        ];
        let console = format!("console={console}");
        Shape {
            arch: self.arch,
            kernel: self.kernel.image.clone(),
            initrd: self.initrd.clone(),
            kernel_args: [&console]
                .into_iter()
                .map(Into::into)
                .chain(args.map(Into::into))
                .collect(),
            cpus: 1,
            memory: 256 << 20,
            accelerator,
            code_cache: crate::CODE_CACHE,
        }
    }

    /// A machine with this guest, emulated.
    #[must_use]
    pub fn machine(&self, vmm: &dyn Vmm, dir: &Path, id: &str) -> MachineSpec {
        let console = dir.join(format!("{id}.console"));
        let shape = self.shape(Accelerator::Tcg, vmm.console(self.arch));
        MachineSpec::new(shape, id, console)
    }
}

/// Compiles the guest's first process.
fn compile(dir: &Path, arch: Arch) -> Result<PathBuf, String> {
    let (source, program) = (dir.join("agent.rs"), dir.join("agent"));
    fs::write(&source, include_str!("agent.rs")).map_err(|error| error.to_string())?;
    let mut rustc = Command::new("rustc");
    let target = format!("{arch}-unknown-linux-musl");
    rustc.args(["--edition", "2024", "--target", &target]);
    for option in ["opt-level=1", "strip=symbols", "panic=abort"] {
        rustc.args(["-C", option]);
    }
    if arch != Arch::HOST {
        // The host's own has no idea of it.
        rustc.args(["-C", "linker=rust-lld"]);
    }
    let made = rustc.arg("-o").args([&program, &source]).output();
    match made {
        Ok(made) if made.status.success() => Ok(program),
        _ => Err(format!(
            "rustc makes no program for {target} (rustup target add {target})"
        )),
    }
}

/// A guest's kernel.
#[derive(Debug, Clone)]
struct Kernel {
    image: PathBuf,
    /// A directory with its modules, if it needs any.
    modules: Option<PathBuf>,
}

impl Kernel {
    fn find(arch: Arch) -> Result<Kernel, String> {
        let suffix = match arch == Arch::HOST {
            true => String::new(),
            false => format!("_{}", arch.as_str().to_uppercase()),
        };
        let set = |name: &str| std::env::var_os(format!("{name}{suffix}")).map(PathBuf::from);
        if let Some(image) = set("CORACLE_TEST_KERNEL") {
            if !image.is_file() {
                return Err(format!("CORACLE_TEST_KERNEL{suffix} names no file"));
            }
            let modules = set("CORACLE_TEST_MODULES");
            return Ok(Kernel { image, modules });
        }
        let (prefix, image, maker) = match arch == Arch::HOST {
            true => ("kernel-", "vmlinux".into(), "kernel/build"),
            false => ("foreign-", format!("{arch}/vmlinuz"), "fixtures/foreign"),
        };
        let cache = std::env::var_os("CORACLE_CACHE");
        let cache = PathBuf::from(cache.unwrap_or("/var/cache/coracle-fixtures".into()));
        let found = fs::read_dir(&cache).into_iter().flatten().flatten();
        let newest = found
            .filter(|entry| entry.file_name().to_string_lossy().starts_with(prefix))
            .map(|entry| entry.path().join(&image))
            .filter_map(|path| Some((fs::metadata(&path).ok()?.modified().ok()?, path)))
            .max();
        let (_, image) = newest.ok_or_else(|| {
            format!(
                "there is no kernel for {arch}: set CORACLE_TEST_KERNEL{suffix}, or have one put into \
                 {} by {maker}",
                cache.display()
            )
        })?;
        let modules = Some(image.with_file_name("modules")).filter(|dir| dir.is_dir());
        Ok(Kernel { image, modules })
    }
}

/// Writes a cpio archive ("newc") with the program as `/init`, and the modules.
fn write_initrd(path: &Path, program: &Path, modules: Option<&Path>) -> io::Result<()> {
    let mut archive = Vec::new();
    for dir in ["dev", "sys", "proc", "modules"] {
        entry(&mut archive, dir, 0o040_755, b"")?;
    }
    entry(&mut archive, "init", 0o100_755, &fs::read(program)?)?;
    if let Some(dir) = modules {
        let mut found = Vec::new();
        collect(dir, &mut found)?;
        for (number, name) in MODULES.iter().enumerate() {
            let file = format!("{name}.ko");
            let dashed = file.replace('_', "-");
            let matches = |path: &&PathBuf| {
                path.file_name()
                    .is_some_and(|name| name == file.as_str() || name == dashed.as_str())
            };
            if let Some(path) = found.iter().find(matches) {
                let name = format!("modules/{number:02}-{file}");
                entry(&mut archive, &name, 0o100_644, &fs::read(path)?)?;
            }
        }
    }
    entry(&mut archive, "TRAILER!!!", 0, b"")?;
    fs::write(path, archive)
}

fn collect(dir: &Path, into: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if path.is_dir() && !path.is_symlink() {
            collect(&path, into)?;
        } else {
            into.push(path);
        }
    }
    Ok(())
}

fn entry(archive: &mut Vec<u8>, name: &str, mode: u32, data: &[u8]) -> io::Result<()> {
    let fields = [
        0,
        mode,
        0,
        0,
        1,
        0,
        data.len() as u32,
        0,
        0,
        0,
        0,
        name.len() as u32 + 1,
        0,
    ];
    archive.extend_from_slice(b"070701");
    for field in fields {
        write!(archive, "{field:08x}")?;
    }
    archive.extend_from_slice(name.as_bytes());
    archive.push(0);
    pad(archive);
    archive.extend_from_slice(data);
    pad(archive);
    Ok(())
}

fn pad(archive: &mut Vec<u8>) {
    archive.resize(archive.len().next_multiple_of(4), 0);
}

/// The line protocol of the guest.
pub struct Talk(BufReader<UnixStream>);

impl Talk {
    /// Over an agent's stream.
    #[must_use]
    pub fn new(stream: UnixStream) -> Talk {
        Talk(BufReader::new(stream))
    }

    /// Asks, and waits for the answer: at most two minutes.
    ///
    /// # Errors
    /// If the stream ends, or the guest is silent.
    pub async fn ask(&mut self, question: &str) -> io::Result<String> {
        let exchange = async {
            self.0
                .get_mut()
                .write_all(format!("{question}\n").as_bytes())
                .await?;
            let mut line = String::new();
            if self.0.read_line(&mut line).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            Ok(line.trim_end().to_owned())
        };
        tokio::time::timeout(PATIENCE, exchange).await?
    }

    /// Asks again and again until the answer suits: for what takes the guest some time.
    ///
    /// # Errors
    /// As [`Talk::ask`], and the last answer after as long.
    pub async fn until(
        &mut self,
        question: &str,
        suits: impl Fn(&str) -> bool,
    ) -> io::Result<String> {
        let start = Instant::now();
        loop {
            let answer = self.ask(question).await?;
            if suits(&answer) {
                return Ok(answer);
            }
            if start.elapsed() > PATIENCE {
                return Err(io::Error::other(format!("{question}: at last {answer:?}")));
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}
