//! A daemon of a test's own.

use std::fs::{self, File};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value;

use crate::fixture::{binary, fixture};
use crate::http::{self, Reply};
use crate::leak;
use crate::netns::Netns;
use crate::output::{self, Output};

/// How a daemon is started.
#[derive(Clone, Debug)]
pub struct Options {
    /// More flags for it.
    pub args: Vec<String>,
    /// Fixtures to load into it.
    pub images: Vec<&'static str>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            args: Vec::new(),
            images: vec!["busybox"],
        }
    }
}

/// A running daemon with directories, a socket, a network namespace and a control group of its own.
/// Its end checks that nothing is left of it.
#[derive(Debug)]
pub struct Daemon {
    dir: PathBuf,
    netns: Netns,
    cgroup: String,
    options: Options,
    child: Option<Child>,
}

impl Daemon {
    /// Starts one that has the busybox image; as all that start one, nothing where the tests lack
    /// the privileges.
    ///
    /// # Panics
    /// If it doesn't come up.
    #[must_use]
    pub fn start() -> Option<Self> {
        Self::with(Options::default())
    }

    /// Starts one that has these fixtures.
    ///
    /// # Panics
    /// If it doesn't come up.
    #[must_use]
    pub fn having(images: &[&'static str]) -> Option<Self> {
        Self::with(Options {
            images: images.to_vec(),
            ..Options::default()
        })
    }

    /// Starts one with more flags.
    ///
    /// # Panics
    /// If it doesn't come up.
    #[must_use]
    pub fn flags(args: &[&str]) -> Option<Self> {
        let args = args.iter().map(|arg| (*arg).to_owned()).collect();
        Self::with(Options {
            args,
            ..Options::default()
        })
    }

    /// Starts one.
    ///
    /// # Panics
    /// If it doesn't come up.
    #[must_use]
    pub fn with(options: Options) -> Option<Self> {
        if !crate::root() {
            return None;
        }
        static NEXT: AtomicU32 = AtomicU32::new(0);
        sweep_the_dead();
        let name = format!(
            "{PREFIX}{}-{}",
            std::process::id(),
            NEXT.fetch_add(1, Ordering::Relaxed)
        );
        let dir = std::env::temp_dir().join(&name);
        fs::create_dir_all(dir.join("config")).expect("make a directory");
        let cgroup = format!("/{name}");
        let mut daemon = Self {
            dir,
            netns: Netns::new(),
            cgroup,
            options,
            child: None,
        };
        daemon.spawn();
        for image in daemon.options.images.clone() {
            let archive = fixture(image).join("docker.tar");
            daemon.ok(&["load", "-q", "-i", &archive.to_string_lossy()]);
        }
        Some(daemon)
    }

    /// Starts the process and waits until it answers.
    ///
    /// # Panics
    /// If it doesn't within 20 seconds.
    #[track_caller]
    pub fn spawn(&mut self) {
        assert!(self.child.is_none(), "the daemon runs already");
        let mut command = self.command();
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.log_path());
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log.expect("open the log"));
        let child = self
            .netns
            .enter(|| command.spawn())
            .expect("start coracled");
        self.child = Some(child);
        let end = Instant::now() + Duration::from_secs(20);
        while !self.answers() {
            let ended = self
                .child
                .as_mut()
                .and_then(|child| child.try_wait().ok().flatten());
            assert!(
                ended.is_none() && Instant::now() < end,
                "coracled did not come up ({ended:?}):\n{}",
                self.log()
            );
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// More flags for its next start.
    pub fn more_flags(&mut self, args: &[&str]) {
        self.options
            .args
            .extend(args.iter().map(|arg| (*arg).to_owned()));
    }

    /// The daemon's command line; not started.
    #[must_use]
    pub fn command(&self) -> Command {
        let mut command = Command::new(binary("coracled"));
        command
            .arg("--data-root")
            .arg(self.dir.join("data"))
            .arg("--exec-root")
            .arg(self.dir.join("exec"))
            .arg("--host")
            .arg(self.host())
            .args(["--cgroup-parent", &self.cgroup])
            .args(&self.options.args)
            .env("CORACLE_LOG", "debug");
        command
    }

    fn answers(&self) -> bool {
        UnixStream::connect(self.socket()).is_ok() && self.docker(&["version"]).code == 0
    }

    /// The daemon's directory: `data`, `exec`, the socket and the log are in it.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The socket's path.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.dir.join("d.sock")
    }

    /// The socket as `DOCKER_HOST` has it.
    #[must_use]
    pub fn host(&self) -> String {
        format!("unix://{}", self.socket().display())
    }

    /// The control group above all its containers'.
    #[must_use]
    pub fn cgroup(&self) -> &str {
        &self.cgroup
    }

    /// The network namespace it lives in.
    #[must_use]
    pub fn netns(&self) -> &Netns {
        &self.netns
    }

    /// Its process id.
    ///
    /// # Panics
    /// If it doesn't run.
    #[must_use]
    pub fn pid(&self) -> i32 {
        self.child
            .as_ref()
            .expect("a running daemon")
            .id()
            .cast_signed()
    }

    fn log_path(&self) -> PathBuf {
        self.dir.join("log")
    }

    /// What it has logged.
    #[must_use]
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(self.log_path()).unwrap_or_default()).into_owned()
    }

    /// A docker command for this daemon; not started.
    #[must_use]
    pub fn docker_command(&self, args: &[&str]) -> Command {
        let mut command = Command::new("docker");
        command
            .args(args)
            .env("DOCKER_HOST", self.host())
            .env("DOCKER_CONFIG", self.dir.join("config"))
            .env_remove("DOCKER_CONTEXT");
        command
    }

    /// Runs docker.
    #[track_caller]
    pub fn docker(&self, args: &[&str]) -> Output {
        self.docker_in(args, b"")
    }

    /// Runs docker with something on its standard input.
    #[track_caller]
    pub fn docker_in(&self, args: &[&str], input: &[u8]) -> Output {
        output::run(&mut self.docker_command(args), input)
    }

    /// Runs docker, which must succeed; the answer is its standard output, trimmed.
    #[track_caller]
    pub fn ok(&self, args: &[&str]) -> String {
        self.docker(args).ok()
    }

    /// Runs docker, which must end with this code.
    #[track_caller]
    pub fn fails(&self, code: i32, args: &[&str]) -> Output {
        self.docker(args).code(code)
    }

    /// `docker inspect` of one thing, through a template.
    #[track_caller]
    pub fn inspect(&self, name: &str, template: &str) -> String {
        self.ok(&["inspect", "--format", template, name])
    }

    /// Waits until a container's template says this.
    #[track_caller]
    pub fn until(&self, name: &str, template: &str, wanted: &str) {
        let mut last = String::new();
        let end = Instant::now() + Duration::from_secs(30);
        while Instant::now() < end {
            last = self
                .docker(&["inspect", "--format", template, name])
                .stdout
                .trim()
                .to_owned();
            if last == wanted {
                return;
            }
            std::thread::sleep(Duration::from_millis(30));
        }
        panic!("{name}: {template} is {last:?}, not {wanted:?}");
    }

    /// Sends a request of one's own.
    #[track_caller]
    #[must_use]
    pub fn api(&self, method: &str, path: &str, body: Option<&Value>) -> Reply {
        http::request(&self.socket(), method, path, body)
    }

    /// Starts a container that sleeps, with more flags; the answer is its id.
    #[track_caller]
    pub fn sleeper(&self, flags: &[&str]) -> String {
        let line = [
            &["run", "-d"],
            network(flags),
            flags,
            &["busybox", "sleep", "1000"],
        ];
        self.ok(&line.concat())
    }

    /// Runs a shell script in a container without network that is removed; the answer is its
    /// standard output.
    #[track_caller]
    pub fn sh(&self, flags: &[&str], script: &str) -> String {
        let line = [
            &["run", "--rm"],
            network(flags),
            flags,
            &["busybox", "sh", "-c", script],
        ];
        self.ok(&line.concat())
    }

    /// What a container's control group has in a file: `v1` is `CONTROLLER/FILE`, `v2` the file.
    ///
    /// # Panics
    /// If there is no such file.
    #[track_caller]
    #[must_use]
    pub fn cgroup_file(&self, id: &str, v1: &str, v2: &str) -> String {
        let top = Path::new("/sys/fs/cgroup");
        let parent = self.cgroup.trim_matches('/');
        let path = if top.join("cgroup.controllers").exists() {
            top.join(parent).join(id).join(v2)
        } else {
            let (controller, file) = v1.split_once('/').expect("CONTROLLER/FILE");
            top.join(controller).join(parent).join(id).join(file)
        };
        let text = fs::read_to_string(&path);
        text.unwrap_or_else(|error| panic!("{}: {error}", path.display()))
            .trim()
            .to_owned()
    }

    /// Runs a command in the daemon's network namespace.
    #[track_caller]
    pub fn inside(&self, program: &str, args: &[&str]) -> Output {
        self.netns
            .enter(|| output::run(Command::new(program).args(args), b""))
    }

    /// SIGKILL to the daemon alone.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// SIGKILL, then a new start.
    #[track_caller]
    pub fn crash(&mut self) {
        self.kill();
        self.spawn();
    }

    /// SIGTERM; the answer is its exit code, nothing if it doesn't end within 30 seconds.
    pub fn terminate(&mut self) -> Option<i32> {
        let mut child = self.child.take()?;
        leak::kill(child.id().cast_signed(), Signal::TERM);
        let code = output::wait(&mut child, Duration::from_secs(30));
        if code.is_none() {
            let _ = child.kill();
            let _ = child.wait();
        }
        code
    }

    /// Removes all containers, stops the daemon, and says what is left of it.
    fn end(&mut self) -> Vec<String> {
        let mut left = Vec::new();
        if self.child.is_some() {
            let ids = self.docker(&["ps", "-aq"]).stdout;
            let ids: Vec<&str> = ids.split_whitespace().collect();
            if !ids.is_empty() {
                let removed = self.docker(&[&["rm", "-f"], ids.as_slice()].concat());
                if removed.code != 0 {
                    left.push(format!("containers: {removed}"));
                }
            }
            match self.terminate() {
                Some(0) => {}
                code => left.push(format!("the daemon's end on SIGTERM: {code:?}")),
            }
        }
        // Shims end by themselves, a moment after their daemon has let go of them.
        let end = Instant::now() + Duration::from_secs(5);
        let mut more = self.leaks();
        while !more.is_empty() && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(20));
            more = self.leaks();
        }
        left.extend(more);
        if self.log().contains("panicked at") {
            left.push("a panic in the daemon's log".into());
        }
        left
    }

    fn leaks(&self) -> Vec<String> {
        let mut found = Vec::new();
        for process in leak::processes(&self.dir, &self.cgroup, self.netns.inode(), &[]) {
            found.push(format!("process {} {}", process.pid, process.line));
        }
        for point in leak::mounts(&self.dir) {
            found.push(format!("mount {}", point.display()));
        }
        for group in leak::cgroups(&self.cgroup) {
            // Their parent may stay: it is the daemon's, not a container's.
            if group
                .file_name()
                .is_none_or(|name| *name != *self.cgroup.trim_matches('/'))
            {
                found.push(format!("control group {}", group.display()));
            }
        }
        for dir in ["exec/netns", "exec/containers", "data/containers"] {
            for entry in fs::read_dir(self.dir.join(dir))
                .into_iter()
                .flatten()
                .flatten()
            {
                found.push(format!("file {}", entry.path().display()));
            }
        }
        found
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let failed = std::thread::panicking();
        let ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| self.end()));
        let left = ended.unwrap_or_else(|_| vec!["the clean-up failed".into()]);
        self.kill();
        if failed || !left.is_empty() {
            let log = self.log();
            let lines: Vec<&str> = log.lines().collect();
            let tail = lines.len().saturating_sub(80);
            eprintln!(
                "--- the daemon's log\n{}\n---",
                lines.get(tail..).unwrap_or_default().join("\n")
            );
            if !left.is_empty() {
                eprintln!("--- left behind\n{}\n---", left.join("\n"));
            }
        }
        leak::sweep(&self.dir, &self.cgroup, self.netns.inode());
        if std::env::var_os("CORACLE_TEST_KEEP").is_none() {
            let _ = fs::remove_dir_all(&self.dir);
        }
        assert!(
            failed || left.is_empty(),
            "left behind:\n{}",
            left.join("\n")
        );
    }
}

const PREFIX: &str = "coracle-test-";

/// Clears up after tests that were killed: their directories name their process.
fn sweep_the_dead() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        for entry in fs::read_dir(std::env::temp_dir())
            .into_iter()
            .flatten()
            .flatten()
        {
            let name = entry.file_name().to_string_lossy().into_owned();
            let Some(rest) = name.strip_prefix(PREFIX) else {
                continue;
            };
            let owner = rest.split('-').next().unwrap_or_default();
            if !owner.is_empty() && !Path::new("/proc").join(owner).exists() {
                leak::sweep(&entry.path(), &format!("/{name}"), 0);
                let _ = fs::remove_dir_all(entry.path());
            }
        }
    });
}

/// No network, unless the flags name one: it is faster.
fn network(flags: &[&str]) -> &'static [&'static str] {
    if flags.contains(&"--network") {
        &[]
    } else {
        &["--network", "none"]
    }
}
