"""How long events take to who listens: from an event's own time to its arrival."""

import json
import socket
import threading
import time


class Listener:
    """Reads a daemon's events, as raw as can be, and notes when each came."""

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect(str(path))
        self.socket.sendall(b"GET /v1.40/events HTTP/1.1\r\nHost: localhost\r\n\r\n")
        self.delays = []
        head = b""
        while b"\r\n\r\n" not in head:
            more = self.socket.recv(1)
            if not more:
                raise RuntimeError("no events")
            head += more
        self.thread = threading.Thread(target=self.read)
        self.thread.start()

    def read(self):
        rest = b""
        try:
            while data := self.socket.recv(1 << 16):
                now = time.time_ns()
                # Between the chunks' lengths: one object a line.
                *lines, rest = (rest + data).split(b"\n")
                for line in lines:
                    if line.startswith(b"{"):
                        self.delays.append((now - json.loads(line)["timeNano"]) / 1e6)
        except OSError:
            pass

    def close(self):
        self.socket.shutdown(socket.SHUT_RDWR)
        self.thread.join()
        self.socket.close()


def measure(table, peers, rounds):
    every, slowest = {peer.name: [] for peer in peers}, {peer.name: [] for peer in peers}
    for peer in peers:
        if hasattr(peer, "serve"):
            peer.serve()
    for _ in range(rounds):
        for peer in peers:
            listener = Listener(peer.socket)
            peer.call("run", "--rm", "--network", "none", "busybox", "true")
            # The last is told after the client has gone.
            time.sleep(0.3)
            listener.close()
            if listener.delays:
                every[peer.name] += listener.delays
                slowest[peer.name].append(max(listener.delays))
    table.add("an event reaches who listens after", "ms", every, "below 50")
    table.add("the slowest event of a run", "ms", slowest, "below 50")
