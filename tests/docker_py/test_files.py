"""Volumes, and files copied in and out."""

import io
import tarfile

import docker
import pytest
from conftest import IMAGE
from docker.types import Mount
from test_images import archive


def read(container, path):
    chunks, stat = container.get_archive(path)
    with tarfile.open(fileobj=io.BytesIO(b"".join(chunks))) as tar:
        files = {m.name: tar.extractfile(m).read() for m in tar.getmembers() if m.isfile()}
    return files, stat


def test_volumes_are_made_listed_and_removed(client, name):
    volume = client.volumes.create(name, labels={"l": name})
    assert client.volumes.create(name).attrs["CreatedAt"] == volume.attrs["CreatedAt"]
    assert client.volumes.list(filters={"label": f"l={name}"}) == [volume]
    assert client.volumes.get(name).attrs["Driver"] == "local"
    volume.remove()
    with pytest.raises(docker.errors.NotFound):
        client.volumes.get(name)


def test_a_volume_keeps_what_containers_write(client, made, name):
    made(client.volumes.create(name))
    for command, expected in (("echo x > /v/f", b""), ("cat /v/f", b"x\n")):
        output = client.containers.run(
            IMAGE,
            ["sh", "-c", command],
            volumes={name: {"bind": "/v", "mode": "rw"}},
            remove=True,
            network_mode="none",
        )
        assert output == expected


def test_a_read_only_mount_is_one(client, made, name):
    made(client.volumes.create(name))
    with pytest.raises(docker.errors.ContainerError, match="Read-only file system"):
        client.containers.run(
            IMAGE,
            ["touch", "/v/f"],
            mounts=[Mount("/v", name, type="volume", read_only=True)],
            remove=True,
            network_mode="none",
        )


def test_one_in_use_is_not_removed(client, made, name, run):
    volume = made(client.volumes.create(name))
    container = run(["true"], volumes={name: {"bind": "/v"}})
    container.wait()
    with pytest.raises(docker.errors.APIError, match="volume is in use") as raised:
        volume.remove()
    assert raised.value.status_code == 409
    container.remove()
    assert client.volumes.prune(filters={"all": True})["VolumesDeleted"].count(name) == 1


def test_copied_in_and_out_of_a_running_container(sleeper):
    assert sleeper.put_archive("/tmp", archive({"a/b": b"deep", "c": b"flat"}))
    assert sleeper.exec_run(["cat", "/tmp/a/b"]).output == b"deep"
    files, stat = read(sleeper, "/tmp/a")
    assert files == {"a/b": b"deep"}
    assert stat["name"] == "a" and stat["mode"] & (1 << 31)


def test_copied_into_the_volume_of_one_that_never_ran(client, made):
    container = made(
        client.containers.create(
            IMAGE, ["cat", "/v/f"], volumes=["/v"], network_mode="none"
        )
    )
    assert container.put_archive("/v", archive({"f": b"here"}))
    files, stat = read(container, "/v")
    assert files == {"v/f": b"here"} and stat["name"] == "v"
    container.start()
    container.wait()
    assert container.logs() == b"here"


def test_exported_whole(run):
    container = run(["sh", "-c", "echo x > /made"])
    container.wait()
    with tarfile.open(fileobj=io.BytesIO(b"".join(container.export()))) as tar:
        names = {name.lstrip("./") for name in tar.getnames()}
        assert "made" in names and "bin/busybox" in names


def test_copies_that_fail(sleeper):
    with pytest.raises(docker.errors.NotFound, match="Could not find the file"):
        sleeper.get_archive("/nowhere")
    with pytest.raises(docker.errors.NotFound):
        sleeper.put_archive("/nowhere", archive({"f": b""}))
    with pytest.raises(docker.errors.APIError) as raised:
        sleeper.put_archive("/etc/passwd", archive({"f": b""}))
    assert raised.value.status_code == 400
