//! What a container may do, and how it differs from its copies.

use coracle_tests::Daemon;

use super::{Guest, cases, run};

#[test]
fn security() {
    run(cases![
        container_capabilities_sys_admin, container_capabilities_net_admin,
        container_capabilities_oci_default, container_capabilities_all_capabilities,
        container_capabilities_file_ownership, container_default_masked_and_read_only_paths,
        container_read_only_rootfs, container_read_only_rootfs_dns_and_hosts_file,
        container_no_new_privileges, container_no_new_privileges_disabled,
        container_no_new_privileges_exec, container_seccomp, container_sysctl,
        container_sysctl_multiple, container_privileged, container_cgroup_is_its_own,
        container_refused_options, copies_differ, the_clock_is_right, a_kernel_of_its_own,
    ]);
}

fn status(d: &Daemon, flags: &[&str], key: &str) -> String {
    let text = d.sh(flags, &format!("grep ^{key}: /proc/self/status"));
    let value = text.split_whitespace().nth(1);
    value.unwrap_or_default().to_owned()
}

fn container_capabilities_sys_admin(d: &Daemon) {
    let mount = "mkdir -p /m && mount -t tmpfs x /m 2>/dev/null && echo yes || echo no";
    assert_eq!(d.sh(&[], mount), "no");
    let flags = [
        "--cap-add", "SYS_ADMIN", "--security-opt", "seccomp=unconfined",
    ];
    assert_eq!(d.sh(&flags, mount), "yes");
}

fn container_capabilities_net_admin(d: &Daemon) {
    let down = "ip link set lo down 2>/dev/null && echo yes || echo no";
    assert_eq!(d.sh(&[], down), "no");
    assert_eq!(d.sh(&["--cap-add", "NET_ADMIN"], down), "yes");
}

fn container_capabilities_oci_default(d: &Daemon) {
    assert_eq!(status(d, &[], "CapEff"), "00000000a80425fb");
    assert_eq!(status(d, &["-u", "33"], "CapEff"), "0000000000000000");
}

fn container_capabilities_all_capabilities(d: &Daemon) {
    let all = status(d, &["--cap-add", "ALL"], "CapEff");
    let all = u64::from_str_radix(&all, 16).unwrap();
    assert_eq!(all & (all + 1), 0, "{all:x}");
    assert!(all.count_ones() > 36, "{all:x}");
    let none = status(d, &["--cap-drop", "ALL"], "CapBnd");
    assert_eq!(none, "0000000000000000");
}

fn container_capabilities_file_ownership(d: &Daemon) {
    let change = "touch /f; chown 33 /f 2>/dev/null && echo yes || echo no";
    assert_eq!(d.sh(&[], change), "yes");
    assert_eq!(d.sh(&["--cap-drop", "CHOWN"], change), "no");
}

fn container_default_masked_and_read_only_paths(d: &Daemon) {
    let script = "head -c1 /proc/kcore | wc -c; ls /sys/firmware 2>/dev/null | wc -w\n\
                  for f in /proc/sys/kernel/hostname /proc/sys/vm/swappiness; do (echo x >$f) 2>&1; done\n\
                  mkdir /sys/x 2>&1; true";
    let seen = d.sh(&[], script);
    assert_eq!(seen.matches("Read-only file system").count(), 3, "{seen}");
    assert!(seen.starts_with("0\n0\n"), "{seen}");
}

fn container_read_only_rootfs(d: &Daemon) {
    let script = "touch /x 2>&1; touch /scratch/x /dev/shm/x && echo good";
    let seen = d.sh(&["--read-only", "--tmpfs", "/scratch"], script);
    assert!(seen.contains("Read-only file system"), "{seen}");
    assert!(seen.ends_with("good"), "{seen}");
}

fn container_read_only_rootfs_dns_and_hosts_file(d: &Daemon) {
    let flags = ["--read-only", "--network", "bridge", "--dns", "10.9.8.7"];
    let more = ["--add-host", "shore:10.1.2.3"];
    let text = d.sh(
        &[&flags[..], &more].concat(),
        "cat /etc/hosts /etc/resolv.conf",
    );
    assert!(text.contains("10.1.2.3\tshore"), "{text}");
    assert!(text.contains("nameserver 10.9.8.7"), "{text}");
}

fn container_no_new_privileges(d: &Daemon) {
    let flags = ["--security-opt", "no-new-privileges"];
    assert_eq!(status(d, &flags, "NoNewPrivs"), "1");
}

fn container_no_new_privileges_disabled(d: &Daemon) {
    assert_eq!(status(d, &[], "NoNewPrivs"), "0");
}

fn container_no_new_privileges_exec(d: &Daemon) {
    let guest = Guest::new(d, &["--security-opt", "no-new-privileges=true"]);
    assert_eq!(
        guest.exec("grep NoNewPrivs /proc/self/status"),
        "NoNewPrivs:\t1"
    );
}

fn container_seccomp(d: &Daemon) {
    assert_eq!(status(d, &[], "Seccomp"), "2");
    let open = ["--security-opt", "seccomp=unconfined"];
    assert_eq!(status(d, &open, "Seccomp"), "0");
    let profile = d.dir().join("profile.json");
    let text = r#"{"defaultAction":"SCMP_ACT_ALLOW",
        "syscalls":[{"names":["mkdir","mkdirat"],"action":"SCMP_ACT_ERRNO"}]}"#;
    std::fs::write(&profile, text).unwrap();
    let opt = format!("seccomp={}", profile.display());
    let seen = d.sh(&["--security-opt", &opt], "mkdir /made 2>&1; true");
    assert!(seen.contains("Operation not permitted"), "{seen}");
}

fn container_sysctl(d: &Daemon) {
    let flags = ["--sysctl", "net.ipv4.ip_forward=1"];
    assert_eq!(d.sh(&flags, "cat /proc/sys/net/ipv4/ip_forward"), "1");
}

fn container_sysctl_multiple(d: &Daemon) {
    let flags = [
        "--sysctl", "net.ipv4.ip_unprivileged_port_start=1", "--sysctl", "kernel.msgmax=4096",
    ];
    let script = "cat /proc/sys/net/ipv4/ip_unprivileged_port_start /proc/sys/kernel/msgmax";
    assert_eq!(d.sh(&flags, script), "1\n4096");
}

fn container_privileged(d: &Daemon) {
    let script = "mkdir /m && mount -t tmpfs x /m && echo good";
    assert_eq!(d.sh(&["--privileged"], script), "good");
    assert_eq!(status(d, &["--privileged"], "Seccomp"), "0");
}

fn container_cgroup_is_its_own(d: &Daemon) {
    assert_eq!(d.sh(&[], "cat /proc/self/cgroup"), "0::/");
    let script = "cat /sys/fs/cgroup/cgroup.procs | wc -l; mkdir /sys/fs/cgroup/x 2>&1; true";
    let seen = d.sh(&[], script);
    assert!(seen.contains("Read-only"), "{seen}");
}

fn container_refused_options(d: &Daemon) {
    for (flags, word) in [
        (["--network", "host"], "NetworkMode"),
        (["--pid", "host"], "PidMode"),
        (["--device", "/dev/null"], "Devices"),
        (
            ["--device", "/dev/kvm"],
            "nested virtualization is not there",
        ),
        (["--cpuset-cpus", "0"], "CpusetCpus"),
        (["--storage-opt", "size=1k"], "size"),
    ] {
        let line = [&["run", "--rm"], &flags[..], &["busybox"]];
        d.fails(125, &line.concat()).says(word);
    }
}

/// What a copy of a template must not share with its sisters.
fn copies_differ(d: &Daemon) {
    let script = "head -c16 /dev/urandom | hexdump -e '16/1 \"%02x\"'; echo; \
                  cat /proc/sys/kernel/random/uuid; cat /etc/machine-id 2>/dev/null; true";
    let mut seen: Vec<Vec<String>> = std::thread::scope(|scope| {
        let runs: Vec<_> = (0..4).map(|_| scope.spawn(|| d.sh(&[], script))).collect();
        let lines = |text: String| text.lines().map(str::to_owned).collect();
        runs.into_iter()
            .map(|run| lines(run.join().unwrap()))
            .collect()
    });
    assert!(
        seen.iter()
            .all(|lines| lines.len() >= 2 && lines[0].len() == 32),
        "{seen:?}"
    );
    for line in 0..seen[0].len() {
        let mut values: Vec<_> = seen.iter_mut().map(|lines| lines[line].clone()).collect();
        values.sort();
        values.dedup();
        assert_eq!(values.len(), 4, "{values:?}");
    }
}

fn the_clock_is_right(d: &Daemon) {
    let now = || {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        now.unwrap().as_secs()
    };
    let before = now();
    let seen: u64 = d.sh(&[], "date +%s").parse().unwrap();
    assert!(
        (before..=now()).contains(&seen),
        "{before} {seen} {}",
        now()
    );
}

fn a_kernel_of_its_own(d: &Daemon) {
    let own = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    let boot = d.sh(&[], "cat /proc/sys/kernel/random/boot_id");
    assert_ne!(boot, own.trim());
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    assert_ne!(d.sh(&[], "uname -r"), release.trim());
    let script = "uname -r";
    let process = d.sh(&["--runtime", "process"], script);
    assert_eq!(process, release.trim());
}
