//! Volumes that are disks of network block device servers.
//!
//! The server is `qemu-nbd`, on unix sockets and on the loopback of the daemon's network namespace.

use std::fs;
use std::io;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use coracle_tests::{Daemon, output, wait_until};

use super::{Guest, cases, run};

#[test]
fn nbd() {
    let found = Command::new("qemu-nbd").arg("--version").output();
    if found.is_err() {
        eprintln!("skipped: there is no qemu-nbd; install qemu-utils");
        return;
    }
    run(cases![
        container_nbd_server_lost, container_nbd_mount, container_nbd_read_only,
        container_nbd_raw_block, container_nbd_volume_identity, container_nbd_in_one_machine,
        container_nbd_refused, pod_shared_nbd_volume, pod_multiple_nbd_volumes,
        pod_unreferenced_nbd_volume, pod_nbd_volume_persistence, pod_nbd_concurrent_writes,
        pod_nbd_volume_identity, pod_invalid_volume_reference, pod_duplicate_volume_name,
    ]);
}

/// A server of one image, an ext4 that is empty. Dropping it ends it.
struct Server<'a> {
    d: &'a Daemon,
    name: String,
    image: PathBuf,
    process: Child,
}

impl Drop for Server<'_> {
    fn drop(&mut self) {
        self.stop();
    }
}

impl<'a> Server<'a> {
    #[track_caller]
    fn start(d: &'a Daemon, name: &str) -> Self {
        Self::listen(d, name, None)
    }

    /// With a TCP port of the loopback, or a unix socket.
    #[track_caller]
    fn listen(d: &'a Daemon, name: &str, port: Option<&str>) -> Self {
        let image = d.dir().join(format!("{name}.img"));
        let file = fs::File::create(&image).unwrap();
        file.set_len(64 << 20).unwrap();
        output::run(
            Command::new("mkfs.ext4").args(["-q", "-F"]).arg(&image),
            b"",
        )
        .ok();
        Self {
            d,
            name: name.to_owned(),
            process: spawn(d, &image, port),
            image,
        }
    }

    fn stop(&mut self) {
        // It may have ended.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }

    fn start_again(&mut self) {
        self.process = spawn(self.d, &self.image, None);
    }

    fn uri(&self) -> String {
        let socket = self.image.with_extension("sock");
        format!("nbd+unix:///data?socket={}", socket.display())
    }

    /// A volume of it, named as it is.
    #[track_caller]
    fn volume(&self, kind: &str, options: &str) -> String {
        volume(self.d, &self.name, kind, &self.uri(), options)
    }

    /// What is in a file of the image, which nobody has mounted.
    #[track_caller]
    fn file(&self, path: &str) -> String {
        let request = format!("cat {path}");
        output::run(
            Command::new("debugfs")
                .args(["-R", &request])
                .arg(&self.image),
            b"",
        )
        .ok()
    }
}

fn spawn(d: &Daemon, image: &PathBuf, port: Option<&str>) -> Child {
    let (socket, ready) = (image.with_extension("sock"), image.with_extension("pid"));
    for old in [&socket, &ready] {
        let _ = fs::remove_file(old);
    }
    let mut command = Command::new("qemu-nbd");
    command.args([
        "--persistent", "--format=raw", "--shared=8", "--export-name=data",
    ]);
    command.arg("--pid-file").arg(&ready);
    match port {
        Some(port) => command.args(["--bind=127.0.0.1", "--port", port]),
        None => command.arg("--socket").arg(&socket),
    };
    command.arg(image).stdin(Stdio::null());
    let process = d.netns().enter(|| command.spawn()).unwrap();
    wait_until("the server listens", || ready.exists());
    process
}

#[track_caller]
fn volume(d: &Daemon, name: &str, kind: &str, device: &str, options: &str) -> String {
    let (kind, device) = (format!("type={kind}"), format!("device={device}"));
    let options = format!("o={options}");
    let mut line = vec!["volume", "create", "--opt", &kind, "--opt", &device];
    if options != "o=" {
        line.extend(["--opt", &options]);
    }
    line.push(name);
    d.ok(&line)
}

/// A container that sleeps, in the machine of another.
#[track_caller]
fn member<'a>(first: &Guest<'a>, flags: &[&str]) -> Guest<'a> {
    let network = format!("container:{}", &**first);
    Guest::new(first.d, &[&["--network", &network], flags].concat())
}

/// How many disks of servers the machine has.
fn disks(guest: &Guest) -> usize {
    let serials = guest.exec("for disk in /sys/block/vd*; do echo $(cat $disk/serial); done");
    let is_volumes = |serial: &&str| serial.starts_with('v');
    serials.split_whitespace().filter(is_volumes).count()
}

fn container_nbd_mount(d: &Daemon) {
    let server = Server::listen(d, "tcp", Some("10809"));
    volume(d, "tcp", "ext4", "nbd://localhost/data", "noatime");
    let options = d.ok(&["volume", "inspect", "-f", "{{json .Options}}", "tcp"]);
    let wanted = r#"{"device":"nbd://localhost/data","o":"noatime","type":"ext4"}"#;
    assert_eq!(options, wanted);
    let script = "grep ' /data ' /proc/mounts; ls /data; echo kept >/data/file";
    let seen = d.sh(&["-v", "tcp:/data"], script);
    assert!(
        seen.contains(" /data ext4 rw,noatime") && seen.ends_with("lost+found"),
        "{seen}"
    );
    // All is written, and the file system in order, when the container is gone: `--rm` too.
    assert_eq!(server.file("/file").trim(), "kept");
    let about = output::run(Command::new("dumpe2fs").arg("-h").arg(&server.image), b"").ok();
    assert!(!about.contains("needs_recovery"), "{about}");
    assert_eq!(d.sh(&["-v", "tcp:/data"], "cat /data/file"), "kept");
}

fn container_nbd_read_only(d: &Daemon) {
    let server = Server::start(d, "ro");
    server.volume("ext4", "");
    let touch = "touch /data/x 2>&1; echo x >>/data/file; cat /data/file";
    d.sh(&["-v", "ro:/data"], "echo first >/data/file");
    let seen = d.sh(&["-v", "ro:/data:ro"], touch);
    assert!(
        seen.contains("Read-only file system") && seen.ends_with("first"),
        "{seen}"
    );
    volume(d, "ro2", "ext4", &server.uri(), "ro");
    // Those who only read don't disturb each other.
    let _other = Guest::new(d, &["-v", "ro2:/data"]);
    let seen = d.sh(&["-v", "ro2:/data"], touch);
    assert!(
        seen.contains("Read-only file system") && seen.ends_with("first"),
        "{seen}"
    );
    // Nor does one who may mount: the disk itself is read-only.
    let remount = "mount -o remount,rw /data; touch /data/x; ls /data";
    let seen = d.sh(&["--privileged", "-v", "ro2:/data"], remount);
    assert_eq!(seen, "file\nlost+found");
    let refused = d.docker(&["run", "--rm", "-v", "ro:/data", "busybox", "true"]);
    refused.code(125).says("in use");
}

fn container_nbd_raw_block(d: &Daemon) {
    let server = Server::start(d, "raw");
    server.volume("block", "");
    let script = "stat -c %F /dev/xvda; printf raw | dd of=/dev/xvda bs=512 conv=sync,notrunc 2>&1 | \
                  tail -n 1 | cut -d ' ' -f 1; head -c 3 /dev/xvda";
    let seen = d.sh(&["-v", "raw:/dev/xvda"], script);
    assert_eq!(seen, "block special file\n1+0\nraw");
    assert!(fs::read(&server.image).unwrap().starts_with(b"raw\0"));
    let script = "head -c 3 /dev/xvda; echo no >/dev/xvda || true";
    let seen = d.sh(&["-v", "raw:/dev/xvda:ro"], script);
    assert_eq!(seen, "raw");
    assert!(fs::read(&server.image).unwrap().starts_with(b"raw\0"));
}

fn container_nbd_volume_identity(d: &Daemon) {
    let servers = ["one", "two"].map(|name| Server::start(d, name));
    for server in &servers {
        let volume = server.volume("ext4", "");
        let bind = format!("{volume}:/data");
        d.sh(&["-v", &bind], &format!("echo {volume} >/data/name"));
    }
    for line in [["one:/a", "two:/b"], ["two:/b", "one:/a"]] {
        let seen = d.sh(&["-v", line[0], "-v", line[1]], "cat /a/name /b/name");
        assert_eq!(seen, "one\ntwo");
    }
    assert_eq!(servers[1].file("/name").trim(), "two");
}

/// Two machines at once would destroy its file system.
fn container_nbd_in_one_machine(d: &Daemon) {
    let server = Server::start(d, "lonely");
    server.volume("ext4", "");
    volume(d, "lonely2", "ext4", &server.uri(), "noatime");
    let first = Guest::new(d, &["--name", "has-it", "-v", "lonely:/data"]);
    for other in ["lonely:/data", "lonely2:/data"] {
        let line = ["run", "--rm", "-v", other, "busybox", "true"];
        let refused = d.docker(&line).code(125);
        refused.says("in use").says("container has-it").says("o=ro");
    }
    let network = format!("container:{}", &*first);
    let line = [
        "run", "--rm", "--network", &network, "-v", "lonely2:/data", "busybox", "true",
    ];
    d.docker(&line).code(125).says("already");
    first.exec("echo good >/data/x");
    d.ok(&["stop", "-t", "0", &first]);
    assert_eq!(d.sh(&["-v", "lonely2:/data"], "cat /data/x"), "good");
    // A machine for files alone has no volumes.
    d.ok(&["start", &first]);
    let copied = Guest::of(
        d,
        d.ok(&["create", "-v", "lonely:/data", "busybox", "true"]),
    );
    d.ok(&["cp", &format!("{}:/etc/passwd", &*copied), "-"]);
}

fn container_nbd_refused(d: &Daemon) {
    for (kind, device, reason) in [
        ("xfs", "nbd://h/x", "xfs"),
        ("ext4", "nbds://h/x", "TLS"),
        ("ext4", "nbd://h:0/x", "port"),
        ("ext4", "nbd+unix:///x?socket=relative", "absolute"),
    ] {
        let (kind, device) = (format!("type={kind}"), format!("device={device}"));
        let line = [
            "volume", "create", "--opt", &kind, "--opt", &device, "refused",
        ];
        d.docker(&line).code(1).says(reason);
    }
    volume(d, "process", "ext4", "nbd://127.0.0.1:1/", "");
    let line = [
        "run", "--rm", "--runtime", "process", "-v", "process:/x", "busybox", "true",
    ];
    d.docker(&line).code(125).says("--runtime vm");
    d.ok(&["volume", "rm", "process"]);
}

/// A server that comes back within seconds is not missed; the container of one that doesn't goes on.
fn container_nbd_server_lost(d: &Daemon) {
    let mut server = Server::start(d, "lost");
    server.volume("ext4", "");
    let guest = Guest::new(d, &["-v", "lost:/data"]);
    guest.exec("echo before >/data/before; sync");
    server.stop();
    server.start_again();
    assert_eq!(
        guest.exec("echo after >/data/after && sync && cat /data/before"),
        "before"
    );
    server.stop();
    let seen = guest.exec("dd if=/dev/zero of=/data/new bs=4k count=1 conv=fsync 2>&1; true");
    assert!(
        seen.contains("Input/output error") || seen.contains("Read-only"),
        "{seen}"
    );
    assert_eq!(guest.exec("echo goes on"), "goes on");
    d.ok(&["rm", "-f", &guest]);
    server.start_again();
    assert_eq!(d.sh(&["-v", "lost:/data"], "cat /data/after"), "after");
}

fn pod_shared_nbd_volume(d: &Daemon) {
    let server = Server::start(d, "shared");
    server.volume("ext4", "");
    let first = Guest::new(d, &["-v", "shared:/data"]);
    let second = member(&first, &["-v", "shared:/other:ro"]);
    first.exec("echo one >/data/x");
    assert_eq!(
        second.exec("cat /other/x; touch /other/y 2>/dev/null || echo ro"),
        "one\nro"
    );
    assert_eq!(disks(&second), 1);
    // It stays for those who have it, whoever had it first.
    d.ok(&["stop", "-t", "0", &first]);
    assert_eq!(second.exec("cat /other/x"), "one");
    let third = member(&second, &["-v", "shared:/data"]);
    third.exec("echo three >/data/x");
    assert_eq!(second.exec("cat /other/x"), "three");
    let fourth = member(&second, &[]);
    for last in [second, third] {
        d.ok(&["rm", "-f", &last]);
    }
    assert_eq!(disks(&fourth), 0);
    assert_eq!(server.file("/x").trim(), "three");
    // The machine that goes on has it no more: another one can.
    assert_eq!(d.sh(&["-v", "shared:/data"], "cat /data/x"), "three");
}

fn pod_multiple_nbd_volumes(d: &Daemon) {
    let servers = ["left", "right"].map(|name| Server::start(d, name));
    for server in &servers {
        server.volume("ext4", "");
    }
    let first = Guest::new(d, &[]);
    let left = member(&first, &["-v", "left:/data"]);
    let right = member(&first, &["-v", "right:/data"]);
    left.exec("echo left >/data/x");
    right.exec("echo right >/data/x");
    assert_eq!(left.exec("cat /data/x"), "left");
    assert_eq!(disks(&first), 2);
    d.ok(&["rm", "-f", &left]);
    assert_eq!(
        (disks(&first), right.exec("cat /data/x").as_str()),
        (1, "right")
    );
    assert_eq!(servers[0].file("/x").trim(), "left");
}

/// Nobody connects for a volume that no container has.
fn pod_unreferenced_nbd_volume(d: &Daemon) {
    let socket = d.dir().join("unused.sock");
    let listener = UnixListener::bind(&socket).unwrap();
    listener.set_nonblocking(true).unwrap();
    let uri = format!("nbd+unix:///?socket={}", socket.display());
    volume(d, "unused", "ext4", &uri, "");
    let first = Guest::new(d, &[]);
    assert_eq!(disks(&member(&first, &[])), 0);
    let nobody = listener.accept().unwrap_err();
    assert_eq!(nobody.kind(), io::ErrorKind::WouldBlock);
}

fn pod_nbd_volume_persistence(d: &Daemon) {
    let server = Server::start(d, "stays");
    server.volume("ext4", "");
    for round in 1..=2 {
        let first = Guest::new(d, &["-v", "stays:/data"]);
        let second = member(&first, &["-v", "stays:/data"]);
        second.exec("echo x >>/data/rounds");
        assert_eq!(first.exec("wc -l </data/rounds"), round.to_string());
        // Killed rather than stopped.
        d.ok(&["rm", "-f", &first, &second]);
    }
    assert_eq!(server.file("/rounds").trim(), "x\nx");
}

fn pod_nbd_concurrent_writes(d: &Daemon) {
    let server = Server::start(d, "busy");
    server.volume("ext4", "");
    let first = Guest::new(d, &["-v", "busy:/data"]);
    let second = member(&first, &["-v", "busy:/data"]);
    let write = |guest: &Guest, name: &str| {
        guest.exec(&format!(
            "for i in 1 2 3 4; do yes {name}$i | head -c 400000 >/data/{name}$i; done; sync"
        ));
    };
    std::thread::scope(|scope| {
        scope.spawn(|| write(&first, "a"));
        scope.spawn(|| write(&second, "b"));
    });
    let check = "for n in a b; do for i in 1 2 3 4; do yes $n$i | head -c 400000 | cmp - \
                 /data/$n$i || echo $n$i; done; done; echo compared";
    assert_eq!(second.exec(check), "compared");
    d.ok(&["rm", "-f", &first, &second]);
    output::run(Command::new("e2fsck").args(["-fn"]).arg(&server.image), b"").ok();
    assert_eq!(d.sh(&["-v", "busy:/data"], check), "compared");
}

fn pod_nbd_volume_identity(d: &Daemon) {
    let servers = ["first", "second"].map(|name| Server::start(d, name));
    for server in &servers {
        server.volume("ext4", "");
    }
    let pod = Guest::new(d, &["-v", "first:/a", "-v", "second:/b"]);
    pod.exec("echo first >/a/name; echo second >/b/name");
    let other = member(&pod, &["-v", "second:/b", "-v", "first:/a"]);
    assert_eq!(other.exec("cat /a/name /b/name"), "first\nsecond");
    assert_eq!(disks(&other), 2);
}

/// Clear words, nothing left, and the pod goes on.
fn pod_invalid_volume_reference(d: &Daemon) {
    let nowhere = d.dir().join("nowhere.sock");
    let uri = format!("nbd+unix:///x?socket={}", nowhere.display());
    volume(d, "nowhere", "ext4", &uri, "");
    let server = Server::start(d, "empty");
    volume(
        d,
        "wrong",
        "ext4",
        &server.uri().replace("data", "other"),
        "",
    );
    volume(d, "image", "erofs", &server.uri(), "");
    let pod = Guest::new(d, &[]);
    let network = format!("container:{}", &*pod);
    for (name, reason) in [
        ("nowhere", "No such file"),
        ("wrong", "not"),
        ("image", "as erofs"),
    ] {
        let bind = format!("{name}:/data");
        for flags in [&[][..], &["--network", &network]] {
            let line = [&["run", "--rm"], flags, &["-v", &bind, "busybox", "true"]].concat();
            d.docker(&line).code(125).says(reason);
        }
        d.ok(&["volume", "rm", name]);
    }
    assert_eq!(disks(&pod), 0);
    d.docker(&["run", "--rm", "-v", "-no:/x", "busybox", "true"])
        .code(125);
}

/// As Docker has it: the volume is there already, and stays what it is.
fn pod_duplicate_volume_name(d: &Daemon) {
    let server = Server::start(d, "twice");
    server.volume("ext4", "");
    volume(d, "twice", "ext4", "nbd://127.0.0.1:1/other", "");
    let device = d.ok(&["volume", "inspect", "-f", "{{.Options.device}}", "twice"]);
    assert_eq!(device, server.uri());
    let line = [
        "run", "--rm", "-v", "twice:/a", "-v", "twice:/a:ro", "busybox", "true",
    ];
    d.docker(&line).code(125).says("Duplicate mount point: /a");
    // At two places it is one.
    let seen = d.sh(
        &["-v", "twice:/a", "-v", "twice:/b"],
        "echo x >/a/x; cat /b/x",
    );
    assert_eq!(seen, "x");
}
