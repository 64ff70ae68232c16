//! Namespaces, seccomp, masked and read-only paths, kernel parameters.

use std::fs;
use std::process::Command;

use coracle_launcher::create;
use serde_json::json;

use crate::fixture::{Bundle, Sleeper, forbid, run, wait};

crate::tests![
    namespaces_are_new,
    namespaces_of_the_host,
    namespaces_by_path,
    loopback_is_up,
    names,
    time_offsets,
    seccomp,
    seccomp_of_an_ordinary_user,
    seccomp_with_no_new_privileges,
    seccomp_that_forbids_nearly_all,
    dockers_profile,
    masked_paths,
    readonly_paths,
    readonly_root,
    kernel_parameters,
    foreign_kernel_parameters_are_refused,
    devices,
    listed_devices,
    the_helper_cannot_be_traced,
    it_dies_with_its_caller,
];

fn ns(kind: &str) -> String {
    let link = fs::read_link(format!("/proc/self/ns/{kind}")).unwrap();
    link.to_string_lossy().into_owned()
}

const LIST: &str = "cd /proc/self/ns; for n in pid net ipc uts mnt cgroup; do readlink $n; done";

fn namespaces_are_new() {
    let inside = Bundle::sh(LIST).stdout();
    assert_eq!(inside.lines().count(), 6);
    for (kind, inside) in ["pid", "net", "ipc", "uts", "mnt", "cgroup"]
        .iter()
        .zip(inside.lines())
    {
        assert_ne!(ns(kind), inside);
    }
    let script = format!(
        "echo $$; test -e /proc/{} || echo hidden",
        std::process::id()
    );
    assert_eq!(Bundle::sh(&script).stdout(), "1\nhidden\n");
}

fn namespaces_of_the_host() {
    let mut bundle = Bundle::sh(LIST);
    for kind in ["pid", "network", "ipc", "uts", "cgroup"] {
        bundle.drop_namespace(kind);
    }
    bundle.spec["hostname"] = json!("");
    let inside = bundle.stdout();
    let host: Vec<_> = ["pid", "net", "ipc", "uts"]
        .iter()
        .map(|kind| ns(kind))
        .collect();
    assert_eq!(inside.lines().take(4).collect::<Vec<_>>(), host);
    let mut bundle = Bundle::sh(LIST);
    bundle.drop_namespace("uts");
    assert!(
        bundle
            .refused()
            .to_string()
            .contains("hostname needs a uts namespace")
    );
}

fn namespaces_by_path() {
    let mut first = Bundle::new();
    let other = Sleeper::start(&mut first);
    let mut bundle = Bundle::sh(LIST);
    bundle.spec["hostname"] = json!("");
    let mut expected = Vec::new();
    for (kind, file) in [
        ("pid", "pid"),
        ("network", "net"),
        ("ipc", "ipc"),
        ("uts", "uts"),
    ] {
        bundle.drop_namespace(kind);
        let path = format!("/proc/{}/ns/{file}", other.process.pid);
        expected.push(fs::read_link(&path).unwrap().to_string_lossy().into_owned());
        let namespaces = bundle.spec["linux"]["namespaces"].as_array_mut().unwrap();
        namespaces.push(json!({"type": kind, "path": path}));
    }
    let inside = bundle.stdout();
    assert_eq!(inside.lines().take(4).collect::<Vec<_>>(), expected);
    bundle.args(&["cat", "/proc/1/comm"]);
    assert_eq!(
        bundle.stdout(),
        "sleep\n",
        "its /proc shows the joined pid namespace"
    );
}

fn loopback_is_up() {
    let script = "ip addr show lo | grep -c 'inet 127.0.0.1'; ping -c1 -W1 127.0.0.1 >/dev/null";
    assert_eq!(Bundle::sh(script).stdout(), "1\n");
}

fn names() {
    let mut bundle = Bundle::sh("hostname; cat /proc/sys/kernel/domainname");
    bundle.spec["domainname"] = json!("example");
    assert_eq!(bundle.stdout(), "crate\nexample\n");
}

fn time_offsets() {
    let mut bundle = Bundle::sh("cut -d. -f1 /proc/uptime");
    let namespaces = bundle.spec["linux"]["namespaces"].as_array_mut().unwrap();
    namespaces.push(json!({"type": "time"}));
    bundle.spec["linux"]["timeOffsets"] = json!({"boottime": {"secs": 1_000_000}});
    let uptime: u64 = bundle.stdout().trim().parse().unwrap();
    assert!(uptime >= 1_000_000);
}

const FORBIDDEN: &str = "mkdir /tmp/x; grep ^Seccomp: /proc/self/status";

fn assert_forbidden(bundle: &Bundle) {
    let output = bundle.run();
    assert_eq!(output.stdout, "Seccomp:\t2\n", "{output:?}");
    assert!(
        output.stderr.contains("Operation not permitted"),
        "{output:?}"
    );
}

fn seccomp() {
    let mut bundle = Bundle::sh(FORBIDDEN);
    bundle.spec["linux"]["seccomp"] = forbid(&["mkdir", "mkdirat"]);
    assert_forbidden(&bundle);
    bundle.spec["linux"]["seccomp"] = json!({"defaultAction": "SCMP_ACT_NOTIFY"});
    assert!(bundle.refused().to_string().contains("linux.seccomp"));
}

fn seccomp_of_an_ordinary_user() {
    let mut bundle = Bundle::sh(FORBIDDEN);
    fs::set_permissions(
        bundle.root().join("tmp"),
        std::os::unix::fs::PermissionsExt::from_mode(0o1777),
    )
    .unwrap();
    bundle.spec["linux"]["seccomp"] = forbid(&["mkdir", "mkdirat"]);
    bundle.spec["process"]["user"] = json!({"uid": 1000, "gid": 1000});
    assert_forbidden(&bundle);
}

fn seccomp_with_no_new_privileges() {
    let mut bundle = Bundle::sh(FORBIDDEN);
    bundle.spec["linux"]["seccomp"] = forbid(&["mkdir", "mkdirat", "capset"]);
    bundle.spec["process"]["noNewPrivileges"] = json!(true);
    assert_forbidden(&bundle);
}

/// Nothing but the last two system calls of the launcher's may be needed after the filter.
fn seccomp_that_forbids_nearly_all() {
    let mut bundle = Bundle::new();
    bundle.args(&["true"]);
    let all = [
        "setuid",
        "setgid",
        "setgroups",
        "setresuid",
        "setresgid",
        "prctl",
        "chdir",
        "mount",
        "dup2",
        "dup3",
        "fcntl",
        "close_range",
        "setsid",
        "sendmsg",
        "recvmsg",
        "openat2",
        "ioctl",
        "prlimit64",
        "statfs",
        "clone",
        "clone3",
        "unshare",
        "seccomp",
        "umask",
        "readlinkat",
    ];
    bundle.spec["linux"]["seccomp"] = forbid(&all);
    assert_eq!(bundle.run().code, 0);
    bundle.spec["linux"]["seccomp"] = forbid(&["execve"]);
    assert_eq!(
        bundle.refused().to_string(),
        "exec /bin/true: operation not permitted"
    );
}

fn dockers_profile() {
    let mut bundle = Bundle::sh(
        "unshare -m true 2>/dev/null || echo no mounts; dmesg >/dev/null 2>&1 || echo no log; id -u",
    );
    let profile = coracle_seccomp::default_profile(
        bundle
            .request()
            .spec
            .process()
            .as_ref()
            .and_then(|process| process.capabilities().as_ref())
            .and_then(|capabilities| capabilities.bounding().as_ref())
            .unwrap(),
    )
    .unwrap();
    bundle.spec["linux"]["seccomp"] = serde_json::to_value(profile).unwrap();
    for user in [0, 1000] {
        bundle.spec["process"]["user"] = json!({"uid": user, "gid": 0});
        for init in [false, true] {
            let mut request = bundle.request();
            request.init = init;
            assert_eq!(run(request).stdout, format!("no mounts\nno log\n{user}\n"));
        }
    }
}

fn masked_paths() {
    let script = "wc -c < /proc/keys; ls /sys/firmware | wc -l; touch /sys/firmware/x; \
                  chmod 0 /proc/keys";
    let output = Bundle::sh(script).run();
    assert_eq!(output.stdout, "0\n0\n");
    assert_eq!(
        output.stderr.matches("Read-only file system").count(),
        2,
        "{output:?}"
    );
    let mode = fs::metadata("/dev/null").unwrap().permissions();
    assert_eq!(
        std::os::unix::fs::PermissionsExt::mode(&mode) & 0o777,
        0o666
    );
}

fn readonly_paths() {
    let output = Bundle::sh("echo x > /proc/sys/kernel/domainname; chmod 700 /proc/irq").run();
    assert_eq!(
        output.stderr.matches("Read-only file system").count(),
        2,
        "{output:?}"
    );
}

fn readonly_root() {
    let mut bundle =
        Bundle::sh("touch /x; touch /dev/shm/y && echo tmpfs; touch /new/z && echo bind");
    bundle.spec["root"]["readonly"] = json!(true);
    let dir = bundle.host_dir("data");
    bundle.bind(&dir, "/new", &["rbind"]);
    let output = bundle.run();
    assert_eq!(output.stdout, "tmpfs\nbind\n", "{output:?}");
    assert!(
        output.stderr.contains("/x: Read-only file system"),
        "{output:?}"
    );
}

fn kernel_parameters() {
    let before = fs::read_to_string("/proc/sys/kernel/msgmax").unwrap();
    let mut bundle =
        Bundle::sh("cat /proc/sys/kernel/msgmax /proc/sys/net/ipv4/ip_unprivileged_port_start");
    bundle.spec["linux"]["sysctl"] =
        json!({"kernel.msgmax": "12345", "net.ipv4.ip_unprivileged_port_start": "7"});
    assert_eq!(bundle.stdout(), "12345\n7\n");
    assert_eq!(
        fs::read_to_string("/proc/sys/kernel/msgmax").unwrap(),
        before
    );
}

fn foreign_kernel_parameters_are_refused() {
    let mut bundle = Bundle::new();
    bundle.spec["linux"]["sysctl"] = json!({"vm.swappiness": "1"});
    assert!(
        bundle
            .refused()
            .to_string()
            .contains("\"vm.swappiness\" is not in a separate")
    );
    let mut bundle = Bundle::new();
    bundle.drop_namespace("network");
    bundle.spec["linux"]["sysctl"] = json!({"net.ipv4.ip_forward": "1"});
    assert!(bundle.refused().to_string().contains("net.ipv4.ip_forward"));
}

fn devices() {
    let script = "for d in null zero full random urandom tty; do stat -c '%t,%T %a %u' /dev/$d; \
                  done; for l in fd stdin stdout stderr ptmx; do readlink /dev/$l; done; \
                  head -c 3 /dev/zero | wc -c; echo x > /dev/null; ls -A /dev | sort | tr '\\n' ' '";
    assert_eq!(
        Bundle::sh(script).stdout(),
        "1,3 666 0\n1,5 666 0\n1,7 666 0\n1,8 666 0\n1,9 666 0\n5,0 666 0\n/proc/self/fd\n\
         /proc/self/fd/0\n/proc/self/fd/1\n/proc/self/fd/2\npts/ptmx\n3\n\
         core fd full mqueue null ptmx pts random shm stderr stdin stdout tty urandom zero "
    );
}

fn listed_devices() {
    let mut bundle =
        Bundle::sh("stat -c '%F %t,%T %a %u:%g' /dev/x/fuse /dev/loop7; stat -c %F /dev/p");
    bundle.spec["linux"]["devices"] = json!([
        {"path": "/dev/x/fuse", "type": "c", "major": 10, "minor": 229, "fileMode": 0o640,
         "uid": 3, "gid": 4},
        {"path": "/dev/loop7", "type": "b", "major": 7, "minor": 7},
        {"path": "/dev/p", "type": "p"},
    ]);
    assert_eq!(
        bundle.stdout(),
        "character special file a,e5 640 3:4\nblock special file 7,7 666 0:0\nfifo\n"
    );
}

/// Between create and start the helper's own program is what /proc/PID/exe shows.
fn the_helper_cannot_be_traced() {
    let mut first = Bundle::new();
    let other = Sleeper::start(&mut first);
    let mut bundle = Bundle::new();
    bundle.drop_namespace("pid");
    let path = format!("/proc/{}/ns/pid", other.process.pid);
    let namespaces = bundle.spec["linux"]["namespaces"].as_array_mut().unwrap();
    namespaces.push(json!({"type": "pid", "path": path}));
    let created = create(&bundle.request()).unwrap();
    let script = "for p in /proc/[0-9]*; do p=${p#/proc/}; [ $p = 1 ] || [ $p = $$ ] || \
                  readlink /proc/$p/exe || echo hidden; done; head -c1 /proc/2/exe | wc -c";
    let output = crate::fixture::run_exec(other.exec(&first, script));
    assert!(output.stdout.starts_with("hidden\n"), "{output:?}");
    assert_eq!(created.start().map(|process| wait(&process)).unwrap(), 0);
}

/// A container that was made and not started must not outlive its caller.
fn it_dies_with_its_caller() {
    let bundle = Bundle::new();
    let mut child = Command::new("/proc/self/exe")
        .env("CORACLE_TEST_CREATE", bundle.dir.path())
        // It is killed, and leaves its temporary files here.
        .env("TMPDIR", bundle.dir.path())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    let mut stdout = std::io::BufReader::new(child.stdout.take().unwrap());
    std::io::BufRead::read_line(&mut stdout, &mut line).unwrap();
    let pid: i32 = line.trim().parse().unwrap();
    assert!(
        fs::exists(format!("/proc/{pid}/exe")).unwrap()
            || fs::exists(format!("/proc/{pid}")).unwrap()
    );
    child.kill().unwrap();
    child.wait().unwrap();
    for _ in 0..100 {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        // Its reaper is the host's init, which may take its time.
        if stat.is_empty() || stat.contains(") Z ") {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    panic!("it lives");
}

/// The caller of the test above.
pub(crate) fn create_and_hang(dir: &std::path::Path) -> u8 {
    let mut bundle = Bundle::new();
    bundle.spec["root"]["path"] = json!(dir);
    let created = create(&bundle.request()).unwrap();
    println!("{}", created.pid());
    std::thread::sleep(std::time::Duration::from_secs(60));
    u8::from(created.start().map(|process| wait(&process)).is_err())
}
