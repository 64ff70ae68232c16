//! Images of other architectures: the guest runs their programs by emulation.

use coracle_tests::{Daemon, Output, fixture};

use super::{Guest, cases, run};

#[test]
fn platforms() {
    run(cases![
        platform_arm64, platform_arm_v7, platform_s390x, platform_386,
        platform_of_the_host_is_default, platform_exec, platform_without_emulator,
        platform_needs_a_machine,
    ]);
}

/// Brings the image in; again is no harm.
fn load(d: &Daemon) {
    let archive = fixture("foreign").join("oci.tar");
    d.ok(&["load", "-q", "-i", &archive.to_string_lossy()]);
}

fn runs(d: &Daemon, platform: &str, flags: &[&str], script: &str) -> Output {
    load(d);
    let line = ["run", "--rm", "--network", "none", "--platform", platform];
    d.docker(&[&line, flags, &["foreign", "sh", "-c", script]].concat())
}

/// What it prints of itself, by a chain of further programs.
#[track_caller]
fn is(d: &Daemon, platform: &str, machine: &str) {
    let script = "uname -m; sh -c 'echo $0 | cat' name; cat /proc/1/comm; exit 7";
    let said = runs(d, platform, &[], script);
    assert_eq!(
        (said.code, said.stdout.as_str()),
        (7, &*format!("{machine}\nname\nsh\n")),
        "{said}"
    );
}

fn platform_arm64(d: &Daemon) {
    is(d, "linux/arm64", "aarch64");
    // The filter sees the system calls that the emulator makes.
    let said = runs(
        d,
        "linux/arm64/v8",
        &[],
        "unshare -U true; mount -t tmpfs x /tmp",
    );
    assert_ne!(said.code, 0);
    said.says("permitted");
    let said = runs(
        d,
        "linux/arm64",
        &["--read-only", "-u", "33", "-m", "64m", "--init"],
        "id -u; cat /proc/1/comm; cat /sys/fs/cgroup/memory.max; touch /x",
    );
    assert!(said.stdout.starts_with("33\n"), "{said}");
    assert!(said.stdout.ends_with("\n67108864\n"), "{said}");
    said.says("Read-only file system");
}

fn platform_arm_v7(d: &Daemon) {
    is(d, "linux/arm/v7", "armv7l");
}

/// The other byte order.
fn platform_s390x(d: &Daemon) {
    is(d, "linux/s390x", "s390x");
}

/// The processor's own, without an emulator.
fn platform_386(d: &Daemon) {
    is(d, "linux/386", "x86_64");
}

fn platform_of_the_host_is_default(d: &Daemon) {
    load(d);
    let line = ["run", "--rm", "--network", "none", "foreign", "uname", "-m"];
    assert_eq!(d.ok(&line), std::env::consts::ARCH);
}

fn platform_exec(d: &Daemon) {
    load(d);
    let line = [
        "run", "-d", "--platform", "linux/arm64", "foreign", "sleep", "1000",
    ];
    let guest = Guest::of(d, d.ok(&line));
    assert_eq!(guest.exec("uname -m | tee /m"), "aarch64");
    assert_eq!(
        d.ok(&["cp", &format!("{}:/m", &*guest), "-"]).len() % 512,
        0
    );
    // The emulator is nowhere to be seen, and is asked for again by each start.
    assert_eq!(
        guest.exec("ls -A /usr/bin; ls -d /run/coracle 2>/dev/null; true"),
        "env"
    );
    d.ok(&["restart", "-t", "1", &guest]);
    assert_eq!(guest.exec("cat /m; busybox uname -m"), "aarch64\naarch64");
}

fn platform_without_emulator(d: &Daemon) {
    let said = runs(d, "linux/ppc64le", &[], "true");
    assert_eq!(said.code, 125, "{said}");
    said.says("there is no static emulator qemu-ppc64le-static")
        .says("--emulators");
}

fn platform_needs_a_machine(d: &Daemon) {
    // Where the host itself emulates, there is nothing to refuse.
    if std::path::Path::new("/proc/sys/fs/binfmt_misc/qemu-aarch64").exists() {
        return;
    }
    let said = runs(d, "linux/arm64", &["--runtime", "process"], "true");
    assert_ne!(said.code, 0);
    said.says("exec format error: the image is for linux/arm64")
        .says("--runtime vm runs it by emulation");
}
