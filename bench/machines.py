"""Containers in virtual machines, beside the peers' processes; their parts, beside bare QEMU and e2fsprogs."""

import json
import os
import re
import shutil
import subprocess
import time
from pathlib import Path

from measure import at_once, timed, turns
from peers import REPO, Coracle, CoracleCli, memory, note

# How long a spare machine may take to be there again, in seconds.
PAUSE = 3
# When a machine that idles has given back what it holds to be fast, in seconds after it began to.
SETTLED = 40
# Measuring tools of ours: the package that an example is in, and what it needs.
EXAMPLES = {"start": ["-p", "coracle-vmm", "--features", "coracle-vmm/conformance"],
            "images": ["-p", "coracle-disk"]}


class Machine:
    """A client of ours whose runs are in machines."""

    def __init__(self, client, name, pause):
        self.client, self.name, self.pause = client, name, pause

    def args(self, args):
        return [args[0], "--runtime", "vm", *args[1:]]

    def call(self, *args):
        return self.client.call(*self.args(args))

    def spawn(self, *args):
        return self.client.spawn(*self.args(args))


def example(name):
    target = os.environ.get("CARGO_TARGET_DIR") or REPO / "target"
    return Path(target) / "release/examples" / name


def build():
    """Has the measuring tools built; what needs one that can't be is left out."""
    for name, flags in EXAMPLES.items():
        try:
            subprocess.run(["cargo", "build", "--locked", "--release", "--quiet", "--example", name, *flags],
                           cwd=REPO, check=True)
        except (OSError, subprocess.CalledProcessError) as error:
            note(f"without the example {name}: {error}")


def prepare(coracle):
    """A kernel for guests, and a template; nothing if there is no kernel."""
    found = subprocess.run([str(REPO / "fixtures/kernel"), "--any"], text=True, stdout=subprocess.PIPE)
    kernel = found.stdout.strip()
    if found.returncode or not kernel:
        note("without machines: there is no kernel (fixtures/kernel)")
        return False
    coracle.call("system", "kernel", "install", kernel)
    time.sleep(20)
    return True


def children(parents):
    """Processes by their parents: pid → its parent."""
    found = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            # After the name, which may have anything in it.
            parent = int(stat.read_text().rsplit(")", 1)[1].split()[1])
        except (OSError, IndexError):
            continue
        if parent in parents:
            found[int(stat.parent.name)] = parent
    return found


def private(pid):
    """Memory that would come back with this process' end, in KiB."""
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    return sum(map(int, re.findall(r"^Private_(?:Clean|Dirty): +(\d+)", text, re.MULTILINE)))


def memories(table, own, daemons, count=4):
    """Of idle machines: several, because what they share counts for none of them. `daemons`: our own's
    process ids."""
    def emulators():
        return children(set(children(set(daemons))))

    def started(name, *flags):
        """A container's machine, and its shim."""
        before = emulators()
        own.call("run", "-d", "--name", name, "--runtime", "vm", "--network", "none", *flags, "busybox",
                 "sleep", "100000")
        if flags:
            fresh = emulators().items() - before.items()
        else:
            # The one that waited.
            fresh = before.items() - held.items()
        if len(fresh) != 1:
            raise RuntimeError(f"the machine of {name} can't be told from others")
        held.update(fresh)
        time.sleep(PAUSE + 2)

    table.add("daemon, idle, with a kernel and a spare machine", "MiB",
              {"coracle": [sum(map(memory, daemons)) / 1024]}, "below 20")
    machines, shims = {}, {}
    held = {}
    for kind, flags in (("cloned", ["-m", "1g"]), ("was a spare", [])):
        mine = len(held)
        machines[f"{kind}, just started"] = []
        for number in range(count):
            started(f"idle-{mine + number}", *flags)
            machines[f"{kind}, just started"].append(private(list(held)[-1]) / 1024)
    time.sleep(SETTLED)
    for kind, those in (("cloned", list(held.items())[:count]), ("was a spare", list(held.items())[count:])):
        machines[kind] = [private(pid) / 1024 for pid, _ in those]
        shims[kind] = [memory(shim) / 1024 for _, shim in those]
    own.call("rm", "-f", *[f"idle-{number}" for number in range(len(held))])
    table.add("private memory of an idle machine", "MiB", machines, "below 40")
    table.add("its shim", "MiB", shims, "below 4")


def measure(table, own, daemons, peers, rounds, folder):
    """`own` is our command line, `daemons` our daemon's process ids; the peers run processes."""
    starts(table, rounds, folder)
    disks(table, max(1, rounds // 5), folder)
    if prepare(own):
        # Of another size than the one that waits: it needs a template of its own.
        own.call("run", "--rm", "--runtime", "vm", "-m", "1g", "--network", "none", "busybox", "true")
        time.sleep(20)
        memories(table, own, daemons)
        runs(table, own, peers, rounds, folder)


def runs(table, own, peers, rounds, folder):
    # In a network of its own: both would have a bridge of the same name.
    other = Coracle(Path(folder) / "clones", Path(own.command).parent, ["--vm-spares", "0"],
                    ["unshare", "--net", "sh", "-c", 'ip link set lo up && exec "$0" "$@"'])
    other.start()
    try:
        client = CoracleCli(Path(folder) / "clones", other)
        image = subprocess.run([str(REPO / "fixtures/make"), "busybox"], check=True, text=True,
                               stdout=subprocess.PIPE).stdout.strip()
        client.call("load", "-q", "-i", str(Path(image) / "docker.tar"))
        prepare(client)
        ready = Machine(own, "coracle, in a machine", PAUSE)
        clone = Machine(client, "coracle, in a new clone", 0)
        clone.call("run", "--rm", "--network", "none", "busybox", "true")
        for network in ("none", "bridge"):
            values = {peer.name: [] for peer in (ready, clone, *peers)}
            for _ in range(rounds):
                for peer in (ready, clone, *peers):
                    time.sleep(getattr(peer, "pause", 0))
                    took = turns([peer], 1, lambda peer: peer.call(
                        "run", "--rm", "--network", network, "busybox", "true"), warm=0)
                    values[peer.name] += took[peer.name]
            table.add(f"run --rm --network {network} busybox true, ours in a machine", "ms", values,
                      "no slower than their processes, below 300 ms under emulation")
        at_once(table, [clone, *peers], max(1, rounds // 5), 20)
    finally:
        other.stop()


def starts(table, rounds, folder):
    """A copy of a template until its guest answers: confined, by our code, and by QEMU alone; and the
    boot of what became the template, once."""
    if not example("start").exists():
        return
    place = Path(folder) / "start"
    place.mkdir()
    done = subprocess.run([str(example("start")), str(place), str(2 * rounds)], text=True, capture_output=True)
    if done.returncode:
        note(f"without starts of clones: {done.stderr[-300:]}")
        return
    names = {"clone, answer": "coracle, a clone", "bare QEMU, answer": "QEMU alone",
             "boot, answer": "coracle, a boot"}
    # In this order, whichever is measured first.
    values = {name: [] for name in names.values()}
    for line in done.stdout.splitlines():
        what, _, times = line.partition(": ")
        if what in names:
            values[names[what]] = json.loads(times)
    table.add("a clone of a template, until its guest answers", "ms", values,
              "at most 1.5 times that of QEMU alone with the same command line, a tenth of a boot")


def disks(table, rounds, folder):
    """The large image's disk: ours of the layers as they are stored, mke2fs's of their unpacked files."""
    if not example("images").exists() or not shutil.which("mke2fs"):
        return
    layout = Path(subprocess.run([str(REPO / "fixtures/make"), "large"], check=True, text=True,
                                 stdout=subprocess.PIPE).stdout.split()[-1]) / "oci"
    blob = lambda descriptor: layout / "blobs/sha256" / descriptor["digest"][7:]
    manifest = json.loads((layout / "index.json").read_text())["manifests"][0]
    tree, out = Path(folder) / "tree", Path(folder) / "disk"
    tree.mkdir()
    for layer in json.loads(blob(manifest).read_text())["layers"]:
        subprocess.run(["tar", "-xzf", blob(layer), "-C", tree, "--numeric-owner"], check=True,
                       stderr=subprocess.DEVNULL)

    def written(*line):
        out.unlink(missing_ok=True)
        os.sync()
        return timed(lambda: subprocess.run([*map(str, line)], check=True, capture_output=True))

    values = {"coracle, EROFS of the layers": [], "mke2fs -d of the files": []}
    for _ in range(rounds):
        for name, line in zip(values, ([example("images"), "erofs", layout, out],
                                       ["mke2fs", "-q", "-t", "ext4", "-d", tree, out, "4G"])):
            values[name].append(written(*line))
    shutil.rmtree(tree)
    out.unlink(missing_ok=True)
    table.add("the large image's disk", "s", values, "faster than mke2fs -d")
