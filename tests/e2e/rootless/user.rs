//! An ordinary user with a daemon. The user exists in a copy of `/etc` only, which a mount namespace of
//! the test's own shows in place of the host's.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use coracle_tests::netns::Netns;
use coracle_tests::output::{self, Output};
use coracle_tests::{fixture, leak, wait_until};
use rustix::process::Signal;

/// Who it is: for each test another, as tests run side by side. All numbers should be nobody's.
#[derive(Clone, Debug)]
pub(crate) struct User {
    /// The user's and the group's number.
    pub(crate) id: u32,
    /// The first of 65536 subordinate ones, if there are any.
    pub(crate) subordinate: Option<u32>,
    /// Flags of the daemon.
    pub(crate) flags: &'static [&'static str],
    /// What is to be beside it.
    pub(crate) programs: Vec<PathBuf>,
}

const TOOLS: [&str; 6] = [
    "newuidmap", "newgidmap", "slirp4netns", "nsenter", "setpriv", "docker",
];

/// Makes the user in a copy of /etc, and a device for taps. `$1` is the directory, `$2` the user, `$3`
/// the first subordinate id, or 0.
const STAGE: &str = r#"
    ip link set lo up
    mkdir -p "$1/etc" "$1/dev" "$1/home" "$1/run"
    chown "$2:$2" "$1/home" "$1/run"
    mount -t tmpfs -o mode=755 etc "$1/etc"
    cp -a /etc/. "$1/etc/"
    echo "rootless:x:$2:$2::$1/home:/bin/sh" >>"$1/etc/passwd"
    echo "rootless:x:$2:" >>"$1/etc/group"
    test "$3" = 0 || echo "rootless:$3:65536" >"$1/etc/subuid"
    test "$3" = 0 || echo "rootless:$3:65536" >"$1/etc/subgid"
    mount --bind "$1/etc" /etc
    mount -t tmpfs -o dev,mode=755 dev "$1/dev"
    mknod -m 666 "$1/dev/tun" c 10 200
    mount --bind "$1/dev" /dev/net
    echo staged
    read -r end
"#;

/// A daemon of an ordinary user, and the namespaces that stand for the host.
pub(crate) struct Rootless {
    user: User,
    dir: PathBuf,
    stage: Child,
    netns: Netns,
    daemon: Option<Child>,
}

impl Rootless {
    /// The user's daemon, running; nothing, told with the reason, where there can be none.
    pub(crate) fn start(user: User) -> Option<Self> {
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
        let name = format!("coracle-rootless-{}-{}", user.id, std::process::id());
        let dir = std::env::temp_dir().join(name);
        let bin = dir.join("bin");
        fs::create_dir_all(&bin).unwrap();
        // The user may not see the target directory.
        for name in ["coracled", "coracle-shim"] {
            fs::copy(fixture::binary(name), bin.join(name)).unwrap();
        }
        for program in &user.programs {
            fs::copy(program, bin.join(program.file_name().unwrap())).unwrap();
        }
        let mut stage = Command::new("unshare")
            .args(["--mount", "--net", "--propagation", "private"])
            .args(["sh", "-euc", STAGE, "stage"])
            .arg(&dir)
            .args([user.id, user.subordinate.unwrap_or(0)].map(|id| id.to_string()))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut word = String::new();
        let said = BufReader::new(stage.stdout.take().unwrap()).read_line(&mut word);
        assert!(said.is_ok() && word == "staged\n", "no stage: {word:?}");
        let netns = Netns::of(&stage.id().to_string());
        let mut rootless = Self {
            user,
            dir,
            stage,
            netns,
            daemon: None,
        };
        rootless.spawn();
        Some(rootless)
    }

    /// Starts the daemon.
    pub(crate) fn spawn(&mut self) {
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.dir.join("log"));
        let mut command = self.as_user(&self.dir.join("bin/coracled"));
        command
            .args(self.user.flags)
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

    /// A program, run by the user.
    pub(crate) fn as_user(&self, program: &Path) -> Command {
        let mut command = Command::new("nsenter");
        command
            .args(["--target", &self.stage.id().to_string(), "--mount", "--net"])
            .args(["--", "setpriv", "--clear-groups", "--inh-caps=-all"])
            .args(["--reuid", "--regid"].map(|flag| format!("{flag}={}", self.user.id)))
            .arg(program)
            .current_dir("/")
            .env("HOME", self.dir.join("home"))
            .env("XDG_RUNTIME_DIR", self.dir.join("run"))
            .env("CORACLE_LOG", "debug")
            .env_remove("XDG_DATA_HOME")
            .env_remove("XDG_CONFIG_HOME")
            .env_remove("DOCKER_HOST");
        command
    }

    /// What the daemon says.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.dir.join("log")).unwrap_or_default()
    }

    /// Runs docker's client.
    #[track_caller]
    pub(crate) fn docker(&self, args: &[&str]) -> Output {
        let socket = self.dir.join("run/coracle/coracle.sock");
        let mut command = Command::new("docker");
        command
            .args(args)
            .env("DOCKER_HOST", format!("unix://{}", socket.display()))
            .env("DOCKER_CONFIG", self.dir.join("config"))
            .env_remove("DOCKER_CONTEXT");
        output::run(&mut command, b"")
    }

    /// Runs docker's client, which has to succeed; its output.
    #[track_caller]
    pub(crate) fn ok(&self, args: &[&str]) -> String {
        self.docker(args).ok()
    }

    /// What a web server on the host's side says, if there is one.
    pub(crate) fn get(&self, address: &str) -> Option<String> {
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
    pub(crate) fn helper(&self, name: &str) -> i32 {
        let path = self.dir.join("run/coracle/rootless").join(name);
        let text = fs::read_to_string(path).unwrap_or_default();
        let pid = text.split_whitespace().next();
        pid.and_then(|pid| pid.parse().ok()).unwrap_or(0)
    }

    /// All processes of the user, those in containers too.
    pub(crate) fn processes(&self) -> Vec<i32> {
        let subordinate = self.user.subordinate.map(|first| first..first + 65_536);
        let subordinate = subordinate.unwrap_or_default();
        let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
        let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        pids.filter(|pid| is_alive(*pid))
            .filter(|pid| {
                owner(*pid).is_some_and(|id| id == self.user.id || subordinate.contains(&id))
            })
            .collect()
    }

    /// The user's directory, of which `home` and `run` are the user's own.
    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Ends the daemon and, with the namespaces, all else; nothing may be left.
    pub(crate) fn end(&mut self) {
        let mut daemon = self.daemon.take().unwrap();
        leak::kill(daemon.id().cast_signed(), Signal::TERM);
        assert_eq!(output::wait(&mut daemon, Duration::from_secs(30)), Some(0));
        leak::kill(self.helper("holder"), Signal::KILL);
        wait_until("nothing is left", || self.processes().is_empty());
    }

    /// Kills the daemon.
    pub(crate) fn kill(&mut self) {
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
        for pid in self.processes() {
            leak::kill(pid, Signal::KILL);
        }
        drop(self.stage.stdin.take());
        let _ = self.stage.wait();
        let _ = fs::remove_dir_all(&self.dir);
    }
}

/// Whether it runs.
pub(crate) fn is_alive(pid: i32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    !stat.is_empty() && !stat.contains(") Z ")
}

/// Whose a process is, by the host's numbers.
pub(crate) fn owner(pid: i32) -> Option<u32> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let ids = status.lines().find_map(|line| line.strip_prefix("Uid:"))?;
    ids.split_whitespace().next()?.parse().ok()
}
