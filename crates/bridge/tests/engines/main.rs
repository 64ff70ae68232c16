//! The conformance suite through the bridge, on real engines: Coracle's own socket always, dockerd
//! where it is, podman where it is asked for.
//!
//! Each test runs itself again in a network and a mount namespace that nobody else is in, starts an
//! engine with directories, a socket and control groups of its own, and compares what fails with what
//! is known to differ.
//!
//! What is known to differ is not run, unless it is asked for: many of these wait in vain.
//!
//! - `CONFORMANCE_KNOWN`: also what is known to differ, which then must fail as it is known to. (A race may
//!   pass.)
//! - `CONFORMANCE_FILTER`: only checks whose name holds this.
//! - `CONFORMANCE_JOBS`: checks at once (4).

// What it prints is what a failed run is understood by.
#![allow(clippy::print_stdout, clippy::expect_used)]

mod coracle;
mod docker;
mod known;
mod known_podman;
mod podman;
mod process;

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use coracle_bridge::DockerRuntime;
use coracle_runtime::Runtime;
use coracle_runtime::conformance::{CHECKS, Fixture, busybox_root, run_chosen};
use coracle_runtime::container::RemoveOptions;
use coracle_runtime::image::ImportRequest;

use known::{Known, RACE};
use process::Engine;

/// Says to a test that it runs in its namespaces.
const INSIDE: &str = "CORACLE_BRIDGE_INSIDE";
const BUSYBOX: &str = "/bin/busybox";

#[test]
fn coracle() {
    conforms("coracle", known::CORACLE, coracle::obstacle, coracle::start);
}

#[test]
fn docker() {
    conforms("docker", known::DOCKER, docker::obstacle, docker::start);
}

#[test]
fn podman() {
    conforms(
        "podman",
        known_podman::PODMAN,
        podman::obstacle,
        podman::start,
    );
}

/// What is known to differ is of checks that there are.
#[test]
fn known_differences_are_of_checks() {
    for table in [known::CORACLE, known::DOCKER, known_podman::PODMAN] {
        for (index, (name, text, why)) in table.iter().enumerate() {
            assert!(CHECKS.iter().any(|check| check.name == *name), "{name}");
            assert!(!text.is_empty() && !why.is_empty(), "{name}");
            let before = table.iter().take(index);
            assert!(
                before.into_iter().all(|(other, ..)| other != name),
                "{name} comes twice"
            );
        }
    }
}

fn conforms(
    test: &str,
    known: &[Known],
    obstacle: fn() -> Option<String>,
    start: fn(&Path) -> Engine,
) {
    if std::env::var_os(INSIDE).is_some() {
        inside(known, start);
        return;
    }
    if let Some(why) = common_obstacle().or_else(obstacle) {
        println!("skipped: {why}");
        return;
    }
    let own = std::env::current_exe().expect("the test's own path");
    let status = Command::new("unshare")
        .args(["--net", "--mount", "--propagation", "private", "--"])
        .arg(own)
        .args(["--exact", test, "--nocapture"])
        .env(INSIDE, "1")
        .env("RUST_BACKTRACE", "0")
        .status()
        .expect("unshare runs");
    assert!(status.success(), "not conforming: see above");
}

/// Why no engine can be started here.
fn common_obstacle() -> Option<String> {
    let root = std::os::unix::fs::MetadataExt::uid(&std::fs::metadata("/proc/self").ok()?) == 0;
    if !root {
        return Some("needs root to make containers".into());
    }
    if !Path::new(BUSYBOX).exists() {
        return Some("needs /bin/busybox (package busybox-static)".into());
    }
    None
}

struct Bridged(Arc<dyn Runtime>);

impl Fixture for Bridged {
    async fn runtime(&self) -> Arc<dyn Runtime> {
        self.0.clone()
    }
}

fn inside(known: &[Known], start: fn(&Path) -> Engine) {
    let up = Command::new("ip")
        .args(["link", "set", "lo", "up"])
        .status()
        .expect("ip runs");
    assert!(up.success(), "the loopback interface can't be brought up");
    let directory = tempfile::tempdir().expect("a temporary directory");
    let engine = start(directory.path());
    let setting = |name: &str| std::env::var(name).unwrap_or_default();
    let filter = setting("CONFORMANCE_FILTER");
    let jobs = setting("CONFORMANCE_JOBS").parse().unwrap_or(4);
    let tokio = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(4)
        .enable_all()
        .build()
        .expect("a tokio runtime");
    let failed = tokio.block_on(async {
        let runtime = DockerRuntime::connect(&engine.host(), None).await;
        let runtime: Arc<dyn Runtime> = Arc::new(runtime.expect("the engine answers"));
        let version = runtime.version().await.expect("a version");
        println!("engine: {} {}", version.product, version.version);
        import(&*runtime).await;
        let fixture = Bridged(runtime);
        let all = std::env::var_os("CONFORMANCE_KNOWN").is_some();
        let differs = |name: &str| known.iter().any(|(known, ..)| *known == name);
        let chosen = |name: &str| name.contains(&filter) && (all || !differs(name));
        let report = run_chosen(&fixture, chosen, jobs).await;
        remove_all(&*fixture.0).await;
        let is_known = |name: &str, said: &str| {
            known.iter().any(|(known, text, _)| {
                *known == name && text.split('|').any(|text| said.contains(text))
            })
        };
        let (differ, failed): (Vec<_>, Vec<_>) = report
            .failed
            .iter()
            .partition(|(name, said)| is_known(name, said));
        println!(
            "conformance: {} passed, {} failed, {} of {} are known to differ",
            report.passed,
            failed.len(),
            known.len(),
            CHECKS.len()
        );
        for (name, text) in &differ {
            println!("---- (known) {name}: {text}");
        }
        let has_failed = |name: &str| report.failed.iter().any(|(failed, _)| *failed == name);
        let mut passing = 0;
        for (name, _, why) in known.iter().filter(|_| all) {
            if name.contains(&filter) && !has_failed(name) {
                println!("---- (known) {name}: passes here");
                passing += usize::from(!why.starts_with(RACE));
            }
        }
        for (name, text) in &failed {
            println!("---- {name}: {text}");
        }
        failed.len() + passing
    });
    tokio.shutdown_timeout(Duration::from_secs(5));
    drop(engine);
    assert_eq!(failed, 0, "checks failed, or pass and are known to differ");
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
    let imported = runtime.import_image(request).await;
    imported.expect("the image is imported");
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
