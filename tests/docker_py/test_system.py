"""What the daemon says of itself, and how it refuses."""

import docker
import pytest
from conftest import IMAGE


def test_ping_version_and_info(client):
    assert client.ping()
    version = client.version()
    assert version["Os"] == "linux" and version["ApiVersion"]
    info = client.info()
    assert info["ID"] and info["OSType"] == "linux"
    assert info["NCPU"] > 0 and info["MemTotal"] > 0


def test_disk_use(client, sleeper):
    use = client.df()
    assert {"Images", "Containers", "Volumes"} <= use.keys()
    assert sleeper.id in [container["Id"] for container in use["Containers"]]


def test_every_version_that_is_served_is_spoken(client):
    version = client.version()
    for spoken in (version["MinAPIVersion"], version["ApiVersion"]):
        other = docker.from_env(version=spoken)
        assert isinstance(other.containers.list(all=True), list)
        other.close()


def test_what_is_not_there_is_404(client):
    for get in (client.containers.get, client.networks.get, client.volumes.get):
        with pytest.raises(docker.errors.NotFound) as raised:
            get("no-such-thing")
        assert raised.value.status_code == 404
        assert "no-such-thing" in raised.value.explanation
    with pytest.raises(docker.errors.ImageNotFound):
        client.containers.create("no-such-image", "true")


def test_a_name_that_is_taken_is_409(client, made, name):
    made(client.containers.create(IMAGE, "true", name=name))
    with pytest.raises(docker.errors.APIError, match="already in use") as raised:
        client.containers.create(IMAGE, "true", name=name)
    assert raised.value.status_code == 409


def test_what_makes_no_sense_is_400(client):
    for options in ({"name": "no spaces"}, {"mem_limit": 1}, {"volumes": ["relative:/x:zz"]}):
        with pytest.raises(docker.errors.APIError) as raised:
            client.containers.create(IMAGE, "true", **options)
        assert raised.value.status_code == 400, options


def test_what_cannot_be_started(made, client):
    container = made(client.containers.create(IMAGE, ["/no/such"], network_mode="none"))
    with pytest.raises(docker.errors.APIError, match="no such file or directory") as raised:
        container.start()
    assert raised.value.status_code == 400
    container.reload()
    assert container.attrs["State"]["ExitCode"] == 127


def test_states_that_do_not_fit_are_409(sleeper):
    with pytest.raises(docker.errors.APIError, match="is not paused") as raised:
        sleeper.unpause()
    assert raised.value.status_code == 409
    sleeper.kill()
    sleeper.wait()
    with pytest.raises(docker.errors.APIError, match="is not running") as raised:
        sleeper.kill()
    assert raised.value.status_code == 409
    assert raised.value.explanation.lower().count("cannot kill container: ") == 1
