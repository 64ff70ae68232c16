"""What is compared: each peer with directories, and where it has one a daemon, of its own."""

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

REPO = Path(__file__).resolve().parent.parent
CACHE = Path(os.environ.get("CORACLE_CACHE") or "/var/cache/coracle-fixtures")
# dockerd of Debian 12 with what it needs; unpacked beside the system, never installed: its package
# would start a daemon.
DOCKER_PACKAGES = ["docker.io", "containerd", "runc", "iptables", "libdevmapper1.02.1", "libip4tc2",
                   "libip6tc2", "libxtables12", "libnetfilter-conntrack3", "libnfnetlink0",
                   "libnftnl11"]


def note(text):
    print(f"bench: {text}", file=sys.stderr, flush=True)


def memory(pid):
    """Resident memory of a process, in KiB."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1])
    return 0


def processes(name, marks):
    """Processes of an executable's name with one of the marks in their command line."""
    found = []
    for proc in Path("/proc").glob("[0-9]*"):
        try:
            line = (proc / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if os.path.basename(line[0].decode(errors="replace")) == name:
            if any(mark.encode() in part for mark in marks for part in line):
                found.append(int(proc.name))
    return found


class Peer:
    """A container engine with a command line like docker's."""

    name = ""
    preexec = None
    pull_flags = []
    registry_prefix = ""

    def __init__(self, folder):
        self.dir = Path(folder) / self.name.split()[0]
        self.dir.mkdir(parents=True)
        self.env = dict(os.environ)
        self.daemons = []

    def line(self, *args):
        raise NotImplementedError

    def call(self, *args, check=True, quiet=True):
        done = subprocess.run(self.line(*args), env=self.env, preexec_fn=self.preexec,
                              stdin=subprocess.DEVNULL, capture_output=quiet, text=True)
        if check and done.returncode:
            raise RuntimeError(f"{' '.join(map(str, self.line(*args)))}: {done.stderr}")
        return done

    def spawn(self, *args):
        return subprocess.Popen(self.line(*args), env=self.env, preexec_fn=self.preexec,
                                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                stderr=subprocess.PIPE)

    def daemon(self, line, ready):
        log = open(self.dir / "log", "ab")
        child = subprocess.Popen(line, env=self.env, preexec_fn=self.preexec, stdout=log, stderr=log,
                                 stdin=subprocess.DEVNULL)
        self.daemons.append(child)
        for _ in range(600):
            if child.poll() is not None:
                break
            if ready():
                return child
            time.sleep(0.05)
        raise RuntimeError(f"{line[0]} did not start: {(self.dir / 'log').read_text()[-2000:]}")

    def start(self):
        pass

    def stop(self):
        ids = self.call("ps", "-aq", check=False).stdout.split()
        if ids:
            self.call("rm", "-f", *ids, check=False)
        for child in reversed(self.daemons):
            child.send_signal(signal.SIGTERM)
            try:
                child.wait(20)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()
        subprocess.run(["sh", "-c", "mount | cut -d' ' -f3 | grep \"^$0\" | tac | xargs -r umount -l",
                        str(self.dir)], preexec_fn=self.preexec, check=False)

    def load(self, archive):
        self.call("load", "-q", "-i", archive)

    # For memory: the daemon's processes, and those that are there once for each container.
    def daemon_pids(self):
        return [child.pid for child in self.daemons]

    def shim_pids(self):
        return []

    socket = None


class Coracle(Peer):
    name = "coracle"

    def __init__(self, folder, binaries, more=(), wrapper=()):
        super().__init__(folder)
        self.binaries = Path(binaries)
        # Further flags of the daemon, and what it is run by.
        self.more, self.wrapper = more, wrapper
        self.socket = self.dir / "sock"
        self.env.update(DOCKER_HOST=f"unix://{self.socket}", DOCKER_CONFIG=str(self.dir / "config"))

    def line(self, *args):
        return ["docker", *map(str, args)]

    def start(self):
        self.daemon(
            [*self.wrapper, str(self.binaries / "coracled"), "--data-root", str(self.dir / "data"),
             "--exec-root", str(self.dir / "exec"), "-H", f"unix://{self.socket}", "--cgroup-parent",
             f"/coracle-bench-{os.getpid()}", "--log-level", "warn", *self.more],
            lambda: self.call("version", check=False).returncode == 0)

    def shim_pids(self):
        return processes("coracle-shim", [str(self.dir)])


class CoracleCli(Peer):
    """The same daemon, driven by its own command line."""

    name = "coracle-cli"

    def __init__(self, folder, coracle):
        super().__init__(folder)
        self.env["CORACLE_HOST"] = f"unix://{coracle.socket}"
        self.command = str(coracle.binaries / "coracle")

    def line(self, *args):
        return [self.command, *map(str, args)]

    def load(self, archive):
        pass

    def stop(self):
        pass


class Docker(Peer):
    name = "docker"

    def __init__(self, folder):
        super().__init__(folder)
        root = self.unpacked()
        paths = [root / "usr/bin", root / "usr/sbin", root / "sbin"]
        self.env["PATH"] = ":".join(map(str, paths)) + ":" + self.env["PATH"]
        libraries = [str(path) for path in root.glob("**/*-linux-gnu")]
        self.env["LD_LIBRARY_PATH"] = ":".join(libraries)
        self.socket = self.dir / "sock"
        self.dockerd = root / "usr/sbin/dockerd"
        # The same client for both, if it is the newer one of this machine.
        self.client = shutil.which("docker") or str(root / "usr/bin/docker")
        self.env.update(DOCKER_HOST=f"unix://{self.socket}", DOCKER_CONFIG=str(self.dir / "config"))

    @staticmethod
    def unpacked():
        root = CACHE / "dockerd"
        if not (root / "usr/sbin/dockerd").exists():
            note("fetching Debian's dockerd")
            stage = CACHE / ".dockerd.stage"
            shutil.rmtree(stage, ignore_errors=True)
            (stage / "root").mkdir(parents=True)
            subprocess.run(["apt-get", "download", "-qq", "-o", "APT::Sandbox::User=root",
                            *DOCKER_PACKAGES], cwd=stage, check=True, stdout=2)
            for package in stage.glob("*.deb"):
                subprocess.run(["dpkg-deb", "-x", package, stage / "root"], check=True)
            (stage / "root").rename(root)
            shutil.rmtree(stage)
        return root

    def line(self, *args):
        return [self.client, *map(str, args)]

    def start(self):
        config = self.dir / "daemon.json"
        config.write_text(json.dumps({"default-ulimits": {
            "nofile": {"Name": "nofile", "Hard": 20000, "Soft": 20000}}}))
        self.daemon(
            [str(self.dockerd), "--config-file", str(config), "--data-root", str(self.dir / "data"),
             "--exec-root", str(self.dir / "exec"), "--pidfile", str(self.dir / "pid"), "-H",
             f"unix://{self.socket}", "--cgroup-parent", f"/docker-bench-{os.getpid()}",
             "--log-level", "error"],
            lambda: self.call("version", check=False).returncode == 0)

    def daemon_pids(self):
        return [*super().daemon_pids(), *processes("containerd", [str(self.dir)])]

    def shim_pids(self):
        return processes("containerd-shim-runc-v2", [str(self.dir)])


class Podman(Peer):
    name = "podman (crun)"
    pull_flags = ["--tls-verify=false"]

    def __init__(self, folder, mounts):
        super().__init__(folder)
        self.preexec = mounts.enter
        config = self.dir / "containers.conf"
        # Its own defaults are above what some machines allow; and podman lowers the number of
        # processes to that of process ids for itself, above which crun can't go again.
        processes_most = int(Path("/proc/sys/kernel/pid_max").read_text())
        limits = ", ".join(
            f'"{name}={limit}:{limit}"' for name, limit in (
                (name, min(most, hard) if hard != resource.RLIM_INFINITY else most)
                for name, most, (_, hard) in (
                    ("nofile", 1 << 20, resource.getrlimit(resource.RLIMIT_NOFILE)),
                    ("nproc", processes_most, resource.getrlimit(resource.RLIMIT_NPROC)))))
        config.write_text(f'[containers]\ndefault_ulimits = [{limits}]\n'
                          '[engine]\ncgroup_manager = "cgroupfs"\nruntime = "crun"\n'
                          'events_logger = "file"\n')
        self.env["CONTAINERS_CONF"] = str(config)
        self.socket = self.dir / "sock"

    def line(self, *args):
        at = lambda name: str(self.dir / name)
        return ["podman", "--root", at("root"), "--runroot", at("run"), "--tmpdir", at("tmp"),
                "--storage-driver", "overlay", "--network-config-dir", at("networks"),
                "--cgroup-manager", "cgroupfs", *map(str, self.in_group(*args))]

    @staticmethod
    def in_group(*args):
        if args and args[0] in ("run", "create"):
            args = (args[0], "--cgroup-parent", f"/podman-bench-{os.getpid()}", *args[1:])
        return args

    def serve(self):
        """Its API, for the one benchmark that asks for it."""
        return self.daemon(self.line("system", "service", "-t", "0", f"unix://{self.socket}"),
                           self.socket.exists)

    def shim_pids(self):
        return processes("conmon", [str(self.dir)])


class Bundle:
    """A bare OCI runtime on a bundle that is ready: the limit of what an engine can reach."""

    def __init__(self, name, folder, rootfs, mounts):
        self.name = name + " (ready bundle)"
        self.program = name
        self.mounts = mounts
        self.dir = Path(folder) / f"bundle-{name}"
        self.dir.mkdir(parents=True)
        subprocess.run([name, "spec"], cwd=self.dir, check=True)
        spec = json.loads((self.dir / "config.json").read_text())
        spec["process"].update(args=["true"], terminal=False)
        spec["root"] = {"path": str(rootfs), "readonly": True}
        for limit in spec["process"].get("rlimits", []):
            limit.update(hard=1024, soft=1024)
        spec["linux"]["cgroupsPath"] = f"/coracle-bench-bundle-{os.getpid()}"
        (self.dir / "config.json").write_text(json.dumps(spec))
        self.count = 0

    def run(self):
        self.count += 1
        subprocess.run([self.program, "--root", str(self.dir / "state"), "run", "--bundle",
                        str(self.dir), f"bench-{os.getpid()}-{self.count}"], check=True,
                       stdin=subprocess.DEVNULL, capture_output=True, preexec_fn=self.mounts.enter)
