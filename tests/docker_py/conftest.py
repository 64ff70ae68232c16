"""A client, the busybox image, and names that are cleared away after each test."""

import subprocess
import time
import uuid
from pathlib import Path

import docker
import pytest

IMAGE = "busybox:latest"
MAKE = Path(__file__).resolve().parents[2] / "fixtures" / "make"


@pytest.fixture(scope="session")
def client():
    deadline = time.monotonic() + 10
    while True:
        try:
            client = docker.from_env(timeout=30)
            break
        except docker.errors.DockerException:
            # The daemon has just been started.
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
    try:
        client.images.get(IMAGE)
    except docker.errors.ImageNotFound:
        made = subprocess.run([MAKE, "busybox"], check=True, stdout=subprocess.PIPE, text=True)
        archive = Path(made.stdout.split()[-1]) / "docker.tar"
        client.images.load(archive.read_bytes())
    yield client
    client.close()


@pytest.fixture
def name():
    return f"py-{uuid.uuid4().hex[:12]}"


@pytest.fixture
def made(client):
    """What a test made and is to be removed: containers before networks and volumes."""
    things = []
    yield lambda thing: things.append(thing) or thing
    rank = {"Container": 0, "Image": 2}
    for thing in sorted(things, key=lambda thing: rank.get(type(thing).__name__, 1)):
        try:
            if type(thing).__name__ == "Container":
                thing.remove(force=True, v=True)
            elif type(thing).__name__ == "Image":
                client.images.remove(thing.id, force=True)
            else:
                thing.remove()
        except docker.errors.NotFound:
            pass


@pytest.fixture
def run(client, made):
    """Starts a container in the background."""

    def start(command, **options):
        options.setdefault("network_mode", "none")
        return made(client.containers.run(IMAGE, command, detach=True, **options))

    return start


@pytest.fixture
def sleeper(run):
    return run(["sleep", "600"], stop_signal="SIGKILL")
