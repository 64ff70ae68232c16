"""Logs, attach, exec, events, stats: all that streams."""

import threading

import docker
import pytest
from conftest import IMAGE


def read_all(sock):
    """Everything until the other side closes."""
    sock = getattr(sock, "_sock", sock)
    chunks = []
    while chunk := sock.recv(4096):
        chunks.append(chunk)
    return b"".join(chunks)


def test_logs_are_told_apart(run):
    container = run(["sh", "-c", "for n in 1 2 3; do echo o$n; echo e$n >&2; done"])
    container.wait()
    assert container.logs(stderr=False) == b"o1\no2\no3\n"
    assert container.logs(stdout=False) == b"e1\ne2\ne3\n"
    stamped = container.logs(stderr=False, timestamps=True).splitlines()[0]
    assert stamped.endswith(b"Z o1")


def test_logs_have_a_tail(run):
    container = run(["sh", "-c", "for n in 1 2 3; do echo $n; done"])
    container.wait()
    assert container.logs(tail=2) == b"2\n3\n"
    assert container.logs(tail=0) == b""


def test_logs_follow_to_the_end(run):
    container = run(["sh", "-c", "for n in 1 2 3; do echo $n; sleep 0.1; done"])
    assert b"".join(container.logs(stream=True, follow=True)) == b"1\n2\n3\n"


def test_logs_of_a_terminal_are_raw(run):
    container = run(["echo", "hi"], tty=True)
    container.wait()
    assert container.logs() == b"hi\r\n"


def test_attach_follows_and_demultiplexes(client, made):
    container = made(
        client.containers.create(
            IMAGE, ["sh", "-c", "echo out; echo err >&2"], network_mode="none"
        )
    )
    stream = container.attach(stream=True, demux=True)
    container.start()
    out, err = zip(*stream)
    assert b"".join(filter(None, out)) == b"out\n"
    assert b"".join(filter(None, err)) == b"err\n"


def test_attached_input_reaches_the_process(client, made):
    container = made(
        client.containers.create(
            IMAGE, ["head", "-n", "1"], stdin_open=True, network_mode="none"
        )
    )
    params = {"stdin": 1, "stdout": 1, "stream": 1}
    sock = container.attach_socket(params=params)
    container.start()
    sock._sock.sendall(b"through\n")
    assert read_all(sock) == b"\x01\0\0\0\0\0\0\x08through\n"
    sock.close()
    assert container.wait()["StatusCode"] == 0


def test_exec_gives_output_and_exit_code(sleeper):
    assert sleeper.exec_run(["sh", "-c", "echo hi; exit 5"]) == (5, b"hi\n")
    code, streams = sleeper.exec_run(["sh", "-c", "echo o; echo e >&2"], demux=True)
    assert (code, streams) == (0, (b"o\n", b"e\n"))


def test_exec_has_its_exit_code_once_its_output_has_ended(sleeper):
    # It closes its streams well before it ends.
    for _ in range(5):
        script = "exec >/dev/null 2>&1; sleep 0.05; exit 6"
        assert sleeper.exec_run(["sh", "-c", script]).exit_code == 6


def test_exec_options(sleeper):
    code, output = sleeper.exec_run(
        ["sh", "-c", "echo $A; pwd; id -u"], environment={"A": "x"}, workdir="/etc", user="1000"
    )
    assert (code, output) == (0, b"x\n/etc\n1000\n")


def test_exec_of_nothing_fails_as_a_shell_would(sleeper):
    code, output = sleeper.exec_run(["no-such-command"])
    # 126 in dockerd before 28, 127 since.
    assert code in (126, 127)
    assert b"executable file not found in $PATH" in output


def test_exec_detached_can_be_inspected(client, sleeper):
    made = client.api.exec_create(sleeper.id, ["sleep", "600"])
    client.api.exec_start(made["Id"], detach=True)
    shown = client.api.exec_inspect(made["Id"])
    assert shown["Running"] and shown["ExitCode"] is None
    assert shown["ContainerID"] == sleeper.id
    assert shown["ProcessConfig"]["entrypoint"] == "sleep"


def test_exec_with_a_terminal_and_input(client, sleeper):
    made = client.api.exec_create(
        sleeper.id, ["sh", "-c", 'read x; echo "<$x>"'], tty=True, stdin=True
    )
    sock = client.api.exec_start(made["Id"], tty=True, socket=True)
    sock._sock.sendall(b"word\n")
    assert b"<word>" in read_all(sock)
    sock.close()
    assert client.api.exec_inspect(made["Id"])["ExitCode"] == 0


def test_events_tell_a_life_in_order(client, run, name):
    container = run(["true"], name=name)
    container.wait()
    container.remove()
    seen = []
    events = client.events(decode=True, since=0, filters={"container": name})
    for event in events:
        assert event["Actor"]["Attributes"]["name"] == name
        seen.append(event["Action"])
        if event["Action"] == "destroy":
            break
    events.close()
    assert seen == ["create", "start", "die", "destroy"]


def test_events_are_pushed_while_they_happen(client, name):
    events = client.events(decode=True, filters={"type": "volume", "event": "create"})
    got = []
    reader = threading.Thread(target=lambda: got.append(next(events)))
    reader.start()
    volume = client.volumes.create(name)
    reader.join(10)
    events.close()
    volume.remove()
    assert got[0]["Actor"]["ID"] == name


def test_stats_once_and_as_a_stream(sleeper):
    once = sleeper.stats(stream=False)
    assert once["id"] == sleeper.id
    assert once["pids_stats"]["current"] == 1
    assert once["memory_stats"]["usage"] > 0
    assert once["cpu_stats"]["cpu_usage"]["total_usage"] > 0
    stream = sleeper.stats(stream=True, decode=True)
    first, second = next(stream), next(stream)
    stream.close()
    assert second["read"] > first["read"]


def test_stream_of_a_container_that_is_gone(client, run):
    container = run(["true"])
    container.wait()
    container.remove()
    with pytest.raises(docker.errors.NotFound):
        container.logs()
