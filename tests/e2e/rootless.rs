//! An ordinary user's daemon: in namespaces of its own, with slirp4netns.
//!
//! The user exists in a copy of `/etc` only, which a mount namespace of the test's own shows in place
//! of the host's.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use coracle_tests::netns::Netns;
use coracle_tests::output::{self, Output};
use coracle_tests::{fixture, leak, wait_until};
use rustix::process::Signal;

/// The user's and the group's number, which should be nobody's.
const USER: u32 = 61_234;
/// As in the script below.
const SUBORDINATE: std::ops::Range<u32> = 500_000..565_536;
const TOOLS: [&str; 6] = [
    "newuidmap", "newgidmap", "slirp4netns", "nsenter", "setpriv", "docker",
];

/// Makes the user in a copy of /etc, and a device for slirp4netns. `$1` is the directory, `$2` the user.
const STAGE: &str = r#"
    ip link set lo up
    mkdir -p "$1/etc" "$1/dev" "$1/home" "$1/run"
    chown "$2:$2" "$1/home" "$1/run"
    mount -t tmpfs -o mode=755 etc "$1/etc"
    cp -a /etc/. "$1/etc/"
    echo "rootless:x:$2:$2::$1/home:/bin/sh" >>"$1/etc/passwd"
    echo "rootless:x:$2:" >>"$1/etc/group"
    echo "rootless:500000:65536" >"$1/etc/subuid"
    echo "rootless:500000:65536" >"$1/etc/subgid"
    mount --bind "$1/etc" /etc
    mount -t tmpfs -o dev,mode=755 dev "$1/dev"
    mknod -m 666 "$1/dev/tun" c 10 200
    mount --bind "$1/dev" /dev/net
    echo staged
    read -r end
"#;

/// A daemon of an ordinary user, and the namespaces that stand for the host.
struct Rootless {
    dir: PathBuf,
    stage: Child,
    netns: Netns,
    daemon: Option<Child>,
}

impl Rootless {
    fn start() -> Option<Self> {
        if !coracle_tests::root() {
            return None;
        }
        let in_path = |tool: &&str| {
            let path = std::env::var_os("PATH").unwrap_or_default();
            std::env::split_paths(&path).any(|dir| dir.join(tool).exists())
        };
        if let Some(missing) = TOOLS.iter().find(|tool| !in_path(tool)) {
            eprintln!("skipped: {missing} is not installed");
            return None;
        }
        if !std::path::Path::new("/dev/net").exists() {
            eprintln!("skipped: there is no /dev/net");
            return None;
        }
        let dir = std::env::temp_dir().join(format!("coracle-rootless-{}", std::process::id()));
        let bin = dir.join("bin");
        fs::create_dir_all(&bin).unwrap();
        // The user may not see the target directory.
        for name in ["coracled", "coracle-shim"] {
            fs::copy(fixture::binary(name), bin.join(name)).unwrap();
        }
        let mut stage = Command::new("unshare")
            .args(["--mount", "--net", "--propagation", "private"])
            .args(["sh", "-euc", STAGE, "stage"])
            .arg(&dir)
            .arg(USER.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut word = String::new();
        let said = BufReader::new(stage.stdout.take().unwrap()).read_line(&mut word);
        assert!(said.is_ok() && word == "staged\n", "no stage: {word:?}");
        let netns = Netns::of(&stage.id().to_string());
        let mut rootless = Self {
            dir,
            stage,
            netns,
            daemon: None,
        };
        rootless.spawn();
        Some(rootless)
    }

    fn spawn(&mut self) {
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.dir.join("log"));
        let mut command = Command::new("nsenter");
        command
            .args(["--target", &self.stage.id().to_string(), "--mount", "--net"])
            .args(["--", "setpriv", "--clear-groups", "--inh-caps=-all"])
            .args([format!("--reuid={USER}"), format!("--regid={USER}")])
            .arg(self.dir.join("bin/coracled"))
            .current_dir("/")
            .env("HOME", self.dir.join("home"))
            .env("XDG_RUNTIME_DIR", self.dir.join("run"))
            .env_remove("XDG_DATA_HOME")
            .env_remove("XDG_CONFIG_HOME")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log.unwrap());
        self.daemon = Some(command.spawn().unwrap());
        wait_until("it answers", || {
            let ended = self.daemon.as_mut().unwrap().try_wait().unwrap();
            assert!(ended.is_none(), "{ended:?}: {}", self.log());
            self.docker(&["version"]).code == 0
        });
    }

    fn log(&self) -> String {
        fs::read_to_string(self.dir.join("log")).unwrap_or_default()
    }

    #[track_caller]
    fn docker(&self, args: &[&str]) -> Output {
        let socket = self.dir.join("run/coracle/coracle.sock");
        let mut command = Command::new("docker");
        command
            .args(args)
            .env("DOCKER_HOST", format!("unix://{}", socket.display()))
            .env("DOCKER_CONFIG", self.dir.join("config"))
            .env_remove("DOCKER_CONTEXT");
        output::run(&mut command, b"")
    }

    #[track_caller]
    fn ok(&self, args: &[&str]) -> String {
        self.docker(args).ok()
    }

    /// What a web server on the host's side says, if there is one.
    fn get(&self, address: &str) -> Option<String> {
        let get = || {
            let mut stream = TcpStream::connect(address)?;
            stream.set_read_timeout(Some(Duration::from_secs(5)))?;
            stream.write_all(b"GET / HTTP/1.0\r\n\r\n")?;
            let mut text = String::new();
            stream.read_to_string(&mut text)?;
            Ok::<_, std::io::Error>(text)
        };
        let text = self.netns.enter(get).ok()?;
        text.split_once("\r\n\r\n").map(|(_, body)| body.to_owned())
    }

    /// The holder of the namespaces, or slirp4netns.
    fn helper(&self, name: &str) -> i32 {
        let path = self.dir.join("run/coracle/rootless").join(name);
        let text = fs::read_to_string(path).unwrap_or_default();
        let pid = text.split_whitespace().next();
        pid.and_then(|pid| pid.parse().ok()).unwrap_or(0)
    }

    fn kill(&mut self) {
        if let Some(mut daemon) = self.daemon.take() {
            let _ = daemon.kill();
            let _ = daemon.wait();
        }
    }
}

impl Drop for Rootless {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the daemon's log:\n{}", self.log());
        }
        self.kill();
        for pid in processes() {
            leak::kill(pid, Signal::KILL);
        }
        drop(self.stage.stdin.take());
        let _ = self.stage.wait();
        let _ = fs::remove_dir_all(&self.dir);
    }
}

/// All processes of the user, those in containers too.
fn processes() -> Vec<i32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter(|pid| is_alive(*pid))
        .filter(|pid| {
            let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
            let ids = status.lines().find_map(|line| line.strip_prefix("Uid:"));
            let id = ids.and_then(|ids| ids.split_whitespace().next());
            id.and_then(|id| id.parse::<u32>().ok())
                .is_some_and(|id| id == USER || SUBORDINATE.contains(&id))
        })
        .collect()
}

fn is_alive(pid: i32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    !stat.is_empty() && !stat.contains(") Z ")
}

#[test]
fn an_ordinary_users_daemon() {
    let Some(mut d) = Rootless::start() else {
        return;
    };
    let image = fixture("busybox").join("docker.tar");
    d.ok(&["load", "-q", "-i", &image.to_string_lossy()]);

    // The user is root inside, and the ids above are the subordinate ones.
    let seen = d.ok(&[
        "run",
        "--rm",
        "busybox",
        "sh",
        "-c",
        "id -u; touch /x; chown 33:33 /x; stat -c %u /x; cat /proc/self/uid_map",
    ]);
    let words: Vec<&str> = seen.split_whitespace().collect();
    let user = USER.to_string();
    assert_eq!(
        words,
        ["0", "33", "0", &user, "1", "1", "500000", "65536"],
        "{seen}"
    );

    // Ports are published where the user is, on IPv4 alone.
    d.docker(&["create", "-p", "[::1]:8090:80", "busybox"])
        .code(1)
        .says("IPv6");
    let web = d.ok(&[
        "run", "-d", "--name", "web", "-p", "8088:80", "-p", "127.0.0.1:8089:80", "busybox", "sh",
        "-c", "echo rootless >/index.html; exec httpd -f -h / -p 80",
    ]);
    assert_eq!(
        d.ok(&["port", "web"]),
        "80/tcp -> 0.0.0.0:8088\n80/tcp -> 127.0.0.1:8089"
    );
    for address in ["127.0.0.1:8088", "127.0.0.1:8089"] {
        wait_until(address, || d.get(address).as_deref() == Some("rootless\n"));
    }
    d.docker(&["run", "--rm", "-p", "8088:80", "busybox", "true"])
        .code(125)
        .says("port is already allocated");
    assert_eq!(d.ok(&["exec", "web", "id", "-u"]), "0");

    // Containers and namespaces outlive the daemon, and slirp4netns is replaced.
    let pid = d.ok(&["inspect", "-f", "{{.State.Pid}}", "web"]);
    let (holder, slirp) = (d.helper("holder"), d.helper("slirp"));
    assert!(is_alive(holder) && is_alive(slirp), "{holder} {slirp}");
    d.kill();
    d.spawn();
    assert_eq!((d.helper("holder"), d.helper("slirp")), (holder, slirp));
    assert_eq!(d.get("127.0.0.1:8088").as_deref(), Some("rootless\n"));
    d.kill();
    leak::kill(slirp, Signal::KILL);
    wait_until("slirp4netns is gone", || !is_alive(slirp));
    assert_eq!(d.get("127.0.0.1:8088"), None);
    d.spawn();
    assert_eq!(d.helper("holder"), holder);
    assert_ne!(d.helper("slirp"), slirp);
    assert_eq!(d.ok(&["inspect", "-f", "{{.State.Pid}}", "web"]), pid);
    assert_eq!(d.ok(&["exec", "web", "echo", "still"]), "still");
    for address in ["127.0.0.1:8088", "127.0.0.1:8089"] {
        assert_eq!(d.get(address).as_deref(), Some("rootless\n"), "{address}");
    }

    among_themselves(&d);
    names(&d);

    // Everything goes: what the daemon made with it, slirp4netns with the namespaces' holder.
    d.ok(&["rm", "-f", "-v", &web]);
    assert_eq!(d.get("127.0.0.1:8088"), None);
    let mut daemon = d.daemon.take().unwrap();
    leak::kill(daemon.id().cast_signed(), Signal::TERM);
    assert_eq!(output::wait(&mut daemon, Duration::from_secs(30)), Some(0));
    leak::kill(d.helper("holder"), Signal::KILL);
    wait_until("nothing is left", || processes().is_empty());
}

/// Containers in each other's namespaces, and what ends them without a control group.
fn among_themselves(d: &Rootless) {
    let run = ["run", "-d", "--network", "none", "--name"];
    d.ok(&[
        &run[..],
        &["one", "--ipc", "shareable", "busybox", "sleep", "1000"],
    ]
    .concat());
    d.ok(&["exec", "one", "touch", "/dev/shm/ones"]);
    let flags = [
        "run", "--rm", "--network", "none", "--ipc", "container:one", "--pid", "container:one",
    ];
    let script = "ls /dev/shm; ps -o args";
    let seen = d.ok(&[&flags[..], &["busybox", "sh", "-c", script]].concat());
    assert!(
        seen.starts_with("ones\n") && seen.contains("sleep 1000"),
        "{seen}"
    );

    let script = "(trap '' TERM; sleep 1001; true) & setsid sleep 1002 & sleep 1003; true";
    for pid in ["container:one", "host"] {
        let flags = ["guest", "--pid", pid, "busybox", "sh", "-c", script];
        d.ok(&[&run[..], &flags].concat());
        wait_until("it runs", || sleeping() == 3);
        d.ok(&["kill", "guest"]);
        wait_until("what it started is gone", || sleeping() == 0);
        assert_eq!(
            d.ok(&["inspect", "-f", "{{.State.ExitCode}}", "guest"]),
            "137"
        );
        d.ok(&["rm", "guest"]);
    }

    for flags in [&[][..], &["--init"], &["-u", "1000"]] {
        let sleep = [&run[..], &["guest"], flags, &["busybox", "sleep", "1001"]].concat();
        d.ok(&sleep);
        let pid = d.ok(&["inspect", "-f", "{{.State.Pid}}", "guest"]);
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let shim = status.lines().find_map(|line| line.strip_prefix("PPid:"));
        leak::kill(shim.unwrap().trim().parse().unwrap(), Signal::KILL);
        wait_until("it is gone", || {
            !is_alive(pid.parse().unwrap()) && sleeping() == 0
        });
        d.ok(&["rm", "-f", "guest"]);
    }
    d.ok(&["rm", "-f", "one"]);
}

/// Containers find each other.
fn names(d: &Rootless) {
    d.ok(&["network", "create", "net"]);
    for name in ["ours", "peer"] {
        let run = ["run", "-d", "--network", "net", "--name", name];
        d.ok(&[&run[..], &["busybox", "sleep", "1000"]].concat());
    }
    d.ok(&["exec", "ours", "ping", "-c", "1", "-W", "5", "peer"]);
    d.ok(&["rm", "-f", "ours", "peer"]);
    d.ok(&["network", "rm", "net"]);
}

/// How many of the sleeping processes of the test above there are.
fn sleeping() -> usize {
    let line = |pid: &i32| fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    processes()
        .iter()
        .filter(|pid| line(pid).starts_with("sleep\u{0}100"))
        .filter(|pid| !line(pid).starts_with("sleep\u{0}1000"))
        .count()
}
