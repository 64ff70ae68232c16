"""Removes every container, so that a daemon that is to go leaves nothing running."""

import docker

client = docker.from_env()
for container in client.containers.list(all=True, ignore_removed=True):
    try:
        container.remove(force=True, v=True)
    except docker.errors.NotFound:
        pass
