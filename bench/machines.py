"""Containers in virtual machines, beside the peers' processes."""

import re
import subprocess
import time
from pathlib import Path

from measure import at_once, turns
from peers import REPO, memory, note

# How long a spare machine may take to be there again, in seconds.
PAUSE = 3


class Machine:
    """A client of ours whose runs are in machines."""

    def __init__(self, client, name, flags, pause):
        self.client, self.name, self.flags, self.pause = client, name, flags, pause

    def args(self, args):
        return [args[0], "--runtime", "vm", *self.flags, *args[1:]]

    def call(self, *args):
        return self.client.call(*self.args(args))

    def spawn(self, *args):
        return self.client.spawn(*self.args(args))


def prepare(coracle):
    """A kernel for guests; nothing if there is none."""
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
    for kind, flags in (("cloned", ["-m", "512m"]), ("was a spare", [])):
        mine = len(held)
        for number in range(count):
            started(f"idle-{mine + number}", *flags)
        those = list(held.items())[mine:]
        machines[kind] = [private(pid) / 1024 for pid, _ in those]
        shims[kind] = [memory(shim) / 1024 for _, shim in those]
    own.call("rm", "-f", *[f"idle-{number}" for number in range(len(held))])
    table.add("private memory of an idle machine", "MiB", machines, "below 40")
    table.add("its shim", "MiB", shims, "below 4")


def measure(table, own, daemons, peers, rounds):
    """`own` is our command line, `daemons` our daemon's process ids; the peers run processes."""
    if not prepare(own):
        return
    ready = Machine(own, "coracle, in a machine", [], PAUSE)
    # Of another size than the one that waits.
    clone = Machine(own, "coracle, in a machine that is cloned then", ["-m", "512m"], 0)
    clone.call("run", "--rm", "--network", "none", "busybox", "true")
    time.sleep(20)
    memories(table, own, daemons)
    for network in ("none", "bridge"):
        values = {}
        for machine in (ready, clone):
            values[machine.name] = []
        for peer in peers:
            values[peer.name] = []
        for _ in range(rounds):
            for peer in (ready, clone, *peers):
                time.sleep(getattr(peer, "pause", 0))
                took = turns([peer], 1, lambda peer: peer.call(
                    "run", "--rm", "--network", network, "busybox", "true"), warm=0)
                values[peer.name] += took[peer.name]
        table.add(f"run --rm --network {network} busybox true, ours in a machine", "ms", values,
                  "no slower than their processes, below 300 ms under emulation")
    at_once(table, [clone, *peers], max(1, rounds // 5), 20)
