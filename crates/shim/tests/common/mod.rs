//! Runs the real shim with a busybox root file system.

use std::os::fd::OwnedFd;
use std::path::Path;
use std::path::PathBuf;
use std::process::Child;
use std::time::Duration;

use coracle_log::Driver;
use coracle_log::LogConfig;
use coracle_task::*;
use oci_spec::runtime::Process;
use oci_spec::runtime::Spec;
use serde_json::json;
use tempfile::TempDir;

/// Whether containers can be run here; says so if not.
pub fn can_run() -> bool {
    let root = rustix::process::geteuid().is_root();
    let busybox = Path::new("/bin/busybox").exists();
    if !root || !busybox {
        eprintln!("skipped: needs root and a static /bin/busybox");
    }
    root && busybox
}

/// A container to be, with a shim that runs.
pub struct Container {
    pub dir: TempDir,
    pub config: TaskConfig,
    pub ports: Vec<OwnedFd>,
    pub shim: Option<Child>,
}

impl Container {
    /// A container that runs this by the shell.
    pub fn shell(script: &str) -> Self {
        Self::command(&["sh", "-c", script])
    }

    pub fn command(args: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("root");
        for name in ["bin", "proc", "dev", "sys", "tmp", "etc"] {
            std::fs::create_dir_all(root.join(name)).unwrap();
        }
        std::fs::copy("/bin/busybox", root.join("bin/busybox")).unwrap();
        for applet in [
            "sh", "cat", "echo", "sleep", "stty", "seq", "dd", "kill", "true", "head", "yes", "wc",
            "mount", "ls", "id", "tail", "nc", "grep", "trap", "md5sum", "ps", "touch",
        ] {
            std::os::unix::fs::symlink("busybox", root.join("bin").join(applet)).unwrap();
        }
        std::fs::write(root.join("etc/passwd"), "root:x:0:0::/:/bin/sh\n").unwrap();
        std::fs::write(root.join("bin/notexec"), "no\n").unwrap();
        for name in ["upper", "work"] {
            std::fs::create_dir(dir.path().join(name)).unwrap();
        }
        let id = dir
            .path()
            .file_name()
            .unwrap()
            .to_string_lossy()
            .replace('.', "");
        let config = TaskConfig {
            id: id.clone(),
            spec: spec(args),
            rootfs: Rootfs::Bind(root),
            terminal: false,
            console_size: None,
            open_stdin: false,
            stdin_once: false,
            user: None,
            groups: Vec::new(),
            init: false,
            cgroup_parent: format!("/coracle-shim-test-{id}"),
            cgroup_name: id,
            log: LogConfig {
                path: dir.path().join("log"),
                driver: Driver::JsonFile,
                ..LogConfig::none()
            },
            exit_file: dir.path().join("exit.json"),
            durable: true,
            ports: Vec::new(),
            published: Vec::new(),
            sockets: 0,
            machine: None,
        };
        Self {
            dir,
            config,
            ports: Vec::new(),
            shim: None,
        }
    }

    pub fn with(mut self, change: impl FnOnce(&mut TaskConfig)) -> Self {
        change(&mut self.config);
        self
    }

    pub fn socket(&self) -> PathBuf {
        self.dir.path().join("task.sock")
    }

    /// Starts the shim and connects.
    pub async fn launch(&mut self) -> Client {
        let bundle = self.dir.path();
        let text = serde_json::to_vec(&self.config).unwrap();
        std::fs::write(bundle.join(TASK_FILE), text).unwrap();
        let listener = listen(&self.socket()).unwrap();
        // Another build can be tested, such as the one that is installed.
        let binary = std::env::var_os("CORACLE_TEST_SHIM")
            .map_or_else(|| env!("CARGO_BIN_EXE_coracle-shim").into(), PathBuf::from);
        let ports: Vec<_> = self.ports.iter().map(std::os::fd::AsFd::as_fd).collect();
        self.shim = Some(spawn_shim(&binary, bundle, listener, &ports).unwrap());
        self.ports.clear();
        Client::connect_to_new(self.socket()).await.unwrap()
    }

    pub async fn connect(&self) -> Client {
        Client::connect(self.socket()).await.unwrap()
    }

    pub fn shim_pid(&self) -> i32 {
        i32::try_from(self.shim.as_ref().unwrap().id()).unwrap()
    }

    pub fn exit_record(&self) -> Option<Exit> {
        let text = std::fs::read(&self.config.exit_file).ok()?;
        Some(serde_json::from_slice(&text).unwrap())
    }

    /// All that was logged of a stream.
    pub fn logged(&self, stream: &str) -> String {
        let text = std::fs::read_to_string(&self.config.log.path).unwrap_or_default();
        let lines = text.lines().map(|line| serde_json::from_str(line).unwrap());
        let of_stream = lines.filter(|line: &serde_json::Value| line["stream"] == stream);
        of_stream
            .map(|line| line["log"].as_str().unwrap().to_owned())
            .collect()
    }

    /// The shim's own complaints.
    pub fn complaints(&self) -> String {
        std::fs::read_to_string(self.dir.path().join(LOG_FILE)).unwrap_or_default()
    }

    /// Waits for the shim to leave, and checks that nothing of the container is left.
    pub async fn gone(mut self) {
        let mut shim = self.shim.take().unwrap();
        let wait = tokio::task::spawn_blocking(move || shim.wait().unwrap());
        let status = soon(wait).await.unwrap();
        assert!(status.success(), "{status}: {}", self.complaints());
        self.nothing_left();
        assert_eq!(self.complaints(), "");
    }

    pub fn nothing_left(&self) {
        let (parent, name) = (&self.config.cgroup_parent, &self.config.cgroup_name);
        let mut dirs = vec![PathBuf::from("/sys/fs/cgroup")];
        dirs.extend(
            std::fs::read_dir("/sys/fs/cgroup")
                .unwrap()
                .map(|e| e.unwrap().path()),
        );
        for dir in dirs {
            let cgroup = dir.join(&parent[1..]).join(name);
            assert!(!cgroup.exists(), "{} is left", cgroup.display());
        }
        let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
        assert!(
            !mounts.contains(self.dir.path().to_str().unwrap()),
            "mounts are left"
        );
    }

    /// Kills and removes what a killed shim left.
    pub fn clean_up(&self) {
        let (parent, name) = (&self.config.cgroup_parent, &self.config.cgroup_name);
        let Ok(hierarchy) = coracle_cgroup::Hierarchy::host() else {
            return;
        };
        if let Ok(cgroup) = coracle_cgroup::Cgroup::open(&hierarchy, parent, name)
            && !cgroup.is_none()
        {
            let _ = cgroup.kill(Duration::from_secs(5));
            let _ = cgroup.delete();
        }
        let _ = hierarchy.remove_parent(parent);
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        if let Some(mut shim) = self.shim.take() {
            let _ = shim.kill();
            let _ = shim.wait();
        }
        self.clean_up();
    }
}

/// Anything here takes moments.
pub async fn soon<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(30), work)
        .await
        .expect("it takes too long")
}

/// Reads all output of a stream of either kind.
pub async fn read_all(attached: &mut AttachReader) -> (Vec<u8>, Vec<u8>) {
    let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
    while let Some((stream, bytes)) = soon(attached.next()).await.unwrap() {
        match stream {
            Stream::Stdout => stdout.extend_from_slice(&bytes),
            Stream::Stderr => stderr.extend_from_slice(&bytes),
        }
    }
    (stdout, stderr)
}

/// Reads until the output holds `text`.
pub async fn read_until(attached: &mut AttachReader, text: &str) -> String {
    let mut seen = String::new();
    while !seen.contains(text) {
        let (_, bytes) = soon(attached.next()).await.unwrap().expect(&seen);
        seen.push_str(&String::from_utf8_lossy(&bytes));
    }
    seen
}

pub const ALL: AttachOptions = AttachOptions {
    stdin: true,
    stdout: true,
    stderr: true,
};

pub fn process(args: &[&str]) -> Process {
    serde_json::from_value(json!({
        "args": args,
        "cwd": "/",
        "env": ["PATH=/bin"],
        "user": {"uid": 0, "gid": 0},
        "capabilities": {
            "bounding": ["CAP_KILL"], "effective": ["CAP_KILL"], "permitted": ["CAP_KILL"],
        },
        "noNewPrivileges": true,
    }))
    .unwrap()
}

pub fn exec(id: &str, args: &[&str]) -> ExecConfig {
    ExecConfig {
        exec_id: id.into(),
        process: process(args),
        terminal: false,
        stdin: false,
        user: None,
        groups: Vec::new(),
        console_size: None,
    }
}

pub fn spec(args: &[&str]) -> Spec {
    serde_json::from_value(json!({
        "ociVersion": "1.2.0",
        "process": process(args),
        "hostname": "test",
        "mounts": [
            {"destination": "/proc", "type": "proc", "source": "proc"},
            {"destination": "/dev", "type": "tmpfs", "source": "tmpfs",
             "options": ["nosuid", "mode=755"]},
            {"destination": "/dev/pts", "type": "devpts", "source": "devpts",
             "options": ["newinstance", "ptmxmode=0666", "mode=0620"]},
        ],
        "linux": {
            "namespaces": [
                {"type": "pid"}, {"type": "mount"}, {"type": "ipc"}, {"type": "uts"},
                {"type": "network"}, {"type": "cgroup"},
            ],
            "resources": {},
        },
    }))
    .unwrap()
}
