//! Machines of an ordinary user: in the user's namespaces, with the user's ids, networks and files.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use coracle_tests::output::{self, wait_for};
use coracle_tests::{fixture, leak, wait_until};
use rustix::process::Signal;

use super::spares::made;
use crate::rootless::user::{Rootless, User, is_alive, owner};

const USER: u32 = 61_235;
const SUBORDINATE: u32 = 600_000;
/// The user of the second test.
const ALONE: u32 = 61_236;

#[test]
fn an_ordinary_users_machines() {
    let Some(mut d) = daemon(USER, Some(SUBORDINATE)) else {
        return;
    };

    spares(&d);
    isolation(&d);
    files(&d);
    server(&d);
    limits(&d);
    network(&mut d);
    ends(&d);

    let data = d.dir().join("home/.local/share/coracle");
    for dir in [
        data.join("containers"),
        d.dir().join("run/coracle/containers"),
    ] {
        wait_until("no container is left", || {
            fs::read_dir(&dir).is_ok_and(|mut left| left.next().is_none())
        });
    }
    assert_eq!(links(&d, "vtap"), 0, "taps are left");
    d.end();
}

/// A user whom nobody gave further ids: a machine has all that its kernel has, a process none.
#[test]
fn machines_without_subordinate_ids() {
    let Some(mut d) = daemon(ALONE, None) else {
        return;
    };
    assert!(d.log().contains("no subordinate ids"), "{}", d.log());
    let script = "touch /own; chown 33:44 /own; id -u >/id";
    d.ok(&["run", "--name", "first", "busybox", "sh", "-c", script]);
    d.ok(&["commit", "first", "owned"]);
    let stat = ["owned", "stat", "-c", "%u %g", "/own"];
    let run = |runtime| [&["run", "--rm", "--runtime", runtime], &stat[..]].concat();
    assert_eq!(d.ok(&run("vm")), "33 44");
    assert_eq!(d.ok(&run("process")), "0 0");
    assert_eq!(
        d.ok(&["run", "--rm", "-u", "33", "busybox", "id", "-u"]),
        "33"
    );
    let process = ["run", "--rm", "--runtime", "process", "-u", "33", "busybox"];
    d.docker(&process).code(125).says("is it mapped");
    let process = [
        "run", "--rm", "--runtime", "process", "--group-add", "5", "busybox",
    ];
    d.docker(&process).code(125).says("subordinate ids");

    let shared = d.dir().join("home/shared");
    output::run(d.as_user(Path::new("mkdir")).arg(&shared), b"").ok();
    let bind = format!("{}:/shared", shared.display());
    let script = "echo rootless >/shared/index.html; exec httpd -f -h /shared -p 80";
    let web = ["run", "-d", "--name", "web", "-p", "8088:80", "-v", &bind];
    d.ok(&[&web[..], &["busybox", "sh", "-c", script]].concat());
    wait_until("it serves", || {
        d.get("127.0.0.1:8088").as_deref() == Some("rootless\n")
    });
    assert_eq!(
        fs::metadata(shared.join("index.html")).unwrap().uid(),
        ALONE
    );
    assert_eq!(owner(pid(&d, "web")), Some(ALONE));
    d.ok(&["rm", "-f", "web", "first"]);
    d.end();
}

/// A disk of a server: QEMU is reached in a network namespace that is the user's.
fn server(d: &Rootless) {
    if Command::new("qemu-nbd").arg("--version").output().is_err() {
        eprintln!("skipped: there is no qemu-nbd; install qemu-utils");
        return;
    }
    let [image, socket, ready] = ["img", "sock", "pid"].map(|ending| {
        let home = d.dir().join("home");
        home.join("disk").with_extension(ending)
    });
    let mut format = d.as_user(Path::new("mkfs.ext4"));
    format.args(["-q", "-F"]).arg(&image).arg("64m");
    output::run(&mut format, b"").ok();
    let mut serve = d.as_user(Path::new("qemu-nbd"));
    serve.args(["--persistent", "--format=raw", "--pid-file"]);
    serve.arg(&ready).arg("--socket").args([&socket, &image]);
    let mut process = serve.stdin(Stdio::null()).spawn().unwrap();
    wait_until("the server listens", || ready.exists());
    let device = format!("device=nbd+unix:///?socket={}", socket.display());
    d.ok(&[
        "volume", "create", "--opt", "type=ext4", "--opt", &device, "disk",
    ]);
    let run = |script| {
        d.ok(&[
            "run", "--rm", "-v", "disk:/data", "busybox", "sh", "-c", script,
        ])
    };
    run("echo kept >/data/x; chown 33:44 /data/x");
    assert_eq!(run("cat /data/x; stat -c '%u %g' /data/x"), "kept\n33 44");
    process.kill().unwrap();
    process.wait().unwrap();
}

/// A user's daemon of virtual machines, with their kernel and template.
fn daemon(id: u32, subordinate: Option<u32>) -> Option<Rootless> {
    if let Some(why) = super::obstacle() {
        eprintln!("skipped: {why}");
        return None;
    }
    let Some(kernel) = super::kernel() else {
        eprintln!("skipped: there is no kernel for virtual machines; run fixtures/kernel");
        return None;
    };
    let d = Rootless::start(User {
        id,
        subordinate,
        flags: &["--accelerator", "tcg", "--default-runtime", "vm"],
        programs: vec![super::agent(), fixture::binary("coracle")],
    })?;
    install(&d, id, &kernel);
    let image = fixture("busybox").join("docker.tar");
    d.ok(&["load", "-q", "-i", &image.to_string_lossy()]);
    Some(d)
}

/// The user's own `coracle` installs a kernel, and a template is made.
fn install(d: &Rootless, user: u32, kernel: &Path) {
    // The user may not see the one that the tests have.
    let copy = d.dir().join("kernel");
    let copied = Command::new("cp").arg("-rL").args([kernel, &copy]).status();
    assert!(copied.unwrap().success());
    let mut install = d.as_user(&d.dir().join("bin/coracle"));
    install.args(["system", "kernel", "install"]).arg(&copy);
    output::run(&mut install, b"").ok();
    let machines = d.dir().join("home/.local/share/coracle/machines");
    wait_for("there is a template", Duration::from_secs(120), || {
        let all = fs::read_dir(machines.join("templates"));
        let mut all = all.into_iter().flatten().flatten();
        all.any(|entry| entry.path().join("template.json").exists())
    });
    // A template is a machine's memory.
    let data = fs::metadata(&machines).unwrap();
    assert_eq!((data.mode() & 0o777, data.uid()), (0o700, user));
}

/// The machine that waits is the next container's, and another one is made after it.
fn spares(d: &Rootless) {
    let made = || made(&d.log());
    let patience = Duration::from_secs(240);
    wait_for("a spare machine waits", patience, || !made().is_empty());
    d.ok(&["run", "-d", "--name", "taker", "busybox", "sleep", "1000"]);
    assert_eq!(parent(pid(d, "taker")), made()[0], "{}", d.log());
    let hostname = d.ok(&["inspect", "-f", "{{.Config.Hostname}}", "taker"]);
    assert_eq!(d.ok(&["exec", "taker", "hostname"]), hostname);
    wait_for("the next one waits", patience, || made().len() > 1);
    d.ok(&["rm", "-f", "taker"]);
    assert_eq!(d.ok(&["run", "--rm", "busybox", "echo", "out"]), "out");
    assert_eq!(d.log().matches("a spare machine is taken").count(), 2);
}

/// Each has a kernel, and on the host namespaces and a user of its own.
fn isolation(d: &Rootless) {
    let host = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    assert_ne!(
        d.ok(&["run", "--rm", "busybox", "uname", "-r"]),
        host.trim()
    );
    let mut owners = BTreeSet::new();
    let ids = ["one", "two"].map(|name| {
        d.ok(&["run", "-d", "--name", name, "busybox", "sleep", "1000"]);
        assert_eq!(inspect(d, name, "{{.HostConfig.Runtime}}"), "vm");
        let machine = pid(d, name);
        owners.insert(owner(machine).unwrap());
        let status = fs::read_to_string(format!("/proc/{machine}/status")).unwrap();
        let has = |line: &str| {
            status
                .lines()
                .any(|found| found.split_whitespace().eq(line.split(' ')))
        };
        for line in [
            "CapPrm: 0000000000000000", "CapBnd: 0000000000000000", "NoNewPrivs: 1", "Groups:",
        ] {
            assert!(has(line), "{line}: {status}");
        }
        for kind in ["pid", "mnt", "net", "ipc", "uts"] {
            assert_ne!(
                namespace(machine, kind),
                namespace(d.helper("holder"), kind),
                "{kind}"
            );
        }
        machine
    });
    assert_ne!(ids[0], ids[1]);
    // The upper half of the subordinate ones; two may be the same, once in thousands.
    let upper = SUBORDINATE + 32_768..SUBORDINATE + 65_533;
    assert!(owners.iter().all(|id| upper.contains(id)), "{owners:?}");
    assert_eq!(d.ok(&["exec", "-u", "33", "one", "id", "-u"]), "33");
    d.docker(&["exec", "one", "sh", "-c", "exit 7"]).code(7);
    d.ok(&["rm", "-f", "one", "two"]);
}

/// The guest's root is the user, and its others are the user's subordinate ids: as with processes.
fn files(d: &Rootless) {
    let shared = d.dir().join("home/shared");
    output::run(d.as_user(Path::new("mkdir")).arg(&shared), b"").ok();
    let bind = format!("{}:/shared", shared.display());
    let script = "echo mine >/shared/root; touch /shared/web; chown 33:33 /shared/web; id -u";
    let run = ["run", "--rm", "-v", &bind];
    d.ok(&[&run[..], &["busybox", "sh", "-c", script]].concat());
    let of = |name: &str| fs::metadata(shared.join(name)).unwrap().uid();
    assert_eq!((of("root"), of("web")), (USER, SUBORDINATE + 32));
    let stat = ["busybox", "stat", "-c", "%u", "/shared/root", "/shared/web"];
    for runtime in ["vm", "process"] {
        let seen = d.ok(&[&run[..], &["--runtime", runtime], &stat].concat());
        assert_eq!(seen, "0\n33", "{runtime}");
    }
    // What isn't the user's is nobody's, and can't be taken.
    fs::write(shared.join("foreign"), "x").unwrap();
    let script = "stat -c %u /shared/foreign; chown 0 /shared/foreign 2>&1; true";
    let seen = d.ok(&[&run[..], &["busybox", "sh", "-c", script]].concat());
    assert!(
        seen.starts_with("65534\n") && seen.contains("not permitted"),
        "{seen}"
    );

    // A volume, by a machine and a process.
    let touch = "touch /v/a && chown 5 /v/a";
    d.ok(&["run", "--rm", "-v", "both:/v", "busybox", "sh", "-c", touch]);
    let stat = ["busybox", "stat", "-c", "%u", "/v/a"];
    let process = ["run", "--rm", "-v", "both:/v", "--runtime", "process"];
    assert_eq!(d.ok(&[&process[..], &stat].concat()), "5");
    d.ok(&["volume", "rm", "both"]);

    // Files of one that runs, and of one that doesn't.
    d.ok(&["run", "-d", "--name", "files", "busybox", "sleep", "1000"]);
    let to = d.dir().join("copied");
    for _ in 0..2 {
        d.ok(&["cp", &shared.join("root").to_string_lossy(), "files:/in"]);
        d.ok(&["cp", "files:/in", &to.to_string_lossy()]);
        assert_eq!(fs::read_to_string(&to).unwrap(), "mine\n");
        d.ok(&["stop", "-t", "0", "files"]);
    }
    d.ok(&["rm", "files"]);
}

/// Without control groups a process can't be limited. A machine is its own limit.
fn limits(d: &Rootless) {
    let flags = [
        "run", "--rm", "-m", "64m", "--cpus", "2", "--pids-limit", "50",
    ];
    let script = "nproc; cat /sys/fs/cgroup/memory.max /sys/fs/cgroup/pids.max";
    let seen = d.ok(&[&flags[..], &["busybox", "sh", "-c", script]].concat());
    assert_eq!(seen, "2\n67108864\n50");
    let eats = ["busybox", "sh", "-c", "exec tail /dev/zero"];
    let flags = ["run", "--name", "big", "-m", "64m"];
    d.docker(&[&flags[..], &eats].concat()).code(137);
    assert_eq!(inspect(d, "big", "{{.State.OOMKilled}}"), "true");
    d.ok(&["rm", "big"]);
    d.ok(&[
        "run", "-d", "--name", "grows", "-m", "64m", "busybox", "sleep", "1000",
    ]);
    d.ok(&["update", "-m", "100m", "--memory-swap", "200m", "grows"]);
    let limit = ["exec", "grows", "cat", "/sys/fs/cgroup/memory.max"];
    assert_eq!(d.ok(&limit), (100_u32 << 20).to_string());
    d.ok(&["rm", "-f", "grows"]);
}

/// Names, addresses on two networks, and ports; all of it outlives the daemon.
fn network(d: &mut Rootless) {
    for network in ["here", "there"] {
        d.ok(&["network", "create", network]);
    }
    let script = "echo rootless >/index.html; exec httpd -f -h / -p 80";
    let mut web = vec!["run", "-d", "--name", "web", "--network", "here"];
    web.extend(["-p", "8088:80", "-p", "127.0.0.1:8089:80"]);
    d.ok(&[&web[..], &["busybox", "sh", "-c", script]].concat());
    let both = ["--network", "here", "--network", "there"];
    let sleep = ["busybox", "sleep", "1000"];
    d.ok(&[&["run", "-d", "--name", "peer"], &both[..], &sleep].concat());
    let process = ["run", "-d", "--name", "process", "--runtime", "process"];
    d.ok(&[&process[..], &["--network", "there"], &sleep].concat());
    let works = |d: &Rootless| {
        for address in ["127.0.0.1:8088", "127.0.0.1:8089"] {
            wait_until(address, || d.get(address).as_deref() == Some("rootless\n"));
        }
        let get = ["exec", "peer", "wget", "-q", "-O", "-", "http://web/"];
        assert_eq!(d.ok(&get), "rootless");
        let pod = ["run", "--rm", "--network", "container:web", "busybox"];
        let get = ["wget", "-q", "-O", "-", "http://127.0.0.1/"];
        assert_eq!(d.ok(&[&pod[..], &get].concat()), "rootless");
        d.ok(&["exec", "peer", "ping", "-c", "1", "-W", "5", "process"]);
        d.ok(&["exec", "process", "ping", "-c", "1", "-W", "5", "peer"]);
    };
    works(d);
    assert_eq!(links(d, "vtap"), 3);

    let machines = ["web", "peer"].map(|name| pid(d, name));
    let (holder, slirp) = (d.helper("holder"), d.helper("slirp"));
    d.kill();
    leak::kill(slirp, Signal::KILL);
    wait_until("slirp4netns is gone", || !is_alive(slirp));
    assert!(machines.iter().all(|machine| is_alive(*machine)));
    d.spawn();
    assert_eq!(d.helper("holder"), holder);
    assert_eq!(["web", "peer"].map(|name| pid(d, name)), machines);
    works(d);
    d.ok(&["rm", "-f", "web", "peer", "process"]);
    assert_eq!(d.get("127.0.0.1:8088"), None);
    d.ok(&["network", "rm", "here", "there"]);
}

/// No control group is needed for a machine to go with its shim.
fn ends(d: &Rootless) {
    d.ok(&["run", "-d", "--name", "ends", "busybox", "sleep", "1000"]);
    let machine = pid(d, "ends");
    leak::kill(parent(machine), Signal::KILL);
    wait_until("QEMU is gone", || !is_alive(machine));
    wait_until("it is told", || {
        inspect(d, "ends", "{{.State.Running}}") == "false"
    });
    d.ok(&["start", "ends"]);
    assert_eq!(d.ok(&["exec", "ends", "echo", "again"]), "again");
    d.ok(&["rm", "-f", "ends"]);
}

fn inspect(d: &Rootless, name: &str, template: &str) -> String {
    d.ok(&["inspect", "-f", template, name])
}

/// The process of a container's machine.
fn pid(d: &Rootless, name: &str) -> i32 {
    inspect(d, name, "{{.State.Pid}}").parse().unwrap()
}

fn parent(pid: i32) -> i32 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let parent = status.lines().find_map(|line| line.strip_prefix("PPid:"));
    parent.unwrap().trim().parse().unwrap()
}

fn namespace(pid: i32, kind: &str) -> PathBuf {
    fs::read_link(format!("/proc/{pid}/ns/{kind}")).unwrap()
}

/// How many of the links in the user's network namespace have such a name.
fn links(d: &Rootless, prefix: &str) -> usize {
    let holder = d.helper("holder").to_string();
    let mut list = Command::new("nsenter");
    list.args(["--target", &holder, "--net", "ip", "-o", "link"]);
    let text = output::run(&mut list, b"").ok();
    text.lines().filter(|line| line.contains(prefix)).count()
}
