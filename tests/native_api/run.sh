#!/bin/sh
# Checks the native API against its own description with schemathesis: whatever is asked, no answer is
# a fault of the server's, and status, type and form of each are as described. The runtime is in memory.
#
# usage: tests/native_api/run.sh [schemathesis' options...]
set -eu
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
target=${CARGO_TARGET_DIR:-$root/target}

venv=$("$root/tests/harness/venv" native-api "$here/requirements.txt")
cargo build --locked --quiet --manifest-path "$root/Cargo.toml" --package coracle-api --example mock
dir=$(mktemp -d /tmp/coracle-native-api.XXXXXX)
server=
finish() {
    status=$?
    trap - EXIT INT TERM
    [ -z "$server" ] || kill "$server" 2>/dev/null || true
    rm -rf "$dir"
    exit "$status"
}
trap finish EXIT
trap 'exit 130' INT TERM

"$target/debug/examples/mock" 127.0.0.1:0 2>"$dir/said" &
server=$!
tries=0
until [ -s "$dir/said" ]; do
    tries=$((tries + 1))
    [ "$tries" -lt 100 ] || { echo "native_api: the server does not come up" >&2; exit 1; }
    sleep 0.1
done
read -r address key <"$dir/said"

cd "$dir"
# Waiting and events have no end by themselves, and a revoked key would end the checks.
SCHEMATHESIS_HOOKS=hooks PYTHONPATH=$here PYTHONDONTWRITEBYTECODE=1 \
    timeout 120 "$venv/bin/schemathesis" run "http://$address/api/v1/openapi.json" \
    --url "http://$address/api/v1" --header "Authorization: Bearer $key" \
    --max-examples 8 --generation-deterministic \
    --workers 2 --request-timeout 10 --no-color \
    --exclude-operation-id deleteKeysKey --exclude-path /events --exclude-path-regex '/wait$' \
    --checks not_a_server_error,status_code_conformance,content_type_conformance,response_headers_conformance,response_schema_conformance,negative_data_rejection,unsupported_method \
    "$@" >"$dir/out" 2>&1 || { cat "$dir/out"; exit 1; }
grep -E '^  (Tested|Selected):|cases:|generated' "$dir/out" || true
