#!/bin/sh
# Runs the checks with Docker's Python SDK: against $DOCKER_HOST, or else beside a daemon of their own (root
# only, see tests/harness/daemon).
#
# usage: tests/docker_py/run.sh [pytest's arguments...]
set -eu
here=$(cd "$(dirname "$0")" && pwd)
venv=$("$here/../harness/venv" docker-py "$here/requirements.txt")
cd "$here"
exec ../harness/daemon "$venv/bin/python" -B -m pytest -p no:cacheprovider --timeout 60 -q "$@"
