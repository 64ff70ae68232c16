#!/bin/bash
# Runs podman's own tests of its API (test/apiv2) against a daemon of their own (root only): what they ask of
# the Docker-compatible part. podman's own requests (libpod) are translated, so that the tests find what they
# make, and not judged. What is listed in known.txt has to fail.
#
# usage: tests/podman_api/run.sh [FILE...]      by number or name: 30, networks
#
# With SUITE_ENGINE=docker the same runs against dockerd, and nothing is expected.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
if [[ -z ${SUITE_TESTS:-} ]]; then
    SUITE_TESTS=$("$root/fixtures/suites" podman)
    SUITE_IMAGE=$("$root/fixtures/make" alpine)
    export SUITE_TESTS SUITE_IMAGE
    exec "$root/tests/harness/daemon" --mirror alpine=alpine --mirror busybox=busybox "$0" "$@"
fi
# Not here: files that are of libpod alone (pods, kube, manifests, short names), of a registry with a login, or
# of stops and mounts asked for by libpod's paths.
files=("$@")
(($#)) || files=(01-basic 10-images 20-containers 23-containersArchive 26-containersWait 27-containersEvents
    30-volumes 35-networks 44-mounts 45-system 50-secrets)

work=$(mktemp --directory "$SUITE_DIR/podman.XXXXXX")
port=8081
python3 -B "$here/proxy.py" "$port" &
proxy=$!
trap 'kill "$proxy"' EXIT
until (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; do sleep 0.05; done

for file in "${files[@]}"; do
    status=0
    "$here/image" quay.io/libpod/alpine_labels:latest >/dev/null
    # Each by itself: whatever ends one does not end the others.
    (cd "$work" && TMPDIR=$work PODMAN=$here/podman PODMAN_SERVICE_PORT=$port CONTAINERS_HELPER_BINARY_DIR=$here \
        timeout 300 bash "$SUITE_TESTS/test-apiv2" "$file") >"$work/$file.out" 2>&1 </dev/null || status=$?
    [[ $status != 124 ]] || { echo "$file does not end" >&2; exit 1; }
    docker ps --all --quiet | xargs --no-run-if-empty docker rm --force --volumes >/dev/null
    docker image prune --all --force >/dev/null
    docker volume ls --quiet | xargs --no-run-if-empty docker volume rm --force >/dev/null
    docker network prune --force >/dev/null
done
python3 -B "$here/judge.py" "$work"/*.out
