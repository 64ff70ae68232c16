#!/bin/sh
# Runs the checks with Docker's Python SDK: against $DOCKER_HOST, or else against a daemon of their own
# (root only), in a network namespace of its own.
#
# usage: tests/docker_py/run.sh [FOLDER OF coracled AND coracle-shim] [pytest's arguments...]
set -eu
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
bin=${CARGO_TARGET_DIR:-$root/target}/debug
if [ $# -gt 0 ] && [ -d "$1" ] && [ -x "$1/coracled" ]; then
    bin=$(cd "$1" && pwd)
    shift
fi

# Kept until the requirements change.
sum=$(sha256sum "$here/requirements.txt" | cut -c1-16)
cache=${CORACLE_CACHE:-/var/cache/coracle-fixtures}
venv=$cache/docker-py-$sum
mkdir -p "$cache"
(
    flock 9
    if [ ! -e "$venv/ready" ]; then
        rm -rf "$venv"
        python3 -m venv "$venv"
        "$venv/bin/pip" install --quiet --disable-pip-version-check -r "$here/requirements.txt"
        touch "$venv/ready"
    fi
) 9>"$cache/.docker-py.lock"

tests() {
    "$venv/bin/python" -B -m pytest -p no:cacheprovider --timeout 60 -q "$@"
}

if [ -n "${DOCKER_HOST:-}" ]; then
    cd "$here"
    tests "$@"
    exit
fi
if [ "$(id -u)" != 0 ]; then
    echo "docker_py: skipped: needs root to start a daemon, or DOCKER_HOST" >&2
    exit 0
fi
dir=$(mktemp -d /tmp/coracle-docker-py.XXXXXX)
group=/coracle-docker-py-$$
daemon=
finish() {
    status=$?
    trap - EXIT INT TERM
    if [ -n "$daemon" ]; then
        # Containers outlive the daemon, so they go before it.
        DOCKER_HOST=unix://$dir/socket "$venv/bin/python" -B "$here/clear.py" || status=1
        kill "$daemon"
        wait "$daemon" || true
    fi
    [ "$status" = 0 ] || tail -n 20 "$dir/log" >&2
    find /sys/fs/cgroup -depth -type d -path "*$group*" -exec rmdir {} + 2>/dev/null || true
    rm -rf "$dir"
    exit "$status"
}
trap finish EXIT
trap 'exit 130' INT TERM
unshare -n sh -c 'ip link set lo up && exec "$@"' - "$bin/coracled" \
    --data-root "$dir/data" --exec-root "$dir/run" -H "unix://$dir/socket" \
    --shim "$bin/coracle-shim" --cgroup-parent "$group" >"$dir/log" 2>&1 &
daemon=$!
export DOCKER_HOST="unix://$dir/socket"
cd "$here"
tests "$@"
