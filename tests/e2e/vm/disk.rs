//! The writable disk of a container: its size, what is on it, images made of it.

use std::os::unix::fs::MetadataExt;

use coracle_tests::{Daemon, output, wait_until};

use super::{Guest, cases, run};

#[test]
fn disks() {
    run(cases![
        container_writable_layer, container_writable_layer_preserves_lower,
        container_writable_layer_reads_from_lower, container_writable_layer_size,
        container_writable_layer_with_ro_lower, container_writable_layer_dns_and_hosts,
        container_frozen_clone, container_diff, container_export, container_commit,
        container_mount_tmpfs, container_writable_layer_keeps_what_was_synced,
        container_disk_gives_its_space_back, container_writable_layer_journal_writeback,
        container_writable_layer_journal_ordered, container_writable_layer_journal_data,
        container_writable_layer_journal_refused,
    ]);
}

fn container_writable_layer(d: &Daemon) {
    let guest = Guest::new(d, &[]);
    guest.exec("mkdir -p /a/b; head -c 3000000 /dev/zero >/a/b/c; ln /a/b/c /a/d; chown 33:7 /a/d");
    d.ok(&["restart", "-t", "0", &guest]);
    assert_eq!(guest.exec("stat -c '%s %u %g %h' /a/b/c"), "3000000 33 7 2");
}

/// What one container changes of its image, another one doesn't see.
fn container_writable_layer_preserves_lower(d: &Daemon) {
    let change = "echo x >>/etc/passwd; rm /etc/group; mv /var/www /var/moved; ls -d /var/moved";
    assert_eq!(d.sh(&[], change), "/var/moved");
    let seen = d.sh(&[], "tail -n 1 /etc/passwd; ls -d /etc/group /var/www");
    assert!(
        seen.starts_with("nobody:") && seen.ends_with("/etc/group\n/var/www"),
        "{seen}"
    );
}

fn container_writable_layer_reads_from_lower(d: &Daemon) {
    let script = "stat -c '%a %u' /tmp /root /etc/shadow /var/www | tr '\\n' ' '";
    assert_eq!(d.sh(&[], script), "1777 0 700 0 640 0 755 33");
}

fn container_writable_layer_size(d: &Daemon) {
    let flags = ["--storage-opt", "size=64m"];
    let script = "dd if=/dev/zero of=/full bs=1M count=80 2>&1; rm /full; echo again >/x; cat /x";
    let seen = d.sh(&flags, script);
    assert!(seen.contains("No space left on device"), "{seen}");
    assert!(seen.ends_with("again"), "{seen}");
}

/// What the guest's kernel says of the one ext4 that it has, and that it works.
#[track_caller]
fn journal(d: &Daemon, option: &str, wanted: &str) {
    let script = "echo x >/new; sync; cat /proc/fs/ext4/*/options | grep ^data=; cat /new";
    let seen = d.sh(&["--storage-opt", option], script);
    assert_eq!(seen, format!("data={wanted}\nx"));
}

fn container_writable_layer_journal_writeback(d: &Daemon) {
    journal(d, "journal=writeback", "writeback");
}

fn container_writable_layer_journal_ordered(d: &Daemon) {
    journal(d, "journal=ordered", "ordered");
    journal(d, "size=64m", "ordered");
}

fn container_writable_layer_journal_data(d: &Daemon) {
    journal(d, "journal=journal", "journal");
}

fn container_writable_layer_journal_refused(d: &Daemon) {
    let run = |flags: &[&str]| d.docker(&[&["run", "--rm"], flags, &["busybox", "true"]].concat());
    let refused = run(&["--storage-opt", "journal=none"]).code(125);
    refused.says("ordered, writeback or journal");
    let flags = ["--runtime", "process", "--storage-opt", "journal=ordered"];
    run(&flags).code(125).says("--runtime vm");
}

/// The image's disk refuses writes below the layer too.
fn container_writable_layer_with_ro_lower(d: &Daemon) {
    let script = "cd /sys/block; for disk in vd*; do echo $(cat $disk/serial) $(cat $disk/ro); done; \
                  echo x | dd of=/dev/vda 2>&1; echo x >/bin/x && cat /bin/x";
    let seen = d.sh(&["--privileged"], script);
    assert!(seen.starts_with("root 1\nlayer 0\n"), "{seen}");
    assert!(
        seen.contains("not permitted") && seen.ends_with("\nx"),
        "{seen}"
    );
}

fn container_writable_layer_dns_and_hosts(d: &Daemon) {
    let flags = [
        "--network", "bridge", "--dns", "10.9.8.7", "--add-host", "shore:10.1.2.3",
    ];
    let script = "echo 10.1.2.4 more >>/etc/hosts; echo x >/etc/own; cat /etc/own /etc/hosts /etc/resolv.conf";
    let text = d.sh(&flags, script);
    for part in [
        "x\n", "10.1.2.3\tshore", "10.1.2.4 more", "nameserver 10.9.8.7",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
}

/// A copy that is taken while the container writes, and is still for that moment, has what was
/// written until then and nothing half done.
fn container_frozen_clone(d: &Daemon) {
    let script = "i=0; while :; do i=$((i+1)); echo $i >/new; mv /new /state; done";
    let guest = Guest::sh(d, &[], script);
    let state = || {
        guest
            .exec("cat /state 2>/dev/null || echo 0")
            .parse::<u64>()
            .unwrap()
    };
    wait_until("it writes", || state() > 0);
    let before = state();
    d.ok(&["commit", "--pause", &guest, "vm-frozen"]);
    let after = state();
    let read = ["run", "--rm", "vm-frozen", "cat", "/state"];
    let kept: u64 = d.ok(&read).parse().unwrap();
    assert!((before..=after).contains(&kept), "{before} {kept} {after}");
    wait_until("it goes on", || state() > after);
    drop(guest);
    d.ok(&["rmi", "vm-frozen"]);
}

fn container_diff(d: &Daemon) {
    let guest = Guest::new(d, &[]);
    guest.exec("echo x >/new; echo x >>/etc/passwd; rm /etc/group; rm -r /var/www");
    let wanted = [
        "A /new", "C /etc", "C /etc/passwd", "D /etc/group", "C /var", "D /var/www",
    ];
    for stop in [false, true] {
        if stop {
            d.ok(&["kill", &guest]);
        }
        let text = d.ok(&["diff", &guest]);
        let mut lines: Vec<&str> = text.lines().collect();
        lines.sort_unstable();
        let mut wanted = wanted;
        wanted.sort_unstable();
        assert_eq!(lines, wanted, "stopped: {stop}");
    }
}

fn container_export(d: &Daemon) {
    let guest = Guest::new(d, &[]);
    guest.exec("echo exported >/new; rm /etc/group");
    for stop in [false, true] {
        if stop {
            d.ok(&["kill", &guest]);
        }
        let tar = d.dir().join(format!("export-{stop}.tar"));
        d.ok(&["export", "-o", &tar.to_string_lossy(), &guest]);
        let tar = tar.to_string_lossy();
        let list = output::run(std::process::Command::new("tar").args(["-tf", &tar]), b"").ok();
        for name in ["new", "etc/passwd", "bin/busybox", "var/www/"] {
            assert!(list.lines().any(|line| line == name), "{name}: {list}");
        }
        assert!(!list.contains("etc/group\n"), "{list}");
    }
}

fn container_commit(d: &Daemon) {
    let guest = Guest::new(d, &[]);
    guest.exec("echo committed >/new; rm /etc/group; chown 33 /new");
    d.ok(&[
        "commit", "-c", "CMD [\"cat\", \"/new\"]", &guest, "vm-commit:running",
    ]);
    assert_eq!(d.ok(&["run", "--rm", "vm-commit:running"]), "committed");
    guest.exec("echo more >>/new");
    d.ok(&["kill", &guest]);
    d.ok(&["commit", &guest, "vm-commit:stopped"]);
    let script = "cat /new; stat -c %u /new; ls /etc/group 2>/dev/null; true";
    // What one kind of container made runs as the other kind.
    for runtime in ["vm", "process"] {
        let line = [
            "run", "--rm", "--runtime", runtime, "vm-commit:stopped", "sh", "-c", script,
        ];
        assert_eq!(d.ok(&line), "committed\nmore\n33", "{runtime}");
    }
    drop(guest);
    d.ok(&["rmi", "vm-commit:running", "vm-commit:stopped"]);
}

fn container_mount_tmpfs(d: &Daemon) {
    let seen = d.sh(
        &["--tmpfs", "/t:size=1m,mode=1770,noexec"],
        "stat -c %a /t; grep ' /t ' /proc/mounts; dd if=/dev/zero of=/t/x bs=1M count=2 2>&1; true",
    );
    assert!(seen.starts_with("1770\ntmpfs /t tmpfs"), "{seen}");
    assert!(
        seen.contains("noexec") && seen.contains("size=1024k"),
        "{seen}"
    );
    assert!(seen.contains("No space left on device"), "{seen}");
    let mount = "type=tmpfs,destination=/m,tmpfs-size=2m";
    assert_eq!(
        d.sh(&["--mount", mount], "df -k /m | awk 'END {print $2}'"),
        "2048"
    );
}

/// As after a power failure: the machine is killed, its disk is whole.
fn container_writable_layer_keeps_what_was_synced(d: &Daemon) {
    let guest = Guest::new(d, &[]);
    guest.exec(
        "echo safe >/safe; sync; i=0; while [ $i -lt 50 ]; do echo $i >/f$i; i=$((i+1)); done",
    );
    let pid = d.inspect(&guest, "{{.State.Pid}}").parse().unwrap();
    coracle_tests::leak::kill(pid, rustix::process::Signal::KILL);
    d.until(&guest, "{{.State.Running}}", "false");
    d.ok(&["start", &guest]);
    assert_eq!(guest.exec("cat /safe; echo x >/more; cat /more"), "safe\nx");
}

/// What is deleted in the container leaves its disk's file on the host.
fn container_disk_gives_its_space_back(d: &Daemon) {
    let guest = Guest::new(d, &[]);
    let id = d.inspect(&guest, "{{.Id}}");
    let file = d.dir().join("data/containers").join(id).join("layer.ext4");
    let used = || std::fs::metadata(&file).unwrap().blocks() * 512;
    guest.exec("head -c 20000000 /dev/urandom >/large; sync");
    assert!(used() > 20_000_000, "{}", used());
    guest.exec("rm /large; sync");
    wait_until("the space is given back", || used() < 4_000_000);
}
