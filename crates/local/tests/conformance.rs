//! The conformance suite on LocalRuntime: real containers, in namespaces of the test's own.
//!
//! The test runs itself again in a network and a mount namespace that nobody else is in, with a
//! data root in a temporary directory and a control group at the top level. When all is removed it
//! looks for what was left.
//!
//! - `CORACLE_SHIM`: the shim to use; else the one of this workspace is built.
//! - `CONFORMANCE_FILTER`: only checks whose name holds this.
//! - `CONFORMANCE_JOBS`: checks at once (4).
//! - `CONFORMANCE_SPARES`: machines that are kept ready (1).

// What it prints is what a failed run is understood by.
#![allow(clippy::print_stdout)]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use coracle_local::{Config, LocalRuntime};
use coracle_runtime::Runtime;
use coracle_runtime::conformance::{Fixture, busybox_root, run_all};
use coracle_runtime::container::RemoveOptions;
use coracle_runtime::image::ImportRequest;

/// Says to the test that it runs in its namespaces, and which runtime it is for.
const INSIDE: &str = "CORACLE_CONFORMANCE_INSIDE";
/// Where the guest's kernel is that machines boot: what `coracle system kernel install` takes.
const KERNEL: &str = "CORACLE_TEST_KERNEL";
/// Where the guest's agent is.
const AGENT: &str = "CORACLE_TEST_INIT";
const BUSYBOX: &str = "/bin/busybox";

/// What is known to differ, and why. A line goes away with its fault; nothing is ever added to hide
/// a new one.
const KNOWN: &[(&str, &str)] = &[];

/// The same of containers in virtual machines: what can't be there, as they have kernels of their own.
const KNOWN_OF_MACHINES: &[(&str, &str)] = &[
    (
        "observe::processes",
        "the ids of a guest's processes are not this host's",
    ),
    (
        "networks::none_and_host",
        "the host's network is not a machine's",
    ),
];

#[test]
fn conformance() {
    if std::env::var_os(INSIDE).is_some() {
        inside("process");
        return;
    }
    if let Some(why) = obstacle() {
        println!("skipped: {why}");
        return;
    }
    run_inside("conformance", &[]);
}

/// Every container in a virtual machine of its own, the suite word for word.
#[test]
fn conformance_in_machines() {
    if std::env::var_os(INSIDE).is_some() {
        inside("vm");
        return;
    }
    if let Some(why) = obstacle() {
        println!("skipped: {why}");
        return;
    }
    let Some(kernel) = kernel() else {
        println!("skipped: needs a guest's kernel ({KERNEL}, or fixtures/kernel)");
        return;
    };
    run_inside(
        "conformance_in_machines",
        &[(KERNEL, kernel), (AGENT, agent())],
    );
}

fn run_inside(test: &str, environment: &[(&str, PathBuf)]) {
    let shim = shim();
    let own = std::env::current_exe().expect("the test's own path");
    let status = Command::new("unshare")
        .args(["--net", "--mount", "--propagation", "private", "--"])
        .arg(own)
        .args(["--exact", test, "--nocapture"])
        .envs(environment.iter().map(|(name, value)| (name, value)))
        .env(INSIDE, "1")
        .env("CORACLE_SHIM", shim)
        .env("RUST_BACKTRACE", "0")
        .status()
        .expect("unshare runs");
    assert!(status.success(), "not conforming: see above");
}

/// Why it can't be run here.
fn obstacle() -> Option<&'static str> {
    let root = std::os::unix::fs::MetadataExt::uid(&std::fs::metadata("/proc/self").ok()?) == 0;
    if !root {
        return Some("needs root to make containers");
    }
    if !Path::new(BUSYBOX).exists() {
        return Some("needs /bin/busybox (package busybox-static)");
    }
    if !Path::new("/usr/sbin/nft").exists() {
        return Some("needs nft (package nftables)");
    }
    None
}

/// The shim: the one that is told, else the workspace's, made now.
fn shim() -> PathBuf {
    if let Some(path) = std::env::var_os("CORACLE_SHIM") {
        return path.into();
    }
    let own = std::env::current_exe().expect("the test's own path");
    // `<target>/<profile>/deps/<test>`
    let profile = own.ancestors().nth(2).expect("the profile's directory");
    let target = profile.parent().expect("the target directory");
    let mut build = Command::new(env!("CARGO"));
    build
        .args(["build", "-p", "coracle-shim", "--target-dir"])
        .arg(target);
    if profile.file_name().is_some_and(|name| name == "release") {
        build.arg("--release");
    }
    let built = build.status().expect("cargo runs");
    assert!(built.success(), "the shim can't be built");
    profile.join("coracle-shim")
}

/// A kernel for guests: the one that is told, else what the fixtures have.
fn kernel() -> Option<PathBuf> {
    if let Some(path) = std::env::var_os(KERNEL) {
        return Some(path.into());
    }
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/kernel");
    let output = Command::new(script).arg("--any").output().ok()?;
    let path = String::from_utf8(output.stdout).ok()?;
    let path = PathBuf::from(path.trim());
    (output.status.success() && path.exists()).then_some(path)
}

/// The guest's agent, which is static: made now.
fn agent() -> PathBuf {
    let own = std::env::current_exe().expect("the test's own path");
    let profile = own.ancestors().nth(2).expect("the profile's directory");
    let target = profile.parent().expect("the target directory");
    let triple = format!("{}-unknown-linux-musl", std::env::consts::ARCH);
    let built = Command::new(env!("CARGO"))
        .args([
            "build",
            "--quiet",
            "-p",
            "coracle-init",
            "--profile",
            "shim",
        ])
        .args(["--target", &triple, "--target-dir"])
        .arg(target)
        .status()
        .expect("cargo runs");
    assert!(built.success(), "the guest's agent can't be built");
    target.join(triple).join("shim/coracle-init")
}

struct Local(Arc<dyn Runtime>);

impl Fixture for Local {
    async fn runtime(&self) -> Arc<dyn Runtime> {
        self.0.clone()
    }
}

fn inside(isolation: &str) {
    let up = Command::new("ip")
        .args(["link", "set", "lo", "up"])
        .status()
        .expect("ip runs");
    assert!(up.success(), "the loopback interface can't be brought up");
    let directory = tempfile::tempdir().expect("a temporary directory");
    let parent = format!("/coracle-conformance-{}", std::process::id());
    let setting = |name: &str| std::env::var(name).unwrap_or_default();
    let filter = setting("CONFORMANCE_FILTER");
    let jobs = setting("CONFORMANCE_JOBS").parse().unwrap_or(4);
    let tokio = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(4)
        .enable_all()
        .build()
        .expect("a tokio runtime");
    let failed = tokio.block_on(async {
        let shim = std::env::var_os("CORACLE_SHIM").expect("the shim's path");
        let mut config = Config::new(
            directory.path().join("data"),
            directory.path().join("run"),
            shim,
        );
        config.cgroup_parent.clone_from(&parent);
        config.default_runtime = isolation.into();
        // Not what this host happens to have: the figures of a run can be compared.
        config.machine.accelerator = "tcg".into();
        config.machine.spares = setting("CONFORMANCE_SPARES").parse().unwrap_or(1);
        if let Some(agent) = std::env::var_os(AGENT) {
            config.machine.agent = agent.into();
        }
        let runtime = LocalRuntime::open(config).await.expect("the runtime opens");
        let runtime: Arc<dyn Runtime> = Arc::new(runtime);
        if isolation == "vm" {
            install_kernel(&*runtime).await;
        }
        import(&*runtime).await;
        let fixture = Local(runtime);
        let report = run_all(&fixture, &filter, jobs).await;
        remove_all(&*fixture.0).await;
        let known = match isolation {
            "vm" => KNOWN_OF_MACHINES,
            _ => KNOWN,
        };
        let is_known = |name: &str| known.iter().any(|(known, _)| *known == name);
        let (known, failed): (Vec<_>, Vec<_>) =
            report.failed.iter().partition(|(name, _)| is_known(name));
        println!(
            "conformance: {} passed, {} failed, {} were known to",
            report.passed,
            failed.len(),
            known.len()
        );
        for (name, text) in &known {
            println!("---- (known) {name}: {text}");
        }
        for (name, text) in &failed {
            println!("---- {name}: {text}");
        }
        failed.len()
    });
    tokio.shutdown_timeout(Duration::from_secs(5));
    let left = leftovers(directory.path(), &parent);
    println!("left behind: {left:?}");
    assert_eq!(failed, 0, "checks failed");
    assert!(left.is_empty(), "left behind: {left:?}");
}

async fn install_kernel(runtime: &dyn Runtime) {
    let path = std::env::var_os(KERNEL).expect("the kernel's path");
    let spec = coracle_runtime::kernel::KernelSpec {
        path: path.to_string_lossy().into_owned(),
        ..Default::default()
    };
    runtime
        .install_kernel(spec)
        .await
        .expect("the kernel is installed");
}

/// Makes the image `busybox`.
async fn import(runtime: &dyn Runtime) {
    let root = busybox_root(Path::new(BUSYBOX)).expect("a root of busybox");
    let pieces: Vec<_> = root
        .chunks(1 << 20)
        .map(|piece| Ok(bytes::Bytes::copy_from_slice(piece)))
        .collect();
    let request = ImportRequest {
        tar: Box::pin(futures_util::stream::iter(pieces)),
        reference: Some("busybox".into()),
        message: String::new(),
        changes: vec!["CMD [\"sh\"]".into()],
        platform: None,
    };
    runtime
        .import_image(request)
        .await
        .expect("the image is imported");
}

async fn remove_all(runtime: &dyn Runtime) {
    let force = RemoveOptions {
        force: true,
        volumes: true,
        link: false,
    };
    for container in runtime.list_containers(false).await.expect("a list") {
        if let Err(error) = runtime.remove_container(&container.id, force).await {
            println!("cannot remove {}: {error}", container.name);
        }
    }
}

/// What is there that should be gone: processes, mounts, control groups. Shims may take a moment.
fn leftovers(directory: &Path, parent: &str) -> Vec<String> {
    let start = Instant::now();
    loop {
        let mut left = processes(directory);
        left.extend(mounts(&directory.join("data")));
        left.extend(mounts(&directory.join("run/netns")));
        left.extend(control_groups(parent));
        if left.is_empty() || start.elapsed() > Duration::from_secs(10) {
            return left;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}

fn processes(directory: &Path) -> Vec<String> {
    let wanted = directory.to_string_lossy();
    let own = std::process::id().to_string();
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    entries
        .filter(|entry| entry.file_name().to_string_lossy() != own)
        .filter_map(|entry| {
            let line = std::fs::read(entry.path().join("cmdline")).ok()?;
            let line = String::from_utf8_lossy(&line).replace('\0', " ");
            line.contains(&*wanted)
                .then(|| format!("process {}", line.trim()))
        })
        .collect()
}

fn mounts(directory: &Path) -> Vec<String> {
    let wanted = directory.to_string_lossy();
    let table = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let points = table.lines().filter_map(|line| line.split(' ').nth(4));
    points
        .filter(|point| point.starts_with(&*wanted))
        .map(|point| format!("mount {point}"))
        .collect()
}

/// Groups below the parent are leaks. The parent itself is cleared away here.
fn control_groups(parent: &str) -> Vec<String> {
    let name = parent.trim_start_matches('/');
    let mut left = Vec::new();
    let root = Path::new("/sys/fs/cgroup");
    let hierarchies = std::fs::read_dir(root).into_iter().flatten().flatten();
    let candidates = hierarchies
        .map(|entry| entry.path())
        .chain([root.to_owned()]);
    for group in candidates
        .map(|path| path.join(name))
        .filter(|path| path.is_dir())
    {
        let below = std::fs::read_dir(&group).into_iter().flatten().flatten();
        let below: Vec<_> = below
            .map(|entry| entry.path())
            .filter(|path| path.is_dir())
            .collect();
        if below.is_empty() {
            let _ = std::fs::remove_dir(&group);
        }
        left.extend(
            below
                .iter()
                .map(|path| format!("control group {}", path.display())),
        );
    }
    left
}
