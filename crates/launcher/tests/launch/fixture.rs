//! Bundles, requests and what comes of them.

use std::fs;
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use coracle_launcher::{
    Created, Error, ExecRequest, InitRequest, Process, Rootfs, Stdio, create, exec,
};
use oci_spec::runtime::Spec;
use rustix::process::{Signal, WaitId, WaitIdOptions, pidfd_send_signal, waitid};
use serde_json::{Value, json};
use tempfile::TempDir;

/// A root file system and a specification to be changed.
pub(crate) struct Bundle {
    pub(crate) dir: TempDir,
    pub(crate) spec: Value,
}

/// What a process left.
#[derive(Debug)]
pub(crate) struct Output {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

const DOCKER_CAPS: [&str; 14] = [
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FSETID",
    "CAP_FOWNER",
    "CAP_MKNOD",
    "CAP_NET_RAW",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETFCAP",
    "CAP_SETPCAP",
    "CAP_NET_BIND_SERVICE",
    "CAP_SYS_CHROOT",
    "CAP_KILL",
    "CAP_AUDIT_WRITE",
];

const APPLETS: &str = "cat chmod chown cut df dmesg echo env false grep head hostname id ip kill ln \
    ls mkdir mount ping printf ps pwd readlink rm sed sh sleep sort stat stty tail test touch tr \
    true tty umount uname unshare wc";

impl Bundle {
    pub(crate) fn new() -> Bundle {
        let dir = tempfile::tempdir().unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let root = dir.path().join("rootfs");
        for sub in [
            "bin", "proc", "dev", "sys", "etc", "root", "tmp", "home/bob",
        ] {
            fs::create_dir_all(root.join(sub)).unwrap();
        }
        fs::copy("/bin/busybox", root.join("bin/busybox")).expect("needs busybox-static");
        for applet in APPLETS.split_whitespace() {
            symlink("busybox", root.join("bin").join(applet)).unwrap();
        }
        fs::write(
            root.join("etc/passwd"),
            "root:x:0:0:root:/root:/bin/sh\nbob:x:1000:1001::/home/bob:/bin/sh\n",
        )
        .unwrap();
        fs::write(
            root.join("etc/group"),
            "root:x:0:\nbob:x:1001:\naudio:x:29:bob\n",
        )
        .unwrap();
        let spec = json!({
            "ociVersion": "1.2.0",
            "root": {"path": "rootfs", "readonly": false},
            "hostname": "crate",
            "process": {
                "terminal": false,
                "user": {"uid": 0, "gid": 0},
                "args": ["/bin/true"],
                "env": ["PATH=/usr/local/bin:/usr/bin:/bin", "A=b"],
                "cwd": "/",
                "capabilities": {
                    "bounding": DOCKER_CAPS,
                    "permitted": DOCKER_CAPS,
                    "effective": DOCKER_CAPS,
                },
                "noNewPrivileges": false,
            },
            "mounts": [
                {"destination": "/proc", "type": "proc", "source": "proc",
                 "options": ["nosuid", "noexec", "nodev"]},
                {"destination": "/dev", "type": "tmpfs", "source": "tmpfs",
                 "options": ["nosuid", "strictatime", "mode=755", "size=65536k"]},
                {"destination": "/dev/pts", "type": "devpts", "source": "devpts",
                 "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620",
                             "gid=5"]},
                {"destination": "/sys", "type": "sysfs", "source": "sysfs",
                 "options": ["nosuid", "noexec", "nodev", "ro"]},
                {"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup",
                 "options": ["ro", "nosuid", "noexec", "nodev"]},
                {"destination": "/dev/mqueue", "type": "mqueue", "source": "mqueue",
                 "options": ["nosuid", "noexec", "nodev"]},
                {"destination": "/dev/shm", "type": "tmpfs", "source": "shm",
                 "options": ["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"]},
            ],
            "linux": {
                "namespaces": [
                    {"type": "pid"}, {"type": "network"}, {"type": "ipc"}, {"type": "uts"},
                    {"type": "mount"}, {"type": "cgroup"},
                ],
                "maskedPaths": ["/proc/kcore", "/proc/keys", "/proc/timer_list", "/proc/acpi",
                                "/sys/firmware", "/proc/none-such"],
                "readonlyPaths": ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys",
                                  "/proc/sysrq-trigger"],
            },
        });
        Bundle { dir, spec }
    }

    /// A bundle whose process is `sh -c SCRIPT`.
    pub(crate) fn sh(script: &str) -> Bundle {
        let mut bundle = Bundle::new();
        bundle.args(&["sh", "-c", script]);
        bundle
    }

    pub(crate) fn args(&mut self, args: &[&str]) {
        self.spec["process"]["args"] = json!(args);
    }

    pub(crate) fn root(&self) -> PathBuf {
        self.dir.path().join("rootfs")
    }

    /// A new directory outside the root.
    pub(crate) fn host_dir(&self, name: &str) -> PathBuf {
        let path = self.dir.path().join(name);
        fs::create_dir_all(&path).unwrap();
        path
    }

    pub(crate) fn mount(&mut self, mount: Value) {
        self.spec["mounts"].as_array_mut().unwrap().push(mount);
    }

    pub(crate) fn bind(&mut self, source: &Path, destination: &str, options: &[&str]) {
        self.mount(json!({"destination": destination, "type": "bind",
            "source": source, "options": options}));
    }

    pub(crate) fn drop_namespace(&mut self, kind: &str) {
        let namespaces = self.spec["linux"]["namespaces"].as_array_mut().unwrap();
        namespaces.retain(|namespace| namespace["type"] != kind);
    }

    pub(crate) fn request(&self) -> InitRequest {
        let spec: Spec = serde_json::from_value(self.spec.clone()).unwrap();
        InitRequest {
            id: "test".into(),
            spec,
            text: None,
            process_differs: false,
            filter: None,
            rootfs: Rootfs::Bind(self.root()),
            cgroup: None,
            user: None,
            groups: Vec::new(),
            default_home: true,
            init: false,
            die_with_caller: false,
            handed: None,
            stdio: Stdio::default(),
        }
    }

    /// Runs the container to its end.
    pub(crate) fn run(&self) -> Output {
        run(self.request())
    }

    /// What `create` or `start` refuses it with.
    pub(crate) fn refused(&self) -> Error {
        refused(self.request())
    }

    /// The standard output of a run that must succeed.
    pub(crate) fn stdout(&self) -> String {
        let output = self.run();
        assert_eq!(output.code, 0, "{output:?}");
        output.stdout
    }
}

/// Runs a container to its end.
pub(crate) fn run(mut request: InitRequest) -> Output {
    let pipes = Pipes::new(&mut request.stdio);
    let process = create(&request)
        .and_then(Created::start)
        .unwrap_or_else(|e| panic!("{e}"));
    drop(request);
    pipes.finish(process)
}

/// Runs a process in a container to its end.
pub(crate) fn run_exec(mut request: ExecRequest) -> Output {
    let pipes = Pipes::new(&mut request.stdio);
    let process = exec(&request).unwrap_or_else(|e| panic!("{e}"));
    drop(request);
    pipes.finish(process)
}

pub(crate) fn refused(request: InitRequest) -> Error {
    match create(&request).and_then(Created::start) {
        Ok(process) => {
            wait(&process);
            panic!("it was not refused");
        }
        Err(error) => error,
    }
}

struct Pipes {
    stdout: OwnedFd,
    stderr: OwnedFd,
}

impl Pipes {
    fn new(stdio: &mut Stdio) -> Pipes {
        let pipe = || rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).unwrap();
        let (stdout, out) = pipe();
        let (stderr, err) = pipe();
        stdio.stdout.get_or_insert(out);
        stdio.stderr.get_or_insert(err);
        Pipes { stdout, stderr }
    }

    fn finish(self, process: Process) -> Output {
        let stderr = std::thread::spawn(move || read(self.stderr));
        let stdout = read(self.stdout);
        Output {
            code: wait(&process),
            stdout,
            stderr: stderr.join().unwrap(),
        }
    }
}

/// Reads to the end, which a terminal tells as an error.
pub(crate) fn read(fd: OwnedFd) -> String {
    let mut bytes = Vec::new();
    let _ = fs::File::from(fd).read_to_end(&mut bytes);
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The exit code, as a shell tells it.
pub(crate) fn wait(process: &Process) -> i32 {
    let status = waitid(WaitId::PidFd(process.pidfd.as_fd()), WaitIdOptions::EXITED)
        .unwrap()
        .unwrap();
    status
        .exit_status()
        .or_else(|| status.terminating_signal().map(|signal| 128 + signal))
        .unwrap()
}

/// A container that sleeps until this is dropped.
pub(crate) struct Sleeper {
    pub(crate) process: Process,
}

impl Sleeper {
    pub(crate) fn start(bundle: &mut Bundle) -> Sleeper {
        bundle.args(&["sleep", "1000"]);
        Sleeper::of(bundle.request())
    }

    pub(crate) fn of(request: InitRequest) -> Sleeper {
        let process = create(&request)
            .and_then(Created::start)
            .unwrap_or_else(|e| panic!("{e}"));
        Sleeper { process }
    }

    /// A request for `sh -c SCRIPT` in it, with the capabilities of `bundle`.
    pub(crate) fn exec(&self, bundle: &Bundle, script: &str) -> ExecRequest {
        let mut process = bundle.spec["process"].clone();
        process["args"] = json!(["sh", "-c", script]);
        ExecRequest {
            process: serde_json::from_value(process).unwrap(),
            init_pid: self.process.pid,
            cgroup: None,
            user: None,
            groups: Vec::new(),
            default_home: true,
            seccomp: None,
            filter: None,
            personality: None,
            die_with_caller: false,
            stdio: Stdio::default(),
        }
    }
}

impl Drop for Sleeper {
    fn drop(&mut self) {
        let _ = pidfd_send_signal(&self.process.pidfd, Signal::KILL);
        let _ = waitid(
            WaitId::PidFd(self.process.pidfd.as_fd()),
            WaitIdOptions::EXITED,
        );
    }
}

/// A seccomp profile that forbids some system calls with EPERM.
pub(crate) fn forbid(names: &[&str]) -> Value {
    json!({
        "defaultAction": "SCMP_ACT_ALLOW",
        "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_AARCH64"],
        "syscalls": [{"names": names, "action": "SCMP_ACT_ERRNO", "errnoRet": 1}],
    })
}

/// Control groups of this test's own, one per version 1 hierarchy; removed when dropped.
pub(crate) struct Groups(pub(crate) Vec<PathBuf>);

impl Groups {
    pub(crate) fn new(name: &str) -> Groups {
        let mut made = Vec::new();
        for entry in fs::read_dir("/sys/fs/cgroup").unwrap() {
            let hierarchy = entry.unwrap().path();
            let dir = hierarchy.join(format!("coracle-launcher-{name}-{}", std::process::id()));
            if !hierarchy.is_dir() || fs::create_dir(&dir).is_err() {
                continue;
            }
            for file in ["cpuset.cpus", "cpuset.mems"] {
                if let Ok(value) = fs::read(hierarchy.join(file)) {
                    let _ = fs::write(dir.join(file), value);
                }
            }
            made.push(dir);
        }
        Groups(made)
    }
}

impl Drop for Groups {
    fn drop(&mut self) {
        for dir in &self.0 {
            // A group stays busy for a moment after its last process has ended.
            for _ in 0..100 {
                if fs::remove_dir(dir).is_ok() {
                    break;
                }
                std::thread::sleep(std::time::Duration::from_millis(10));
            }
        }
    }
}

/// Whether this is a mount namespace of this test's own, where it may mount. If not, runs the test
/// again in one.
pub(crate) fn in_own_mount_namespace(test: &str) -> bool {
    const MARK: &str = "CORACLE_TEST_OWN_MOUNTS";
    if std::env::var_os(MARK).is_some() {
        return true;
    }
    let status = Command::new("unshare")
        .args(["-m", "--propagation", "private", "--"])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", test])
        .env(MARK, "1")
        .status();
    assert!(status.unwrap().success());
    false
}
