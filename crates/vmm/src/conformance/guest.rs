//! The suite's guest: a kernel that is found, and an initrd that is made.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;

use crate::spec::{Accelerator, MachineSpec, Shape};

/// What a packaged kernel needs from its modules, in the order of loading.
const MODULES: [&str; 13] = [
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
    "vmgenid",
    "acpiphp_ibm",
];

/// A kernel and an initrd whose first process answers lines on the agent's port.
#[derive(Debug, Clone)]
pub struct Guest {
    kernel: PathBuf,
    initrd: PathBuf,
}

impl Guest {
    /// Makes the guest in a directory: with the kernel that `CORACLE_TEST_KERNEL` names, or the
    /// newest in the fixtures' cache (`CORACLE_CACHE`). `CORACLE_TEST_MODULES` is a directory with
    /// the kernel's modules, if it needs any.
    ///
    /// # Errors
    /// Why there is none, for the line that says what was skipped.
    pub fn make(dir: &Path) -> Result<Guest, String> {
        let kernel = find_kernel()?;
        let source = dir.join("agent.c");
        let program = dir.join("agent");
        fs::write(&source, include_str!("agent.c")).map_err(|error| error.to_string())?;
        let compiler = ["musl-gcc", "gcc", "cc"].into_iter().find(|compiler| {
            let built = Command::new(compiler)
                .args(["-static", "-O1", "-s", "-o"])
                .args([&program, &source])
                .output();
            built.is_ok_and(|output| output.status.success())
        });
        compiler.ok_or("no C compiler makes a static program (install musl-tools or gcc)")?;
        let initrd = dir.join("initrd");
        write_initrd(&initrd, &program).map_err(|error| format!("making the initrd: {error}"))?;
        Ok(Guest { kernel, initrd })
    }

    /// The guest whose initrd was made in a directory before.
    ///
    /// # Errors
    /// As [`Guest::make`].
    pub fn at(dir: &Path) -> Result<Guest, String> {
        let initrd = dir.join("initrd");
        let found = initrd.is_file().then_some(initrd);
        Ok(Guest {
            kernel: find_kernel()?,
            initrd: found.ok_or("no initrd was made there")?,
        })
    }

    /// A machine's shape with this guest.
    #[must_use]
    pub fn shape(&self, accelerator: Accelerator) -> Shape {
        let args = [
            "console=ttyS0",
            "quiet",
            "panic=-1",
            "random.trust_cpu=on",
            "memhp_default_state=online",
        ];
        Shape {
            kernel: self.kernel.clone(),
            initrd: self.initrd.clone(),
            kernel_args: args.map(str::to_owned).to_vec(),
            cpus: 1,
            memory: 256 << 20,
            accelerator,
        }
    }

    /// A machine with this guest.
    #[must_use]
    pub fn machine(&self, dir: &Path, id: &str) -> MachineSpec {
        let console = dir.join(format!("{id}.console"));
        MachineSpec::new(self.shape(Accelerator::Tcg), id, console)
    }
}

fn find_kernel() -> Result<PathBuf, String> {
    if let Some(path) = std::env::var_os("CORACLE_TEST_KERNEL") {
        let path = PathBuf::from(path);
        return path
            .is_file()
            .then_some(path)
            .ok_or_else(|| "CORACLE_TEST_KERNEL names no file".into());
    }
    let cache = std::env::var_os("CORACLE_CACHE").unwrap_or("/var/cache/coracle-fixtures".into());
    let found = fs::read_dir(&cache).into_iter().flatten().flatten();
    found
        .filter(|entry| entry.file_name().to_string_lossy().starts_with("kernel-"))
        .map(|entry| entry.path().join("vmlinux"))
        .filter_map(|path| Some((fs::metadata(&path).ok()?.modified().ok()?, path)))
        .max()
        .map(|(_, path)| path)
        .ok_or_else(|| {
            format!(
                "there is no kernel: set CORACLE_TEST_KERNEL, or build one into {} by kernel/build",
                Path::new(&cache).display()
            )
        })
}

/// Writes a cpio archive ("newc") with the program as `/init`, and the modules.
fn write_initrd(path: &Path, program: &Path) -> io::Result<()> {
    let mut archive = Vec::new();
    for dir in ["dev", "sys", "proc", "modules"] {
        entry(&mut archive, dir, 0o040_755, b"")?;
    }
    entry(&mut archive, "init", 0o100_755, &fs::read(program)?)?;
    if let Some(dir) = std::env::var_os("CORACLE_TEST_MODULES") {
        let mut found = Vec::new();
        collect(Path::new(&dir), &mut found)?;
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

    /// Asks, and waits for the answer: at most a minute.
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
        tokio::time::timeout(Duration::from_secs(60), exchange).await?
    }

    /// Asks again and again until the answer suits: for what takes the guest some time.
    ///
    /// # Errors
    /// As [`Talk::ask`], and the last answer after half a minute.
    pub async fn until(
        &mut self,
        question: &str,
        suits: impl Fn(&str) -> bool,
    ) -> io::Result<String> {
        let start = std::time::Instant::now();
        loop {
            let answer = self.ask(question).await?;
            if suits(&answer) {
                return Ok(answer);
            }
            if start.elapsed() > Duration::from_secs(30) {
                return Err(io::Error::other(format!("{question}: at last {answer:?}")));
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}
