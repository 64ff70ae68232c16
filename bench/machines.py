"""Containers in virtual machines, beside the peers' processes."""

import subprocess
import time

from measure import at_once, turns
from peers import REPO, note

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


def measure(table, own, peers, rounds):
    """`own` is our command line; the peers run processes."""
    if not prepare(own):
        return
    ready = Machine(own, "coracle, in a machine", [], PAUSE)
    # Of another size than the one that waits.
    clone = Machine(own, "coracle, in a machine that is cloned then", ["-m", "512m"], 0)
    clone.call("run", "--rm", "--network", "none", "busybox", "true")
    time.sleep(20)
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
