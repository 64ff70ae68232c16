"""Between podman's tests and the daemon: from a TCP port to the socket of $DOCKER_HOST.

Requests of the Docker-compatible API go through as they are. Those of podman's own API (`/libpod/`), by which
the tests make what they then look at, become the like request of Docker's, and the answer takes podman's
shape as far as the tests go on from it.

usage: proxy.py PORT
"""

import asyncio
import json
import os
import re
import sys

SOCKET = os.environ["DOCKER_HOST"].removeprefix("unix://")


async def copy(reader, writer):
    try:
        while data := await reader.read(1 << 16):
            writer.write(data)
            await writer.drain()
        if writer.can_write_eof():
            writer.write_eof()
    except OSError:
        pass


async def ask(method, path, body=None):
    """Asks the daemon: the status and the answer, parsed if it can be."""
    reader, writer = await asyncio.open_unix_connection(SOCKET)
    data = b"" if body is None else json.dumps(body).encode()
    writer.write(
        f"{method} /v1.41/{path} HTTP/1.0\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(data)}\r\n\r\n".encode() + data
    )
    answer = await reader.read()
    writer.close()
    head, _, data = answer.partition(b"\r\n\r\n")
    status = int(head.split(b" ", 2)[1])
    try:
        return status, json.loads(data or b"null")
    except ValueError:
        return status, {}


def network(one):
    return {
        "name": one["Name"], "id": one["Id"], "created": one["Created"], "driver": one["Driver"],
        "labels": one["Labels"],
        "subnets": [{"subnet": pool["Subnet"], "gateway": pool.get("Gateway")} for pool in one["IPAM"]["Config"]],
    }


async def create_network(_, body):
    spec = {
        "Name": body.get("name") or f"podman{os.urandom(4).hex()}", "Driver": body.get("driver", "bridge"),
        "Labels": body.get("labels") or {},
        "IPAM": {"Config": [{"Subnet": pool["subnet"]} for pool in body.get("subnets") or []]},
    }
    status, made = await ask("POST", "networks/create", spec)
    if status != 201:
        return status, made
    return 200, network((await ask("GET", f"networks/{made['Id']}"))[1])


async def create_volume(_, body):
    spec = {
        "Name": body.get("Name") or body.get("name") or "", "Labels": body.get("Label") or {},
        "DriverOpts": body.get("Options") or {},
    }
    if spec["DriverOpts"]:
        # Docker wants a device of each, which podman doesn't.
        spec["DriverOpts"].setdefault("device", spec["DriverOpts"]["type"])
    return await ask("POST", "volumes/create", spec)


async def networks(query, _):
    status, all_ = await ask("GET", f"networks{query}")
    return status, [network(one) for one in all_] if status == 200 else all_


async def volumes(query, _):
    status, all_ = await ask("GET", f"volumes{query}")
    return status, all_["Volumes"] if status == 200 else all_


async def images(query, _):
    status, all_ = await ask("GET", f"images/json{query}")
    # podman's identifiers come without the algorithm.
    return status, [one | {"Id": one["Id"].removeprefix("sha256:")} for one in all_] if status == 200 else all_


async def info(*_):
    status, said = await ask("GET", "info")
    return status, {"store": {"volumePath": f"{said['DockerRootDir']}/volumes"}}


async def prune_system(query, _):
    for kind in "containers", "images", "networks", "volumes":
        filters = query.partition("filters=")[2].partition("&")[0]
        if kind == "volumes" and not filters:
            filters = '{"all":["true"]}'
        if kind == "images" and not filters:
            filters = '{"dangling":["false"]}'
        await ask("POST", f"{kind}/prune" + (f"?filters={filters}" if filters else ""))
    return 200, {}


SPECIAL = {
    ("POST", "networks/create"): create_network,
    ("GET", "networks/json"): networks,
    ("POST", "volumes/create"): create_volume,
    ("GET", "volumes/json"): volumes,
    ("GET", "images/json"): images,
    ("GET", "info"): info,
    ("POST", "system/prune"): prune_system,
}


async def libpod(method, target, body):
    path, mark, query = target.partition("?")
    if special := SPECIAL.get((method, path)):
        return await special(mark + query, body)
    # Where the two differ in the path alone.
    path = re.sub(r"^((networks|volumes|secrets)(/[^/]+)?)/json$", r"\1", path)
    path = re.sub(r"^((containers|images)/[^/]+)/exists$", r"\1/json", path)
    return await ask(method, path + mark + query, body)


async def serve(reader, writer):
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError:
        writer.close()
        return
    method, target, _ = head.split(b"\r\n", 1)[0].decode().split(" ", 2)
    own = re.match(r"/v[\d.]+/libpod/(.*)", target)
    length = re.search(rb"(?i)\r\ncontent-length: (\d+)", head)
    data = await reader.readexactly(int(length[1])) if length else b""
    if own:
        try:
            body = json.loads(data or b"{}")
        except ValueError:
            body = {}
        try:
            status, said = await libpod(method, own[1], body)
        except (KeyError, TypeError, AttributeError) as error:
            status, said = 500, {"message": f"not translated: {error!r}"}
        data = b"" if status in (204, 304) else json.dumps(said).encode()
        writer.write(
            f"HTTP/1.1 {status} -\r\nContent-Type: application/json\r\nConnection: close\r\n"
            f"Content-Length: {len(data)}\r\n\r\n".encode()
        )
        if method != "HEAD":
            writer.write(data)
    else:
        # The tests ask for one thing in a connection. The body goes with its head: a daemon that refuses may
        # not wait for it.
        back, forth = await asyncio.open_unix_connection(SOCKET)
        forth.write(head.replace(b"\r\n", b"\r\nConnection: close\r\n", 1) + data)
        sent = asyncio.create_task(copy(reader, forth))
        await copy(back, writer)
        sent.cancel()
        forth.close()
    writer.close()


async def main(port):
    # A task that nothing else holds may be collected while it waits.
    tasks = set()

    def accept(reader, writer):
        task = asyncio.create_task(serve(reader, writer))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    server = await asyncio.start_server(accept, "127.0.0.1", port)
    async with server:
        await server.serve_forever()


asyncio.run(main(int(sys.argv[1])))
