//! What the tests need: a kernel, an agent, disks, and a machine of them.

use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use coracle_guest::{Agent, Exited, Root, Setup, Started, Streams, Time};
use coracle_kernel::{Install, KernelStore, Source};
use coracle_task::{ExecConfig, Rootfs, TaskConfig};
use coracle_vmm::{Accelerator, Arch, Disk, Machine, MachineSpec, Qemu, Shape, Template, Vmm};
use oci_spec::runtime::Capabilities;
use tempfile::TempDir;
use tokio::io::AsyncReadExt;

/// The files of the tests.
pub(crate) struct Bench {
    pub(crate) vmm: Qemu,
    dir: TempDir,
    arch: Arch,
    kernel: PathBuf,
    initrd: PathBuf,
}

/// A machine that answers.
pub(crate) struct Guest {
    pub(crate) agent: Agent,
    pub(crate) machine: Box<dyn Machine>,
}

/// What a container did.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) exited: Exited,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Bench {
    pub(crate) fn find(arch: Arch) -> Result<Self, String> {
        let need = |found: bool, what: &str| found.then_some(()).ok_or_else(|| what.to_owned());
        need(rustix::process::geteuid().is_root(), "needs root")?;
        let vmm = Qemu::discover(arch).map_err(|error| error.to_string())?;
        let beside = Path::new(env!("CARGO_BIN_EXE_coracle-init"))
            .parent()
            .unwrap();
        let init = beside.join(format!("../{arch}-unknown-linux-musl/shim/coracle-init"));
        let set = std::env::var_os("CORACLE_TEST_INIT").filter(|_| arch == Arch::HOST);
        let init = set.map_or(init, PathBuf::from);
        need(init.exists(), &format!("there is no {}", init.display()))?;
        let dir = tempfile::tempdir().unwrap();
        let (kernel, initrd, busybox) = match arch == Arch::HOST {
            true => of_this_host(dir.path(), &init)?,
            false => of_another(dir.path(), &init, arch)?,
        };
        need(
            busybox.exists(),
            &format!("needs a static {}", busybox.display()),
        )?;
        let root = busybox_root(dir.path(), &busybox);
        let image = dir.path().join("root.erofs");
        run(Command::new("mkfs.erofs").arg(&image).arg(root))?;
        let layer = dir.path().join("layer.ext4");
        File::create(&layer).unwrap().set_len(256 << 20).unwrap();
        run(Command::new("mkfs.ext4").args(["-q", "-F"]).arg(&layer))?;
        Ok(Self {
            vmm,
            dir,
            arch,
            kernel,
            initrd,
        })
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn console(&self) -> String {
        let bytes = fs::read(self.path("console")).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    pub(crate) fn shape(&self) -> Shape {
        let console = format!("console={}", self.vmm.console(self.arch));
        let args = [&console, "quiet", "panic=-1", "random.trust_cpu=on"];
        Shape {
            arch: self.arch,
            kernel: self.kernel.clone(),
            initrd: self.initrd.clone(),
            kernel_args: args.map(String::from).to_vec(),
            cpus: 1,
            memory: 256 << 20,
            accelerator: Accelerator::Tcg,
            code_cache: coracle_vmm::CODE_CACHE,
        }
    }

    pub(crate) fn spec(&self) -> MachineSpec {
        let mut spec = MachineSpec::new(self.shape(), "init-test", self.path("console"));
        let layer = self.path("layer");
        fs::copy(self.path("layer.ext4"), &layer).unwrap();
        spec.root = Some(Disk::open(&self.path("root.erofs"), "root", true).unwrap());
        spec.layer = Some(Disk::open(&layer, "layer", false).unwrap());
        spec
    }

    /// A machine that is ready for its container.
    pub(crate) async fn boot(&self) -> Guest {
        let start = Instant::now();
        let machine = self.vmm.boot(self.spec()).await.unwrap();
        let guest = self.connect(machine).await;
        println!("boot to the agent's answer: {:?}", start.elapsed());
        guest.agent.setup(&setup()).await.unwrap();
        guest
    }

    pub(crate) async fn connect(&self, machine: Box<dyn Machine>) -> Guest {
        let theirs = match self.arch {
            Arch::X86_64 => coracle_seccomp::Machine::X86_64,
            Arch::Aarch64 => coracle_seccomp::Machine::Aarch64,
        };
        let connecting = Agent::connect_to(machine.agent().unwrap(), Some(theirs));
        match tokio::time::timeout(Duration::from_secs(60), connecting).await {
            Ok(Ok(agent)) => Guest { agent, machine },
            failed => panic!("{:?}: {}", failed.map(|it| it.map(drop)), self.console()),
        }
    }

    pub(crate) async fn template(&self) -> Template {
        let mut spec = MachineSpec::new(self.shape(), "template", self.path("console"));
        spec.template = true;
        let machine = self.vmm.boot(spec).await.unwrap();
        let guest = self.connect(machine).await;
        let start = Instant::now();
        guest.agent.prepare().await.unwrap();
        println!("prepare: {:?}", start.elapsed());
        let template = guest
            .machine
            .snapshot(&self.path("template"))
            .await
            .unwrap();
        drop(guest.agent);
        template
    }
}

/// What a machine is told first.
pub(crate) fn setup() -> Setup {
    let now = jiff::Timestamp::now();
    Setup {
        entropy: vec![7; 64],
        time: Some(Time {
            seconds: now.as_second(),
            nanos: now.subsec_nanosecond() as u32,
        }),
        hostname: Some("machine".into()),
        machine_id: Some("0123456789abcdef0123456789abcdef".into()),
        roots: vec![Root {
            journal: None,
            container: "c".into(),
            image: "root".into(),
            layer: Some("layer".into()),
        }],
        ..Setup::default()
    }
}

/// A container of the only root.
pub(crate) fn config(args: &[&str]) -> TaskConfig {
    let mut config: TaskConfig = serde_json::from_str(include_str!("../../src/warm.json")).unwrap();
    config.id = "c".into();
    config.cgroup_parent = "/coracle".into();
    config.cgroup_name = "c".into();
    config.rootfs = Rootfs::Overlay {
        lower: vec!["/run/coracle/c/image".into()],
        upper: "/run/coracle/c/layer/upper".into(),
        work: "/run/coracle/c/layer/work".into(),
    };
    let filter = coracle_seccomp::default_profile(&Capabilities::default()).unwrap();
    let linux = config.spec.linux_mut().as_mut().unwrap();
    linux.set_seccomp(Some(filter));
    let process = config.spec.process_mut().as_mut().unwrap();
    process.set_args(Some(args.iter().map(|arg| (*arg).into()).collect()));
    process.set_env(Some(vec!["PATH=/bin".into()]));
    config
}

pub(crate) fn shell(script: &str) -> TaskConfig {
    config(&["sh", "-c", script])
}

/// An exec of the only container.
pub(crate) fn exec(id: &str, args: &[&str]) -> ExecConfig {
    ExecConfig {
        exec_id: id.into(),
        process: config(args).spec.process().clone().unwrap(),
        terminal: false,
        stdin: false,
        user: None,
        groups: Vec::new(),
        console_size: None,
    }
}

pub(crate) const OUTPUT: Streams = Streams {
    stdin: false,
    output: true,
};

pub(crate) const ALL: Streams = Streams {
    stdin: true,
    output: true,
};

impl Guest {
    /// Runs a container to its end, and deletes it.
    pub(crate) async fn run(&self, config: &TaskConfig) -> Ran {
        let started = self.agent.run("c", config, OUTPUT).await.unwrap();
        let ran = finish(started).await;
        self.agent.delete("c").await.unwrap();
        ran
    }

    /// As between tests.
    pub(crate) async fn clean(&self) {
        let _it_may_be_gone = self.agent.delete("c").await;
    }

    pub(crate) async fn end(self) {
        // The connection may be lost before the answer is there.
        let _asked = self.agent.shutdown().await;
        let exit = tokio::time::timeout(Duration::from_secs(60), self.machine.wait()).await;
        println!("the machine: {}", exit.unwrap());
    }
}

/// Waits for the end of a process and its output.
pub(crate) async fn finish(started: Started) -> Ran {
    let (mut stdout, mut stderr) = <(String, String)>::default();
    let out = async {
        if let Some(mut reader) = started.stdout {
            reader.read_to_string(&mut stdout).await.unwrap();
        }
    };
    let err = async {
        if let Some(mut reader) = started.stderr {
            reader.read_to_string(&mut stderr).await.unwrap();
        }
    };
    let (_, _, exited) = tokio::join!(out, err, started.exit);
    Ran {
        exited: exited.unwrap(),
        stdout,
        stderr,
    }
}

/// A kernel, an initial RAM disk and busybox.
type Parts = (PathBuf, PathBuf, PathBuf);

fn of_this_host(dir: &Path, init: &Path) -> Result<Parts, String> {
    let kernel = std::env::var_os("CORACLE_TEST_KERNEL").map(PathBuf::from);
    let built = || in_cache("kernel-", "vmlinux");
    let kernel = kernel.or_else(built).ok_or("there is no kernel")?;
    let initrd = dir.join("initrd");
    let file = File::create(&initrd).unwrap();
    coracle_kernel::write_initrd(file, init, &[]).map_err(|error| error.to_string())?;
    Ok((kernel, initrd, "/bin/busybox".into()))
}

/// What `fixtures/foreign` fetched.
fn of_another(dir: &Path, init: &Path, arch: Arch) -> Result<Parts, String> {
    let package = in_cache("foreign-", &format!("{arch}/linux-image.deb"));
    let package = package.ok_or_else(|| format!("there is no kernel for {arch}"))?;
    let busybox = package.parent().unwrap().with_file_name("busybox-arm64");
    let kernels = KernelStore::open(&dir.join("kernels")).unwrap();
    let install = Install {
        name: None,
        source: Source::Package(package),
        modules: Vec::new(),
    };
    let made = kernels.install(&install).and_then(|kernel| {
        let initrd = kernels.initrd_for(&kernel, init)?;
        Ok((kernel.image, initrd))
    });
    let (kernel, initrd) = made.map_err(|error| error.to_string())?;
    Ok((kernel, initrd, busybox))
}

/// A file in one of the fixtures' folders.
fn in_cache(folder: &str, file: &str) -> Option<PathBuf> {
    let fixtures = std::env::var_os("CORACLE_FIXTURES");
    let fixtures = fixtures.map_or("/var/cache/coracle-fixtures".into(), PathBuf::from);
    let entries = fs::read_dir(fixtures).ok()?.flatten();
    let folders = entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(folder));
    folders
        .map(|entry| entry.path().join(file))
        .find(|path| path.exists())
}

fn busybox_root(dir: &Path, busybox: &Path) -> PathBuf {
    let root = dir.join("root");
    for name in ["bin", "proc", "dev", "sys", "tmp", "etc", "root"] {
        fs::create_dir_all(root.join(name)).unwrap();
    }
    fs::copy(busybox, root.join("bin/busybox")).unwrap();
    let list = Command::new("/bin/busybox").arg("--list").output().unwrap();
    for applet in String::from_utf8(list.stdout).unwrap().lines() {
        let _there = symlink("busybox", root.join("bin").join(applet));
    }
    fs::write(root.join("etc/passwd"), "root:x:0:0::/root:/bin/sh\n").unwrap();
    fs::write(root.join("etc/deleted"), "x").unwrap();
    root
}

fn run(command: &mut Command) -> Result<(), String> {
    let output = command
        .output()
        .map_err(|error| format!("{command:?}: {error}"))?;
    match output.status.success() {
        true => Ok(()),
        false => Err(format!("{command:?}: {output:?}")),
    }
}
