"""Images: shown, named, saved and loaded, imported, committed, removed."""

import io
import tarfile

import docker
import pytest
from conftest import IMAGE


def archive(files):
    """A tar of these files."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for path, content in files.items():
            info = tarfile.TarInfo(path)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return out.getvalue()


def test_an_image_is_found_by_all_its_names(client):
    image = client.images.get(IMAGE)
    assert image.id.startswith("sha256:")
    for other in ("busybox", image.id, image.short_id.removeprefix("sha256:")):
        assert client.images.get(other) == image
    assert image in client.images.list(name="busybox")
    assert IMAGE in image.tags
    assert image.attrs["Os"] == "linux" and image.attrs["RootFS"]["Layers"]
    assert len(image.history()) >= 1


def test_tags_come_and_go(client, name):
    image = client.images.get(IMAGE)
    assert image.tag(name, tag="one")
    assert client.images.get(f"{name}:one") == image
    client.images.remove(f"{name}:one")
    with pytest.raises(docker.errors.ImageNotFound):
        client.images.get(f"{name}:one")
    assert client.images.get(IMAGE) == image


def test_saved_and_loaded_again(client, made, name, run):
    container = run(["sh", "-c", "echo kept > /file"])
    container.wait()
    image = made(container.commit(repository=name, tag="x"))
    saved = b"".join(image.save(named=True))
    client.images.remove(image.id, force=True)
    loaded = client.images.load(saved)
    assert [one.id for one in loaded] == [image.id]
    assert loaded[0].tags == [f"{name}:x"]


def test_committed_with_changes(client, made, name, run):
    container = run(["touch", "/made"])
    image = made(
        container.commit(
            repository=name,
            message="why",
            author="who",
            changes=['CMD ["cat", "/etc/x"]', "ENV A=b", "LABEL l=1"],
        )
    )
    config = image.attrs["Config"]
    assert config["Cmd"] == ["cat", "/etc/x"] and "A=b" in config["Env"]
    assert image.labels == {"l": "1"}
    assert image.attrs["Author"] == "who" and image.attrs["Comment"] == "why"


def test_commits_do_not_race_the_end(made, run):
    for _ in range(5):
        container = run(["true"])
        made(container.commit())


def test_imported_from_a_root_file_system(client, made, name):
    client.api.import_image_from_data(archive({"etc/greeting": b"hi"}), repository=name)
    image = made(client.images.get(name))
    container = made(client.containers.create(image, ["none"]))
    chunks, stat = container.get_archive("/etc/greeting")
    assert stat["name"] == "greeting" and stat["size"] == 2
    with tarfile.open(fileobj=io.BytesIO(b"".join(chunks))) as tar:
        assert tar.extractfile("greeting").read() == b"hi"


def test_one_in_use_is_not_removed(client, sleeper):
    for force in (False, True):
        with pytest.raises(docker.errors.APIError) as raised:
            client.images.remove(client.images.get(IMAGE).id, force=force)
        assert raised.value.status_code == 409


def test_what_is_no_archive_is_not_loaded(client):
    with pytest.raises(docker.errors.ImageLoadError):
        client.images.load(b"abc")


def test_pull_of_nothing_fails(client):
    # Nothing listens there.
    with pytest.raises(docker.errors.APIError):
        client.images.pull("127.0.0.1:1/none", tag="x")
