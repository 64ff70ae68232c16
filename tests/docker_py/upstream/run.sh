#!/bin/sh
# Runs the Python SDK's own integration tests against a daemon of their own (root only), or against
# $DOCKER_HOST. What is listed in known.txt has to fail.
#
# usage: tests/docker_py/upstream/run.sh [pytest's arguments...]
#
# With SUITE_ENGINE=docker the same runs against dockerd, and nothing is expected.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../../.." && pwd)
if [ -z "${SUITE_PYTHON:-}" ]; then
    SUITE_PYTHON=$("$root/tests/harness/venv" docker-py-upstream "$here/requirements.txt")
    SUITE_TESTS=$("$root/fixtures/suites" docker-py)
    SUITE_ALPINE=$("$root/fixtures/make" alpine)/docker.tar
    SUITE_BUSYBOX=$("$root/fixtures/make" busybox)/docker.tar
    export SUITE_PYTHON SUITE_TESTS SUITE_ALPINE SUITE_BUSYBOX
    exec "$root/tests/harness/daemon" \
        --mirror busybox=busybox,hello-world,alpine --mirror alpine=alpine:3.10 "$0" "$@"
fi
# Two images: the one that the tests are for, and what they name in passing and may prune. Others are pulled.
docker load --quiet --input "$SUITE_ALPINE" >/dev/null
docker tag alpine:latest alpine:3.10
docker load --quiet --input "$SUITE_BUSYBOX" >/dev/null
docker tag busybox:latest alpine:latest
docker rmi busybox:latest >/dev/null
cd "$SUITE_TESTS/tests"
# Its unit tests test the SDK alone.
[ $# -gt 0 ] || set -- integration
export PYTHONPATH="$here" PYTHONDONTWRITEBYTECODE=1
exec "$SUITE_PYTHON/bin/python" -m pytest -p no:cacheprovider -p plugin --rootdir . -c /dev/null --timeout 60 -q "$@"
