//! `docker run`: what a container may do.

use coracle_tests::Daemon;

fn status(d: &Daemon, flags: &[&str], key: &str) -> String {
    let text = d.sh(flags, &format!("grep ^{key}: /proc/self/status"));
    text.split_whitespace()
        .nth(1)
        .unwrap_or_default()
        .to_owned()
}

#[test]
fn capabilities() {
    let Some(d) = Daemon::start() else { return };
    assert_eq!(status(&d, &[], "CapEff"), "00000000a80425fb");
    assert_eq!(
        status(&d, &["--cap-drop", "ALL"], "CapEff"),
        "0000000000000000"
    );
    assert_eq!(
        status(&d, &["--cap-drop", "all", "--cap-add", "net_raw"], "CapEff"),
        "0000000000002000"
    );
    assert_eq!(
        status(&d, &["--cap-add", "CAP_NET_ADMIN"], "CapEff"),
        "00000000a80435fb"
    );
    assert_eq!(
        status(&d, &["--cap-drop", "CHOWN"], "CapBnd"),
        "00000000a80425fa"
    );
    // An ordinary user has none in effect, but may be given some back by a file.
    assert_eq!(status(&d, &["-u", "33"], "CapEff"), "0000000000000000");
    assert_eq!(status(&d, &["-u", "33"], "CapBnd"), "00000000a80425fb");
    let host = std::fs::read_to_string("/proc/self/status").unwrap();
    let bound = host
        .lines()
        .find_map(|line| line.strip_prefix("CapBnd:"))
        .unwrap()
        .trim();
    assert_eq!(status(&d, &["--privileged"], "CapEff"), bound);
}

#[test]
fn seccomp() {
    let Some(d) = Daemon::start() else { return };
    assert_eq!(status(&d, &[], "Seccomp"), "2");
    assert_eq!(
        status(&d, &["--security-opt", "seccomp=unconfined"], "Seccomp"),
        "0"
    );
    assert_eq!(status(&d, &["--privileged"], "Seccomp"), "0");
    // What the default profile takes away, though the capability isn't what is missing.
    let denied = d.docker(&["run", "--rm", "busybox", "unshare", "-U", "true"]);
    assert_ne!(denied.code, 0, "{denied}");
    let profile = d.dir().join("profile.json");
    std::fs::write(
        &profile,
        r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["mkdir","mkdirat"],"action":"SCMP_ACT_ERRNO"}]}"#,
    )
    .unwrap();
    let opt = format!("seccomp={}", profile.display());
    let id = d.sleeper(&["--security-opt", &opt]);
    d.fails(1, &["exec", &id, "mkdir", "/made"])
        .says("Operation not permitted");
    assert_eq!(
        d.ok(&["exec", &id, "sh", "-c", "grep ^Seccomp: /proc/self/status"]),
        "Seccomp:\t2"
    );
    std::fs::write(&profile, "{").unwrap();
    d.fails(125, &["run", "--rm", "--security-opt", &opt, "busybox"])
        .says("seccomp");
}

#[test]
fn no_new_privileges() {
    let Some(d) = Daemon::start() else { return };
    assert_eq!(status(&d, &[], "NoNewPrivs"), "0");
    assert_eq!(
        status(&d, &["--security-opt", "no-new-privileges"], "NoNewPrivs"),
        "1"
    );
    assert_eq!(
        status(
            &d,
            &["--security-opt", "no-new-privileges:true"],
            "NoNewPrivs"
        ),
        "1"
    );
    let id = d.sleeper(&["--security-opt", "no-new-privileges=true"]);
    assert_eq!(
        d.ok(&["exec", &id, "grep", "NoNewPrivs", "/proc/self/status"]),
        "NoNewPrivs:\t1"
    );
}

#[test]
fn paths_of_the_kernel_are_masked_and_read_only() {
    let Some(d) = Daemon::start() else { return };
    let script = "head -c1 /proc/kcore | wc -c; ls /proc/acpi /sys/firmware 2>/dev/null | wc -w\n\
                  for f in /proc/sys/kernel/hostname /proc/sys/vm/swappiness; do (echo x >$f) 2>&1; done\n\
                  mkdir /sys/x 2>&1; true";
    let plain = d.sh(&[], script);
    assert_eq!(plain.matches("Read-only file system").count(), 3, "{plain}");
    assert!(plain.starts_with("0\n"), "{plain}");
    let mounts = d.sh(
        &["--privileged"],
        "grep -E ' /(sys|proc/sys) ' /proc/mounts",
    );
    assert!(!mounts.contains("/proc/sys"), "{mounts}");
    assert!(mounts.contains("rw,"), "{mounts}");
    let unmasked = d.sh(
        &["--security-opt", "systempaths=unconfined"],
        "grep -c /proc/ /proc/mounts || true",
    );
    assert_eq!(unmasked, "0");
}

#[test]
fn privileged_has_the_hosts_devices() {
    let Some(d) = Daemon::start() else { return };
    let count = |flags: &[&str]| d.sh(flags, "ls /dev | wc -l").parse::<u32>().unwrap();
    assert!(count(&["--privileged"]) >= count(&[]));
    assert_eq!(
        d.sh(
            &["--privileged"],
            "mkdir /m && mount -t tmpfs x /m && echo good"
        ),
        "good"
    );
}

#[test]
fn a_read_only_root() {
    let Some(d) = Daemon::start() else { return };
    let output = d.fails(1, &["run", "--rm", "--read-only", "busybox", "touch", "/x"]);
    output.says("Read-only file system");
    assert_eq!(
        d.sh(
            &["--read-only", "--tmpfs", "/scratch"],
            "touch /scratch/x /dev/shm/y && echo good"
        ),
        "good"
    );
    assert_eq!(
        d.sh(
            &["--read-only", "-v", "/volume"],
            "touch /volume/x && echo good"
        ),
        "good"
    );
    // The daemon's own files in it can still be written, as with docker.
    d.sh(
        &["--read-only"],
        "test -e /etc/hosts && test -e /etc/resolv.conf",
    );
}

#[test]
fn namespaces() {
    let Some(d) = Daemon::start() else { return };
    let host = |kind: &str| {
        std::fs::read_link(format!("/proc/self/ns/{kind}"))
            .unwrap()
            .display()
            .to_string()
    };
    let inside =
        |flags: &[&str], kind: &str| d.sh(flags, &format!("readlink /proc/self/ns/{kind}"));
    for kind in ["pid", "ipc", "uts", "mnt"] {
        assert_ne!(inside(&[], kind), host(kind), "{kind}");
    }
    for (flag, kind) in [
        ("--pid", "pid"),
        ("--ipc", "ipc"),
        ("--uts", "uts"),
        ("--cgroupns", "cgroup"),
    ] {
        assert_eq!(inside(&[flag, "host"], kind), host(kind), "{kind}");
    }
    let other = d.sleeper(&["--name", "other", "--ipc", "shareable"]);
    for (flag, kind) in [("--pid", "pid"), ("--ipc", "ipc")] {
        let theirs = d.ok(&["exec", &other, "readlink", &format!("/proc/self/ns/{kind}")]);
        assert_eq!(inside(&[flag, "container:other"], kind), theirs, "{kind}");
    }
    let seen = d.sh(
        &["--pid", "container:other"],
        "ps -o args | grep -c 'sleep 100[0]'",
    );
    assert_eq!(seen, "1");
    d.sleeper(&["--name", "private", "--ipc", "private"]);
    d.fails(
        125,
        &["run", "--rm", "--ipc", "container:private", "busybox"],
    )
    .says("non-shareable IPC");
    d.fails(
        125,
        &[
            "run", "--pull", "never", "--rm", "--pid", "container:nobody", "busybox",
        ],
    )
    .says("nobody");
}

#[test]
fn sysctls() {
    let Some(d) = Daemon::start() else { return };
    let flags = [
        "--sysctl", "net.ipv4.ip_unprivileged_port_start=1", "--sysctl", "kernel.msgmax=4096",
    ];
    let read = d.sh(
        &flags,
        "cat /proc/sys/net/ipv4/ip_unprivileged_port_start /proc/sys/kernel/msgmax",
    );
    assert_eq!(read, "1\n4096");
    let host = d.docker(&[
        "run", "--rm", "--network", "host", "--sysctl", "net.ipv4.ip_forward=1", "busybox",
    ]);
    host.code(125).says("net.ipv4.ip_forward");
}
