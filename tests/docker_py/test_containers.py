"""Containers: their life, and what is shown of it."""

import docker
import pytest
from conftest import IMAGE


def test_run_gives_the_output_and_removes_the_container(client):
    output = client.containers.run(IMAGE, ["echo", "hi"], remove=True, network_mode="none")
    assert output == b"hi\n"


def test_run_raises_with_the_exit_code_and_the_errors(client):
    with pytest.raises(docker.errors.ContainerError) as raised:
        client.containers.run(
            IMAGE, ["sh", "-c", "echo bad >&2; exit 3"], remove=True, network_mode="none"
        )
    assert raised.value.exit_status == 3
    assert raised.value.stderr == b"bad\n"


def test_environment_directory_user_and_host_name(client):
    output = client.containers.run(
        IMAGE,
        ["sh", "-c", "echo $A; pwd; id -u; hostname"],
        environment={"A": "1 2"},
        working_dir="/var/made",
        user="1000:1000",
        hostname="box",
        remove=True,
        network_mode="none",
    )
    assert output.split(b"\n")[:4] == [b"1 2", b"/var/made", b"1000", b"box"]


def test_states_from_creation_to_removal(client, made, name):
    container = made(
        client.containers.create(IMAGE, ["sleep", "600"], name=name, network_mode="none")
    )
    states = [container.status]

    def seen():
        container.reload()
        states.append(container.status)

    for step in (container.start, container.pause, container.unpause):
        step()
        seen()
    container.kill()
    assert container.wait()["StatusCode"] == 137
    seen()
    assert states == ["created", "running", "paused", "running", "exited"]
    container.remove()
    with pytest.raises(docker.errors.NotFound):
        container.reload()


def test_stop_and_restart(run):
    container = run(["sh", "-c", "trap 'exit 7' TERM; echo set; while :; do sleep 0.1; done"])
    # Before that the signal is ignored.
    assert next(container.logs(stream=True, follow=True)) == b"set\n"
    container.stop(timeout=10)
    assert container.wait()["StatusCode"] == 7
    first = container.attrs["State"]["StartedAt"]
    container.restart(timeout=0)
    container.reload()
    assert container.status == "running"
    assert container.attrs["State"]["StartedAt"] > first


def test_wait_for_the_next_end_and_for_removal(client, made):
    container = made(
        client.containers.create(IMAGE, ["sleep", "0.3"], auto_remove=True, network_mode="none")
    )
    container.start()
    assert container.wait(condition="removed", timeout=10)["StatusCode"] == 0


def test_wait_ends_with_a_run_though_a_restart_follows(run):
    container = run(
        ["sh", "-c", "sleep 0.3; exit 4"], restart_policy={"Name": "always"}
    )
    assert container.wait(timeout=10)["StatusCode"] == 4
    with pytest.raises(docker.errors.APIError, match="(?i)stop the container before"):
        container.remove()


def test_lists_filter_by_label_state_and_name(client, run, name):
    container = run(["true"], labels={name: "x"}, name=name)
    container.wait()
    for filters in ({"label": name}, {"label": f"{name}=x"}, {"name": name}):
        assert client.containers.list(all=True, filters=filters) == [container]
    assert client.containers.list(filters={"label": name}) == []
    assert client.containers.list(all=True, filters={"label": name, "status": "exited"})
    assert client.containers.list(all=True, filters={"label": f"{name}=y"}) == []


def test_rename_and_update(client, run, name, sleeper):
    sleeper.rename(name)
    assert client.containers.get(name).id == sleeper.id
    sleeper.update(mem_limit="64m", memswap_limit="64m")
    sleeper.reload()
    assert sleeper.attrs["HostConfig"]["Memory"] == 64 << 20


def test_limits_reach_the_container(client):
    output = client.containers.run(
        IMAGE,
        ["sh", "-c", "ulimit -n; df -k /dev/shm | tail -n 1"],
        ulimits=[docker.types.Ulimit(name="nofile", soft=77, hard=78)],
        shm_size="1m",
        remove=True,
        network_mode="none",
    )
    words = output.split()
    assert words[0] == b"77"
    assert b"1024" in words


def test_top_and_differences(sleeper):
    assert any("sleep 600" in " ".join(row) for row in sleeper.top()["Processes"])
    sleeper.exec_run(["sh", "-c", "echo > /new; rm /bin/ls"])
    kinds = {change["Path"]: change["Kind"] for change in sleeper.diff()}
    assert kinds["/new"] == 1
    assert kinds["/bin/ls"] == 2


def test_health_is_shown(run):
    container = run(
        ["sleep", "600"],
        stop_signal="SIGKILL",
        healthcheck={"test": ["CMD", "true"], "interval": 100_000_000},
    )
    for event in container.client.events(decode=True, filters={"container": container.id}, since=0):
        if event["Action"].startswith("health_status"):
            assert event["Action"] == "health_status: healthy"
            break
    container.reload()
    assert container.health == "healthy"


def test_prune_takes_what_has_ended(client, run, name, sleeper):
    ended = run(["true"], labels={name: ""})
    ended.wait()
    pruned = client.containers.prune(filters={"label": name})
    assert pruned["ContainersDeleted"] == [ended.id]
    sleeper.reload()
