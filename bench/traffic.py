"""Networks: how much goes between two containers and through a published port, how soon a name is
answered, and a running container joins a network.

What sends, receives and asks is Python of the host's, in the containers' network namespaces: the same
for all, and quick enough for the network to be what is measured."""

import subprocess
import sys

from measure import timed

PORT = 15001
BLOCK = 1 << 18

# Takes one connection after the other, and tells each how many bytes it had.
SINK = f"""
import socket
with socket.create_server(("0.0.0.0", 5001)) as server:
    print("there", flush=True)
    while True:
        stream, _ = server.accept()
        count, room = 0, bytearray({BLOCK})
        while many := stream.recv_into(room):
            count += many
        stream.sendall(str(count).encode())
        stream.close()
"""

# Sends for so many seconds; prints MiB/s of what arrived.
SOURCE = f"""
import socket, sys, time
with socket.create_connection((sys.argv[1], int(sys.argv[2]))) as stream:
    block, begun = bytes({BLOCK}), time.perf_counter()
    while time.perf_counter() - begun < float(sys.argv[3]):
        stream.sendall(block)
    stream.shutdown(socket.SHUT_WR)
    arrived = int(stream.recv(64))
    print(arrived / (1 << 20) / (time.perf_counter() - begun))
"""

# Asks the container's resolver for the sink, again and again: times in ms.
ASK = r"""
import socket, sys, time
sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
sock.settimeout(2)
sock.connect((sys.argv[1], 53))
query = b"\0\1\1\0\0\1\0\0\0\0\0\0\4sink\0\0\1\0\1"
for number in range(1000):
    begun = time.perf_counter()
    sock.send(query)
    answer = sock.recv(4096)
    assert answer[7] > 0, answer
    print((time.perf_counter() - begun) * 1000)
"""


def inside(peer, name, script, *args):
    """A command line of Python in a container's network."""
    pid = peer.call("inspect", "-f", "{{.State.Pid}}", name).stdout.strip()
    return ["nsenter", f"--net=/proc/{pid}/ns/net", sys.executable, "-c", script, *map(str, args)]


def sends(line):
    return float(subprocess.run(line, check=True, capture_output=True, text=True).stdout)


def asks(peer):
    """How long answers take, for an engine that has a resolver."""
    lines = peer.call("exec", "source", "cat", "/etc/resolv.conf").stdout.split("\n")
    servers = [line.split()[1] for line in lines if line.startswith("nameserver")]
    done = subprocess.run(inside(peer, "source", ASK, *servers[:1]), capture_output=True, text=True)
    return [float(line) for line in done.stdout.split()] if done.returncode == 0 else []


def joins(peer):
    took = timed(lambda: peer.call("network", "connect", "joined", "source"))
    peer.call("network", "disconnect", "joined", "source")
    return took * 1000


def measure(table, peers, rounds, seconds=0.5):
    there = [peer for peer in peers if peer.name != "coracle-cli"]
    sinks, ports, addresses = [], {}, {}
    try:
        for number, peer in enumerate(there):
            ports[peer.name] = PORT + number
            for network in ("traffic", "joined"):
                peer.call("network", "create", network)
            for name, flags in (("sink", ["-p", f"127.0.0.1:{PORT + number}:5001"]), ("source", [])):
                peer.call("run", "-d", "--name", name, "--network", "traffic", *flags, "busybox",
                          "sleep", "100000")
            sink = subprocess.Popen(inside(peer, "sink", SINK), stdout=subprocess.PIPE)
            sink.stdout.readline()
            sinks.append(sink)
            where = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}"
            addresses[peer.name] = peer.call("inspect", "-f", where, "sink").stdout.strip()

        def each(work, rounds):
            values = {peer.name: [] for peer in there}
            for _ in range(rounds):
                for peer in there:
                    values[peer.name].append(work(peer))
            return values

        table.add("between two containers on one bridge", "MiB/s", each(
            lambda peer: sends(inside(peer, "source", SOURCE, addresses[peer.name], 5001, seconds)),
            rounds), "as much as theirs", more_is_better=True)
        table.add("through a port published on loopback", "MiB/s", each(
            lambda peer: sends([sys.executable, "-c", SOURCE, "127.0.0.1", str(ports[peer.name]),
                                str(seconds)]), rounds), "nine tenths of docker's", more_is_better=True)
        table.add("connect a running container", "ms", each(joins, rounds), "below 100")
        values = {peer.name: asks(peer) for peer in there}
        table.add("look-up of a name", "ms", {name: many for name, many in values.items() if many},
                  "below 1")
    finally:
        for sink in sinks:
            sink.kill()
            sink.wait()
        for peer in there:
            peer.call("rm", "-f", "sink", "source", check=False)
            peer.call("network", "rm", "traffic", "joined", check=False)
