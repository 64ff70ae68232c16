"""Networks: made, joined, left, removed."""

import docker
import pytest
from conftest import IMAGE
from docker.types import IPAMConfig, IPAMPool


@pytest.fixture
def network(client, made, name):
    return made(client.networks.create(name, driver="bridge", labels={"l": name}))


def joined(container):
    container.reload()
    return container.attrs["NetworkSettings"]["Networks"]


def test_made_listed_and_removed(client, network, name):
    assert client.networks.list(names=[name]) == [network]
    assert client.networks.list(filters={"label": f"l={name}"}) == [network]
    assert client.networks.get(name).attrs["Driver"] == "bridge"
    network.remove()
    with pytest.raises(docker.errors.NotFound):
        client.networks.get(network.id)


def test_a_name_may_have_spaces(client, made, name):
    made(client.networks.create(f"{name} two"))
    assert client.networks.list(names=[f"{name} two"])


def test_address_pools_are_kept(client, made, name):
    pool = IPAMPool(subnet="172.29.77.0/24", iprange="172.29.77.128/25", gateway="172.29.77.1")
    made(client.networks.create(name, ipam=IPAMConfig(pool_configs=[pool])))
    network = client.networks.get(name)
    (config,) = network.attrs["IPAM"]["Config"]
    assert config == {
        "Subnet": "172.29.77.0/24",
        "IPRange": "172.29.77.128/25",
        "Gateway": "172.29.77.1",
    }


def test_a_running_container_joins_and_leaves(client, network, name, run):
    container = run(["sleep", "600"], stop_signal="SIGKILL", network_mode="bridge")
    network.connect(container, aliases=["other"])
    settings = joined(container)[name]
    assert "other" in settings["Aliases"]
    network.reload()
    assert network.containers == [container]
    code, output = container.exec_run(["ip", "-o", "-4", "addr", "show", "eth1"])
    assert code == 0 and settings["IPAddress"].encode() in output
    network.disconnect(container)
    assert list(joined(container)) == ["bridge"]
    assert container.exec_run(["ip", "link", "show", "eth1"]).exit_code != 0


def test_one_that_left_its_last_network_joins_again(client, network, name, run):
    container = run(["sleep", "600"], stop_signal="SIGKILL", network_mode=name)
    network.disconnect(container)
    assert joined(container) == {}
    network.connect(container)
    settings = joined(container)[name]
    assert settings["IPAddress"]
    gateway = settings["Gateway"]
    assert container.exec_run(["ping", "-c", "1", "-w", "5", gateway]).exit_code == 0
    container.restart(timeout=0)
    assert list(joined(container)) == [name]


def test_an_address_of_ones_own(client, made, name):
    pool = IPAMPool(subnet="172.29.78.0/24")
    network = made(client.networks.create(name, ipam=IPAMConfig(pool_configs=[pool])))
    config = {name: client.api.create_endpoint_config(ipv4_address="172.29.78.9")}
    container = made(
        client.containers.create(
            IMAGE, ["sleep", "600"], network=name, networking_config=config, stop_signal="SIGKILL"
        )
    )
    container.start()
    assert joined(container)[name]["IPAddress"] == "172.29.78.9"
    network.reload()
    assert network.attrs["Containers"][container.id]["IPv4Address"] == "172.29.78.9/24"


def test_published_ports_are_told(run):
    container = run(
        ["sleep", "600"], stop_signal="SIGKILL", network_mode="bridge", ports={"80/tcp": None}
    )
    container.reload()
    bindings = container.ports["80/tcp"]
    assert bindings and all(int(binding["HostPort"]) > 0 for binding in bindings)


def test_one_in_use_is_not_removed(network, name, run):
    run(["sleep", "600"], stop_signal="SIGKILL", network_mode=name)
    with pytest.raises(docker.errors.APIError, match="active endpoints") as raised:
        network.remove()
    assert raised.value.status_code == 403


def test_prune_takes_what_nobody_uses(client, network, name):
    assert client.networks.prune(filters={"label": f"l={name}"})["NetworksDeleted"] == [name]
