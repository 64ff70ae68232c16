//! What the store gives boots, under QEMU's emulation, with the initial RAM disk around a small init.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod common;

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use coracle_kernel::{Install, KernelStore, Source};

/// Far more than it takes on a busy host.
const PATIENCE: Duration = Duration::from_secs(120);

fn is_there(program: &str) -> bool {
    let found = Command::new(program)
        .arg("--version")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    let found = found.is_ok_and(|status| status.success());
    if !found {
        eprintln!("skipped: there is no {program}");
    }
    found
}

/// The small init, linked statically.
fn build_init(dir: &Path) -> std::path::PathBuf {
    let init = dir.join("init");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/init.c");
    let built = Command::new("gcc")
        .args(["-static", "-Os", "-o"])
        .arg(&init)
        .arg(source)
        .status()
        .unwrap();
    assert!(built.success());
    init
}

fn boot(source: &Path, release: &str) {
    if !is_there("qemu-system-x86_64") || !is_there("gcc") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let store = KernelStore::open(&dir.path().join("kernels")).unwrap();
    let start = Instant::now();
    let kernel = store
        .install(&Install {
            name: None,
            source: Source::detect(source).unwrap(),
            modules: Vec::new(),
        })
        .unwrap();
    let installed = start.elapsed();
    let initrd = store.initrd_for(&kernel, &build_init(dir.path())).unwrap();
    let start = Instant::now();
    let mut machine = Command::new("timeout");
    machine
        .arg(PATIENCE.as_secs().to_string())
        .args("qemu-system-x86_64 -nodefaults -no-user-config -display none".split(' '))
        .args("-M q35,accel=tcg -cpu max -m 256 -no-reboot -serial stdio".split(' '))
        .args("-device virtio-serial-pci -blockdev null-co,size=1048576,node-name=d".split(' '))
        .args("-device virtio-blk-pci,drive=d,serial=layer".split(' '))
        .args(["-append", "console=ttyS0 quiet panic=-1", "-kernel"])
        .arg(&kernel.image)
        .arg("-initrd")
        .arg(&initrd);
    let output = machine.stdin(Stdio::null()).output().unwrap();
    let took = start.elapsed();
    let said = String::from_utf8_lossy(&output.stdout);
    let hello = said.lines().find(|line| line.starts_with("HELLO"));
    let hello = hello.unwrap_or_else(|| panic!("no init: {said} {output:?}"));
    println!(
        "installed in {installed:.1?}, RAM disk of {} KiB, on and off in {took:.2?}: {hello}",
        initrd.metadata().unwrap().len() >> 10
    );
    assert!(hello.contains(&format!("release={}", kernel.release)));
    assert!(kernel.release.contains(release), "{hello}");
    let loaded = format!("loaded={} failed=0 disk=1 overlay=1", kernel.modules.len());
    assert!(hello.contains(&loaded), "{said}");
}

#[test]
fn the_projects_own() {
    if let Some(folder) = common::built() {
        boot(&folder, "-coracle");
    }
}

#[test]
fn debians() {
    if let Some(package) = common::package() {
        boot(&package, "cloud");
    }
}
