//! Pods: containers in another's machine (`--network container:NAME`).
//!
//! Of Apple's cases those of NBD volumes are in `nbd`; those of roots on virtiofs can't be said with the
//! docker CLI. A pod has one name and one resolver, as Docker gives a container that joins another's network those of
//! the other; files of one's own are mounted over them.

use std::fs;
use std::io::Read;
use std::os::unix::net::UnixListener;
use std::time::Duration;

use coracle_tests::leak;
use coracle_tests::{Daemon, Output, wait_until};
use rustix::process::Signal;

use super::{Guest, cases, daemon, machines, passes, run};

#[test]
fn pods() {
    run(cases![
        pod_single_container, pod_options, pod_multiple_containers, pod_concurrent_containers,
        pod_exec_in_container, pod_container_hostname, pod_stop_container_idempotency,
        pod_container_statistics, pod_memory_events_oom_kill,
        pod_container_independent_resource_limits, pod_memory, pod_processors,
        pod_container_filesystem_isolation, pod_container_pid_namespace_isolation,
        pod_shared_pid_namespace, pod_multiple_containers_different_dns_and_hosts,
        pod_level_dns_and_hosts, pod_ipv6_address, pod_use_init, pod_refused, pod_volumes,
        pod_shared_memory, pod_unix_socket_into_guest_symlink, pod_files, pod_restart,
        pod_outlives_its_first_container, pod_of_a_member, pod_networks_come_and_go,
    ]);
}

#[test]
fn pods_and_crashes() {
    let Some(mut d) = daemon(1) else { return };
    let mut good = passes("pod_killed_member", || pod_killed_member(&d));
    good &= passes("pod_killed_owner", || pod_killed_owner(&d));
    good &= passes("pod_killed_owner_that_had_ended", || {
        pod_killed_owner_that_had_ended(&mut d)
    });
    good &= passes("pod_killed_daemon", || pod_killed_daemon(&mut d));
    wait_until("no machine is left", || machines(&d).is_empty());
    assert!(good, "see above");
}

/// A container whose machine others join.
struct Pod<'a> {
    first: Guest<'a>,
    mode: String,
}

impl<'a> Pod<'a> {
    #[track_caller]
    fn new(d: &'a Daemon, flags: &[&str]) -> Self {
        let first = Guest::new(d, flags);
        let mode = format!("container:{}", &*first);
        Self { first, mode }
    }

    fn flags<'f>(&'f self, more: &[&'f str]) -> Vec<&'f str> {
        [&["--network", &self.mode], more].concat()
    }

    /// One more that sleeps.
    #[track_caller]
    fn member(&self, flags: &[&str]) -> Guest<'a> {
        Guest::new(self.first.d, &self.flags(flags))
    }

    /// What a script says in one more.
    #[track_caller]
    fn sh(&self, flags: &[&str], script: &str) -> String {
        self.first.d.sh(&self.flags(flags), script)
    }

    /// Runs one more to its end.
    fn run(&self, flags: &[&str], script: &str) -> Output {
        let flags = self.flags(flags);
        let line = [
            &["run", "--rm"],
            &flags[..],
            &["busybox", "sh", "-c", script],
        ];
        self.first.d.docker(&line.concat())
    }
}

fn pid(d: &Daemon, id: &str) -> String {
    d.inspect(id, "{{.State.Pid}}")
}

fn pod_single_container(d: &Daemon) {
    let pod = Pod::new(d, &[]);
    assert_eq!(pod.sh(&[], "echo alone; echo not seen >&2"), "alone");
    assert_eq!(pod.run(&[], "exit 7").code, 7);
}

/// One line for each that takes an option and a look.
fn pod_options(d: &Daemon) {
    let pod = Pod::new(d, &["--network", "none"]);
    for (name, flags, script, wanted) in [
        (
            "pod_container_output",
            &[][..],
            "echo one; echo two",
            "one\ntwo",
        ),
        (
            "pod_container_resource_limits",
            &["-m", "64m", "--pids-limit", "12"],
            "cat /sys/fs/cgroup/memory.max /sys/fs/cgroup/pids.max",
            "67108864\n12",
        ),
        (
            "pod_readonly_rootfs",
            &["--read-only"],
            "touch /x 2>/dev/null || echo refused",
            "refused",
        ),
        (
            "pod_rlimit_open_files",
            &["--ulimit", "nofile=123:456"],
            "ulimit -n; ulimit -Hn",
            "123\n456",
        ),
        (
            "pod_sysctl",
            &["--sysctl", "kernel.msgmax=9001"],
            "cat /proc/sys/kernel/msgmax",
            "9001",
        ),
        (
            "pod_sysctl_multiple_containers",
            &["--sysctl", "kernel.msgmax=9002"],
            "cat /proc/sys/kernel/msgmax",
            "9002",
        ),
        (
            "pod_hotplug_block_rootfs",
            &[],
            "cat /sys/block/vd?/serial | tr -s '\\n' ' ' | grep -c layer; grep -c ' / overlay' /proc/mounts",
            "1\n1",
        ),
        ("pod_user", &["-u", "1000"], "id -u", "1000"),
        (
            "pod_tmpfs",
            &["--tmpfs", "/t"],
            "echo y >/t/x; cat /t/x",
            "y",
        ),
    ] {
        assert_eq!(pod.sh(flags, script), wanted, "{name}");
    }
    let limited = pod.member(&["--ulimit", "nofile=123:456"]);
    assert_eq!(limited.exec("ulimit -n"), "123", "pod_rlimit_exec");
}

fn pod_multiple_containers(d: &Daemon) {
    let pod = Pod::new(d, &["--network", "bridge", "--name", "vm-pod-first"]);
    let (one, two) = (pod.member(&[]), pod.member(&[]));
    // pod_list_containers
    let all = d.ok(&["ps", "-q", "--no-trunc"]);
    for id in [&*pod.first, &*one, &*two] {
        assert!(all.contains(id), "{all}");
    }
    // One machine: its process, its network.
    let machine = pid(d, &pod.first);
    assert_eq!([pid(d, &one), pid(d, &two)], [machine.as_str(), &machine]);
    let address = "ip -4 -o addr show eth0 | cut -d' ' -f7";
    let own = pod.first.exec(address);
    assert_eq!([one.exec(address), two.exec(address)], [own.as_str(), &own]);
    let serve = "mkdir /w; echo page >/w/index.html; httpd -p 127.0.0.1:8000 -h /w";
    one.exec(serve);
    assert_eq!(two.exec("wget -q -O - http://127.0.0.1:8000/"), "page");
    assert_eq!(d.inspect(&one, "{{len .NetworkSettings.Networks}}"), "0");
}

fn pod_concurrent_containers(d: &Daemon) {
    let pod = Pod::new(d, &[]);
    std::thread::scope(|scope| {
        for number in 0..5 {
            let pod = &pod;
            scope.spawn(move || {
                let script = format!("head -c 2000000 /dev/zero >/x; echo {number}; wc -c </x");
                assert_eq!(pod.sh(&[], &script), format!("{number}\n2000000"));
            });
        }
    });
}

fn pod_exec_in_container(d: &Daemon) {
    let pod = Pod::new(d, &[]);
    let member = pod.member(&["-e", "ONE=1"]);
    assert_eq!(member.exec("echo $ONE"), "1");
    let line = ["exec", "-e", "TWO=2", &member, "sh", "-c", "echo $ONE$TWO"];
    assert_eq!(d.ok(&line), "12", "pod_exec_in_container_env");
    d.fails(9, &["exec", &member, "sh", "-c", "exit 9"]);
    // Much of it, both ways, over a stream in a stream.
    let input = vec![b'x'; 3_000_000];
    let echo = d.docker_in(&["exec", "-i", &member, "cat"], &input);
    assert_eq!(echo.stdout.len(), input.len());
}

fn pod_container_hostname(d: &Daemon) {
    let named = Pod::new(d, &["--hostname", "of-the-pod"]);
    assert_eq!(
        named.sh(&[], "hostname"),
        "of-the-pod",
        "pod_level_hostname"
    );
    let own = named.run(&["--hostname", "own"], "true").code(125);
    own.mentions("conflicting options");
    let pod = Pod::new(d, &[]);
    let said = pod.sh(&[], "hostname; cat /etc/hostname");
    let short = &pod.first[..12];
    assert_eq!(
        said,
        format!("{short}\n{short}"),
        "defaults to container id"
    );
}

fn pod_stop_container_idempotency(d: &Daemon) {
    let pod = Pod::new(d, &[]);
    let member = pod.member(&[]);
    d.ok(&["stop", "-t", "0", &member]);
    d.ok(&["stop", "-t", "0", &member]);
    assert_eq!(d.inspect(&member, "{{.State.ExitCode}}"), "137");
    assert_eq!(pod.first.exec("echo here"), "here");
}

fn pod_container_statistics(d: &Daemon) {
    let pod = Pod::new(d, &["--network", "bridge"]);
    let member = pod.member(&["-m", "64m"]);
    let format = "{{.MemUsage}} {{.PIDs}}";
    let stats = d.ok(&["stats", "--no-stream", "--format", format, &member]);
    assert!(stats.ends_with("/ 64MiB 1"), "{stats}");
    // The network's counters are the pod's.
    let reply = d.api(
        "GET",
        &format!("/containers/{}/stats?stream=false", &*member),
        None,
    );
    assert!(
        reply.json()["networks"]["eth0"]["rx_bytes"].is_u64(),
        "{reply:?}"
    );
    let top = d.ok(&["top", &member]);
    assert_eq!(top.matches("sleep 1000").count(), 1, "{top}");
}

fn pod_memory_events_oom_kill(d: &Daemon) {
    let pod = Pod::new(d, &[]);
    let flags = pod.flags(&["-m", "32m", "--memory-swap", "32m"]);
    let line = [
        &["run", "-d"],
        &flags[..],
        &["busybox", "tail", "/dev/zero"],
    ];
    let member = Guest::of(d, d.ok(&line.concat()));
    assert_eq!(d.ok(&["wait", &member]), "137");
    assert_eq!(d.inspect(&member, "{{.State.OOMKilled}}"), "true");
    assert_eq!(
        d.inspect(&pod.first, "{{.State.OOMKilled}} {{.State.Running}}"),
        "false true"
    );
}

fn pod_container_independent_resource_limits(d: &Daemon) {
    let pod = Pod::new(d, &["-m", "128m"]);
    let one = pod.member(&["-m", "48m"]);
    let two = pod.member(&["-m", "96m", "--cpus", "0.5"]);
    let script = "cat /sys/fs/cgroup/memory.max";
    assert_eq!(pod.first.exec(script), (128 << 20).to_string());
    assert_eq!(one.exec(script), (48 << 20).to_string());
    assert_eq!(two.exec(script), (96 << 20).to_string());
    assert_eq!(two.exec("cat /sys/fs/cgroup/cpu.max"), "50000 100000");
    let more = pod.run(&["-m", "900g"], "true").code(125);
    more.mentions("cannot give the virtual machine 966367641600 bytes of memory");
}

/// All limits together have room in the machine, for as long as somebody has them.
fn pod_memory(d: &Daemon) {
    let total = |guest: &Guest| -> u64 {
        let text = guest.exec("awk '/MemTotal/ {print $2}' /proc/meminfo");
        text.parse::<u64>().unwrap() / 1024
    };
    let shrinks = |guest: &Guest, most| {
        wait_until("memory is given back", || total(guest) < most);
    };
    let pod = Pod::new(d, &["-m", "64m"]);
    assert!(total(&pod.first) < 260, "{}", total(&pod.first));
    let one = pod.member(&["-m", "300m"]);
    // It is there when the member starts.
    assert!(total(&one) > 430, "{}", total(&one));
    let two = pod.member(&["-m", "200m", "--shm-size", "450m"]);
    assert!(total(&two) > 630, "{}", total(&two));
    d.ok(&["update", "-m", "500m", "--memory-swap", "500m", &two]);
    assert!(total(&two) > 930, "{}", total(&two));
    assert_eq!(
        two.exec("cat /sys/fs/cgroup/memory.max"),
        (500 << 20).to_string()
    );
    let text = d.ok(&["stats", "--no-stream", "--format", "{{.MemUsage}}", &two]);
    assert!(text.ends_with("/ 500MiB"), "{text}");
    // It can be used.
    two.exec("dd if=/dev/zero of=/dev/shm/x bs=1M count=260 2>/dev/null && rm /dev/shm/x");
    let line = ["update", "-m", "900g", "--memory-swap", "900g", &two];
    d.fails(1, &line).says("cannot give the virtual machine");
    assert_eq!(
        d.inspect(&two, "{{.HostConfig.Memory}}"),
        (500 << 20).to_string()
    );
    d.ok(&["update", "-m", "100m", "--memory-swap", "100m", &two]);
    shrinks(&two, 800);
    // The machine's own container takes nothing from others, nor does its end.
    d.ok(&["update", "-m", "32m", "--memory-swap", "32m", &pod.first]);
    d.ok(&["stop", "-t", "0", &pod.first]);
    assert!(total(&two) > 400, "{}", total(&two));
    d.ok(&["rm", "-f", &one]);
    shrinks(&two, 260);
    d.ok(&["update", "-m", "400m", "--memory-swap", "400m", &two]);
    assert!(total(&two) > 500, "{}", total(&two));
}

/// A member's limit may be above what the machine began with; what it got stays with the pod.
fn pod_processors(d: &Daemon) {
    let host = std::thread::available_parallelism().map_or(1, usize::from);
    if host < 4 {
        eprintln!("skipped: this host has less than four processors");
        return;
    }
    let pod = Pod::new(d, &["--cpus", "1"]);
    let quota = || {
        let text = d.cgroup_file(&pod.first, "cpu/cpu.cfs_quota_us", "cpu.max");
        text.split(' ').next().unwrap_or_default().to_owned()
    };
    let has = |guest: &Guest, all: &str| {
        wait_until("the pod has its processors", || guest.exec("nproc") == all);
    };
    assert_eq!(pod.first.exec("nproc"), "1");
    let member = pod.member(&["--cpus", "2"]);
    has(&pod.first, "2");
    assert_eq!(quota(), "300000");
    d.ok(&["update", "--cpus", "3", &member]);
    has(&member, "3");
    assert_eq!(quota(), "400000");
    assert_eq!(member.exec("cat /sys/fs/cgroup/cpu.max"), "300000 100000");
    d.ok(&["update", "--cpus", "0.5", &member]);
    assert_eq!(member.exec("cat /sys/fs/cgroup/cpu.max"), "50000 100000");
    if host > 4 {
        let refused = d.fails(1, &["update", "--cpus", "5", &member]);
        refused.says("no more than 4 processors");
    }
    // Its owner's shim keeps the machine.
    d.ok(&["stop", "-t", "0", &pod.first]);
    d.ok(&["update", "--cpus", "4", &member]);
    has(&member, "4");
}

fn pod_container_filesystem_isolation(d: &Daemon) {
    let pod = Pod::new(d, &[]);
    let (one, two) = (pod.member(&[]), pod.member(&[]));
    pod.first.exec("echo first >/own");
    one.exec("echo one >/own");
    two.exec("echo two >/own; mount | grep -c ' / '");
    assert_eq!(
        [pod.first.exec("cat /own"), one.exec("cat /own")],
        ["first", "one"]
    );
    assert_eq!(
        two.exec("cat /own; ls -d /run/coracle 2>/dev/null; true"),
        "two"
    );
}

fn pod_container_pid_namespace_isolation(d: &Daemon) {
    let pod = Pod::new(d, &[]);
    let member = pod.member(&[]);
    for guest in [&pod.first, &member] {
        assert_eq!(guest.exec("ps -o args | grep -c '^sleep'"), "1");
    }
}

fn pod_shared_pid_namespace(d: &Daemon) {
    let pod = Pod::new(d, &[]);
    let member = pod.member(&["--pid", &pod.mode]);
    let count = "ps -o args | grep -c '^sleep'";
    assert_eq!([pod.first.exec(count), member.exec(count)], ["2", "2"]);
    // pod_use_init_with_shared_pid_namespace: one more init there is no process 1.
    assert_eq!(pod.run(&["--pid", &pod.mode, "--init"], "exit 5").code, 5);
    // Of another member.
    let other = pod.member(&[]);
    let mode = format!("container:{}", &*other);
    let said = pod.sh(
        &["--pid", &mode],
        "readlink /proc/1/exe >/dev/null; ps -o args | head -2 | tail -1",
    );
    assert_eq!(said, "sleep 1000");
    // It ends with the process that makes the namespace.
    d.ok(&["rm", "-f", &pod.first]);
    d.until(
        &member, "{{.State.ExitCode}} {{.State.Running}}", "137 false",
    );
    assert_eq!(other.exec("echo on"), "on");
}

fn pod_multiple_containers_different_dns_and_hosts(d: &Daemon) {
    let pod = Pod::new(d, &["--network", "bridge"]);
    let folder = d.dir().join("pod-files");
    fs::create_dir_all(&folder).unwrap();
    for name in ["one", "two"] {
        fs::write(folder.join(name), format!("192.0.2.9 {name}\n")).unwrap();
        let source = folder.join(name).display().to_string();
        for file in ["hosts", "resolv.conf"] {
            let mount = format!("{source}:/etc/{file}");
            let said = pod.sh(&["-v", &mount], &format!("cat /etc/{file}"));
            assert_eq!(said, format!("192.0.2.9 {name}"));
            // pod_readonly_rootfs_dns
            assert_eq!(
                pod.sh(&["-v", &mount, "--read-only"], &format!("cat /etc/{file}")),
                said
            );
        }
    }
}

fn pod_level_dns_and_hosts(d: &Daemon) {
    let flags = [
        "--network", "bridge", "--dns", "192.0.2.53", "--dns-search", "of.pod", "--add-host",
        "far:192.0.2.1",
    ];
    let pod = Pod::new(d, &flags);
    let script = "cat /etc/hosts /etc/resolv.conf";
    let said = pod.sh(&[], script);
    assert_eq!(said, pod.first.exec(script));
    assert!(
        said.contains("192.0.2.1\tfar") && said.contains("search of.pod"),
        "{said}"
    );
    // One file for all, also on a root that is read-only.
    pod.first.exec("echo 192.0.2.2 late >>/etc/hosts");
    assert!(pod.sh(&["--read-only"], script).contains("192.0.2.2 late"));
    for flags in [&["--dns", "192.0.2.54"][..], &["--add-host", "x:192.0.2.3"]] {
        pod.run(flags, "true")
            .code(125)
            .mentions("conflicting options");
    }
}

fn pod_ipv6_address(d: &Daemon) {
    d.ok(&[
        "network", "create", "--ipv6", "--subnet", "fd00:78::/64", "vm-pod-six",
    ]);
    let pod = Pod::new(d, &["--network", "vm-pod-six"]);
    let seen = pod.sh(&[], "ip -6 addr show eth0; ip -6 route");
    assert!(seen.contains("fd00:78::"), "{seen}");
    drop(pod);
    d.ok(&["network", "rm", "vm-pod-six"]);
}

fn pod_use_init(d: &Daemon) {
    let pod = Pod::new(d, &["--init"]);
    // pod_use_init_multiple_containers, pod_use_init_exit_code_propagation
    assert_eq!(pod.run(&["--init"], "exit 42").code, 42);
    let member = pod.member(&["--init"]);
    assert_eq!(member.exec("ps -o pid,comm | grep -c ' sleep$'"), "1");
    assert_ne!(member.exec("cat /proc/1/comm"), "sleep");
    // pod_use_init_signal_forwarding
    let script = "trap 'exit 3' TERM; while :; do sleep 0.1; done";
    let flags = pod.flags(&["--init"]);
    let line = [&["run", "-d"], &flags[..], &["busybox", "sh", "-c", script]];
    let traps = Guest::of(d, d.ok(&line.concat()));
    std::thread::sleep(Duration::from_millis(300));
    d.ok(&["stop", "-t", "10", &traps]);
    assert_eq!(d.inspect(&traps, "{{.State.ExitCode}}"), "3");
}

fn pod_refused(d: &Daemon) {
    let pod = Pod::new(d, &["--ipc", "private"]);
    let other = Guest::new(d, &[]);
    let process = Guest::new(d, &["--runtime", "process"]);
    let (first, mode) = (&*pod.first, pod.mode.as_str());
    let (others, processes) = (
        format!("container:{}", &*other),
        format!("container:{}", &*process),
    );
    for (flags, why) in [
        (
            &["--network", mode, "--runtime", "process"][..],
            "has the runtime \"vm\"",
        ),
        (
            &["--network", &processes, "--runtime", "vm"],
            "has the runtime \"process\"",
        ),
        (
            &["--pid", &processes, "--network", mode],
            "has the runtime \"process\"",
        ),
        (&["--pid", mode], "--network container:"),
        (
            &["--pid", &others, "--network", mode],
            "does not run in this machine",
        ),
        (&["--ipc", mode, "--network", mode], "non-shareable IPC"),
        (&["--pid", "host", "--network", mode], "PidMode"),
        (&["--network", mode, "-p", "80"], "conflicting options"),
        (
            &["--network", mode, "--annotation", "coracle.kernel=x"],
            "option kernel",
        ),
        (&["--network", mode, "-v", "not a name:/x"], "invalid"),
        (
            &["--network", mode, "-v", "va:/x", "-v", "vb:/x"],
            "Duplicate mount point",
        ),
    ] {
        let line = [&["run", "--rm"], flags, &["busybox", "true"]].concat();
        d.docker(&line).code(125).mentions(why);
    }
    let late = d.ok(&["create", "--network", mode, "busybox", "true"]);
    d.ok(&["kill", first]);
    d.ok(&["wait", first]);
    d.docker(&["start", &late])
        .code(1)
        .mentions("cannot join network of a non running container");
    d.ok(&["rm", &late]);
}

/// pod_shared_disk_image_volume, pod_single_file_mount, and directories of the host.
fn pod_volumes(d: &Daemon) {
    let pod = Pod::new(d, &["-v", "vm-pod-volume:/data"]);
    let (one, two) = (
        pod.member(&["-v", "vm-pod-volume:/data"]),
        pod.member(&["--volumes-from", &pod.first]),
    );
    pod.first.exec("echo first >/data/first");
    one.exec("echo one >/data/one");
    assert_eq!(two.exec("cat /data/first /data/one"), "first\none");
    let folder = d.dir().join("pod-mounts");
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("file"), "from the host\n").unwrap();
    let source = folder.display().to_string();
    let flags = [
        "-v",
        &format!("{source}:/dir"),
        "-v",
        &format!("{source}/file:/file:ro"),
    ];
    let member = pod.member(&flags);
    assert_eq!(
        member.exec("cat /file; echo back >/dir/back; cat /dir/file"),
        "from the host\nfrom the host"
    );
    assert_eq!(fs::read_to_string(folder.join("back")).unwrap(), "back\n");
    // What one shares ends with it, and with nobody else.
    drop(member);
    assert_eq!(two.exec("cat /data/first"), "first");
    assert!(folder.join("file").exists());
    drop((one, two, pod));
    d.ok(&["volume", "rm", "vm-pod-volume"]);
}

/// pod_shared_tmpfs_volume: of what Docker has, `/dev/shm`.
fn pod_shared_memory(d: &Daemon) {
    let pod = Pod::new(d, &["--ipc", "shareable"]);
    let member = pod.member(&["--ipc", &pod.mode]);
    pod.first.exec("echo shared >/dev/shm/x");
    assert_eq!(member.exec("cat /dev/shm/x"), "shared");
    let namespace = "readlink /proc/self/ns/ipc";
    assert_eq!(member.exec(namespace), pod.first.exec(namespace));
    assert_ne!(pod.sh(&[], namespace), pod.first.exec(namespace));
    assert_eq!(pod.sh(&[], "ls /dev/shm"), "");
}

fn pod_unix_socket_into_guest_symlink(d: &Daemon) {
    let folder = d.dir().join("pod-socket");
    fs::create_dir_all(&folder).unwrap();
    let listener = UnixListener::bind(folder.join("real.sock")).unwrap();
    std::os::unix::fs::symlink("real.sock", folder.join("link.sock")).unwrap();
    let mount = format!("{}/link.sock:/dev/log", folder.display());
    let pod = Pod::new(d, &[]);
    // Each has a socket of its own.
    for word in ["one", "two"] {
        let member = pod.member(&["-v", &mount]);
        member.exec(&format!("logger {word}"));
        let (mut stream, _) = listener.accept().unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(10)))
            .unwrap();
        let mut heard = [0; 256];
        let length = stream.read(&mut heard).unwrap();
        let heard = String::from_utf8_lossy(&heard[..length]).into_owned();
        assert!(heard.contains(word), "{heard}");
    }
}

fn pod_files(d: &Daemon) {
    let pod = Pod::new(d, &[]);
    let member = pod.member(&[]);
    let file = d.dir().join("pod-file");
    fs::write(&file, "copied\n").unwrap();
    let to = format!("{}:/copied", &*member);
    d.ok(&["cp", &file.display().to_string(), &to]);
    assert_eq!(member.exec("cat /copied"), "copied");
    assert!(d.ok(&["diff", &member]).contains("A /copied"));
    // Its disk is its own again when it has ended: the files are there without a pod.
    d.ok(&["stop", "-t", "0", &member]);
    drop(pod);
    let back = file.with_file_name("pod-file-back");
    d.ok(&["cp", &to, &back.display().to_string()]);
    assert_eq!(fs::read_to_string(&back).unwrap(), "copied\n");
}

fn pod_restart(d: &Daemon) {
    let pod = Pod::new(d, &[]);
    let member = pod.member(&[]);
    member.exec("echo kept >/kept");
    for _ in 0..3 {
        d.ok(&["restart", "-t", "0", &member]);
    }
    assert_eq!(member.exec("cat /kept"), "kept");
    // A new machine for the first; the member is in the old one until it starts again.
    let old = pid(d, &pod.first);
    d.ok(&["restart", "-t", "0", &pod.first]);
    let new = pid(d, &pod.first);
    assert_ne!(new, old);
    assert_eq!(
        [pid(d, &member), member.exec("cat /kept")],
        [old.as_str(), "kept"]
    );
    d.ok(&["restart", "-t", "0", &member]);
    assert_eq!(
        [pid(d, &member), member.exec("cat /kept")],
        [new.as_str(), "kept"]
    );
    wait_until("the old machine is gone", || !exists(&old));
}

fn exists(pid: &str) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let state = stat.rsplit(')').next().unwrap_or_default().trim();
    !state.is_empty() && !state.starts_with('Z')
}

fn pod_outlives_its_first_container(d: &Daemon) {
    let pod = Pod::new(d, &["--network", "bridge"]);
    let member = pod.member(&[]);
    let machine = pid(d, &member);
    pod.first.exec("echo written >/written");
    d.ok(&["stop", "-t", "0", &pod.first]);
    // Its network is gone, as in Docker, and its files are its own.
    assert_eq!(member.exec("ls /sys/class/net"), "lo");
    let from = format!("{}:/written", &*pod.first);
    assert!(d.docker(&["cp", &from, "-"]).ok().contains("written"));
    d.ok(&["rm", "-f", &pod.first]);
    assert_eq!(member.exec("echo on"), "on");
    assert_eq!(pid(d, &member), machine);
    drop(member);
    wait_until("the machine is gone", || !exists(&machine));
    wait_until("its groups are gone", || groups(d, &pod.first) == 0);
}

/// Control groups of a container, and of what it has left to others.
fn groups(d: &Daemon, id: &str) -> usize {
    let all = leak::cgroups(d.cgroup());
    let of = |path: &&std::path::PathBuf| path.to_string_lossy().contains(id);
    all.iter().filter(of).count()
}

fn pod_of_a_member(d: &Daemon) {
    let pod = Pod::new(d, &["--hostname", "the-first"]);
    let member = pod.member(&[]);
    let mode = format!("container:{}", &*member);
    assert_eq!(d.sh(&["--network", &mode], "hostname"), "the-first");
    // The machine is the member's, even when the first has another.
    d.ok(&["restart", "-t", "0", &pod.first]);
    let third = Guest::new(d, &["--network", &mode]);
    assert_eq!(pid(d, &third), pid(d, &member));
    assert_ne!(pid(d, &third), pid(d, &pod.first));
    assert_eq!(third.exec("hostname"), "the-first");
}

fn pod_networks_come_and_go(d: &Daemon) {
    let pod = Pod::new(d, &["--network", "bridge"]);
    let member = pod.member(&[]);
    d.ok(&["network", "create", "vm-pod-later"]);
    d.ok(&["network", "connect", "vm-pod-later", &pod.first]);
    assert_eq!(
        member.exec("ls /sys/class/net").replace('\n', " "),
        "eth0 eth1 lo"
    );
    let address = "{{(index .NetworkSettings.Networks \"vm-pod-later\").IPAddress}}";
    let address = d.inspect(&pod.first, address);
    assert!(member.exec("cat /etc/hosts").contains(&address));
    d.ok(&["network", "disconnect", "vm-pod-later", &pod.first]);
    assert_eq!(
        member.exec("ls /sys/class/net").replace('\n', " "),
        "eth0 lo"
    );
    d.ok(&["network", "rm", "vm-pod-later"]);
}

fn shim(d: &Daemon, id: &str) -> i32 {
    let file = d.dir().join("exec/containers").join(id).join("shim.pid");
    let pid = std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("{file:?}: {error}"));
    pid.trim().parse().unwrap()
}

/// The others don't notice; its disks are free at once.
fn pod_killed_member(d: &Daemon) {
    let pod = Pod::new(d, &[]);
    let (killed, other) = (pod.member(&["--pid", &pod.mode]), pod.member(&[]));
    killed.exec("echo kept >/kept; sync");
    leak::kill(shim(d, &killed), Signal::KILL);
    d.until(
        &killed, "{{.State.ExitCode}} {{.State.Running}}", "137 false",
    );
    wait_until("its processes are gone", || {
        pod.first.exec("ps -o args | grep -c '^sleep'; true") == "1"
    });
    wait_until("its disk is gone", || {
        !pod.first
            .exec("cat /sys/block/vd*/serial")
            .contains("m1-layer")
    });
    assert_eq!(other.exec("echo on"), "on");
    d.ok(&["start", &killed]);
    assert_eq!(killed.exec("cat /kept"), "kept");
    assert_eq!(pid(d, &killed), pid(d, &pod.first));
}

/// The machine is gone, which all see at once.
fn pod_killed_owner(d: &Daemon) {
    let pod = Pod::new(d, &[]);
    let members = [pod.member(&[]), pod.member(&[])];
    leak::kill(shim(d, &pod.first), Signal::KILL);
    for member in &members {
        d.until(
            member, "{{.State.ExitCode}} {{.State.Running}}", "137 false",
        );
    }
    d.until(
        &pod.first, "{{.State.ExitCode}} {{.State.Running}}", "137 false",
    );
    wait_until("its groups are gone", || groups(d, &pod.first) == 0);
    d.ok(&["start", &pod.first, &members[0], &members[1]]);
    assert_eq!(members[1].exec("echo again"), "again");
}

/// What is left of the machine is cleared away when the daemon starts.
fn pod_killed_owner_that_had_ended(d: &mut Daemon) {
    let first = d.sleeper(&[]);
    let owner = shim(d, &first);
    let member = d.sleeper(&["--network", &format!("container:{first}")]);
    d.ok(&["rm", "-f", &first]);
    d.ok(&["exec", &member, "true"]);
    assert!(groups(d, &first) > 0);
    leak::kill(owner, Signal::KILL);
    d.until(
        &member, "{{.State.ExitCode}} {{.State.Running}}", "137 false",
    );
    d.ok(&["rm", &member]);
    d.kill();
    d.spawn();
    wait_until("its groups are gone", || groups(d, &first) == 0);
}

/// Everything goes on without a daemon, and one that comes finds it.
fn pod_killed_daemon(d: &mut Daemon) {
    let first = d.sleeper(&[]);
    let mode = format!("container:{first}");
    let (one, two) = (
        d.sleeper(&["--network", &mode]),
        d.sleeper(&["--network", &mode]),
    );
    d.kill();
    d.spawn();
    for id in [&first, &one, &two] {
        assert_eq!(d.ok(&["exec", id, "echo", "on"]), "on");
    }
    assert_eq!(d.sh(&["--network", &mode], "echo joined"), "joined");
    // Of one whose first container has ended as well.
    d.ok(&["rm", "-f", &first]);
    d.kill();
    d.spawn();
    assert_eq!(d.ok(&["exec", &one, "echo", "on"]), "on");
    let mode = format!("container:{one}");
    assert_eq!(d.sh(&["--network", &mode], "echo joined"), "joined");
    d.ok(&["rm", "-f", &one, &two]);
    wait_until("its groups are gone", || groups(d, &first) == 0);
}
