"""The measurements. Peers take turns, so that noise hits all of them alike."""

import http.client
import json
import os
import shutil
import socket
import subprocess
import threading
import time
from pathlib import Path

from peers import REPO, memory, note


def timed(work):
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def turns(peers, rounds, work, scale=1000, warm=1):
    """Each peer's times over so many rounds, after some that don't count."""
    values = {peer.name: [] for peer in peers}
    for number in range(rounds + warm):
        # Another one begins each time.
        order = peers[number % len(peers):] + peers[:number % len(peers)]
        for peer in order:
            took = timed(lambda: work(peer)) * scale
            if number >= warm:
                values[peer.name].append(took)
    return values


def run(table, peers, bundles, rounds):
    for network in ("none", "bridge"):
        values = turns(peers, rounds, lambda peer: peer.call(
            "run", "--rm", "--network", network, "busybox", "true"))
        if network == "none" and bundles:
            values.update(turns(bundles, rounds, lambda bundle: bundle.run()))
        table.add(f"run --rm --network {network} busybox true", "ms", values,
                  "a quarter of podman's and docker's, four times a bare runtime's"
                  if network == "none" else "a quarter of podman's and docker's")


def at_once(table, peers, rounds, count=50):
    def work(peer):
        children = [peer.spawn("run", "--rm", "--network", "none", "busybox", "true")
                    for _ in range(count)]
        failed = 0
        for child in children:
            error = child.stderr.read()
            failed += child.wait() != 0
            if child.returncode and failed == 1:
                note(f"{peer.name}: {error.decode(errors='replace')[-300:]}")
        if failed:
            note(f"{peer.name}: {failed} of {count} at once failed")

    table.add(f"{count} runs at once", "s", turns(peers, rounds, work, 1, 0), "half of theirs")


def execs(table, peers, rounds):
    for peer in peers:
        if peer.name != "coracle-cli":
            peer.call("run", "-d", "--name", "target", "--network", "none", "busybox", "sleep", "100000")
    values = turns(peers, rounds, lambda peer: peer.call("exec", "target", "true"))
    table.add("exec true", "ms", values)
    for peer in peers:
        if peer.name != "coracle-cli":
            peer.call("rm", "-f", "target")


def pull(table, peers, folder, rounds):
    registry = Path(folder) / "registry"
    script = str(REPO / "fixtures/registry")
    note("the large image goes into the registry")
    done = subprocess.run([script, "start", str(registry), "large"], check=True, text=True,
                          stdout=subprocess.PIPE)
    address = done.stdout.split()[-1]
    name = f"{address}/large:latest"
    layout = Path(subprocess.run([str(REPO / "fixtures/make"), "large"], check=True, text=True,
                                 stdout=subprocess.PIPE).stdout.split()[-1]) / "oci"
    try:
        values = {}

        def forget(peer):
            peer.call("rmi", "-f", name, check=False)
            os.sync()

        for peer in peers:
            values[peer.name] = []
        for _ in range(rounds):
            for peer in peers:
                forget(peer)
                values[peer.name].append(timed(lambda: peer.call("pull", "-q", *peer.pull_flags, name)))
        for peer in peers:
            forget(peer)
        scratch = Path(folder) / "scratch"

        def fresh():
            shutil.rmtree(scratch, ignore_errors=True)
            scratch.mkdir()
            os.sync()

        manifest = json.loads((layout / "index.json").read_text())["manifests"][0]
        blob = lambda descriptor: layout / "blobs/sha256" / descriptor["digest"][7:]
        layers = [blob(layer) for layer in json.loads(blob(manifest).read_text())["layers"]]

        def untar():
            for number, layer in enumerate(layers):
                (scratch / str(number)).mkdir()
                subprocess.run(["tar", "-xzf", layer, "-C", scratch / str(number), "--numeric-owner"],
                               check=True, stderr=subprocess.DEVNULL)

        others = {"tar -xz of the layers": untar}
        if shutil.which("skopeo"):
            others["skopeo copy (no unpack)"] = lambda: subprocess.run(
                ["skopeo", "copy", "-q", "--src-tls-verify=false", f"docker://{name}",
                 f"oci:{scratch}/copy:large"], check=True)
        if shutil.which("umoci"):
            others["umoci unpack (no pull)"] = lambda: subprocess.run(
                ["umoci", "raw", "unpack", "--image", f"{layout}:large:latest", scratch / "root"],
                check=True, capture_output=True)
        for name_, work in others.items():
            values[name_] = []
            for _ in range(rounds):
                fresh()
                values[name_].append(timed(work))
        shutil.rmtree(scratch, ignore_errors=True)
        table.add("pull and unpack of the large image", "s", values,
                  "half of podman's and docker's, no slower than tar")
    finally:
        subprocess.run([script, "stop", str(registry)], check=True)


def memories(table, peers, count=10):
    """After a run, so that what a first run loads is counted, and a moment of rest."""
    daemons, shims = {}, {}
    for peer in peers:
        time.sleep(2)
        if pids := peer.daemon_pids():
            daemons[peer.name] = [sum(map(memory, pids)) / 1024]
        for number in range(count):
            peer.call("run", "-d", "--name", f"resident-{number}", "--network", "none", "busybox",
                      "sleep", "100000")
        time.sleep(2)
        if pids := peer.shim_pids():
            shims[peer.name] = [memory(pid) / 1024 for pid in pids]
        peer.call("rm", "-f", *[f"resident-{number}" for number in range(count)])
    table.add("daemon, idle (dockerd with containerd)", "MiB", daemons, "below 20")
    table.add("for each container (shim, containerd-shim, conmon)", "MiB", shims, "below 4")


class Unix(http.client.HTTPConnection):
    def __init__(self, path):
        super().__init__("localhost")
        self.path = str(path)

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(self.path)


def requests(path, seconds, clients):
    """Answers per second to clients that ask one after the other."""
    counts = []
    end = time.perf_counter() + seconds

    def client():
        connection = Unix(path)
        count = 0
        while time.perf_counter() < end:
            connection.request("GET", "/v1.40/containers/json?all=1")
            answer = connection.getresponse()
            body = answer.read()
            if answer.status != 200 or len(body) < 1000:
                raise RuntimeError(f"{answer.status} {body[:200]}")
            count += 1
        counts.append(count)

    threads = [threading.Thread(target=client) for _ in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(counts) / seconds


def api(table, peers, count=100):
    one, four = {}, {}
    for peer in peers:
        for number in range(count):
            peer.call("create", "--name", f"listed-{number}", "--network", "none", "busybox", "true")
        if hasattr(peer, "serve"):
            peer.serve()
        requests(peer.socket, 0.5, 1)
        one[peer.name] = [requests(peer.socket, 1, 1) for _ in range(5)]
        four[peer.name] = [requests(peer.socket, 1, 4) for _ in range(5)]
        peer.call("rm", "-f", *[f"listed-{number}" for number in range(count)])
    table.add(f"ps of {count} containers by the API, one client", "/s", one, more_is_better=True)
    table.add(f"ps of {count} containers by the API, four clients", "/s", four, more_is_better=True)
