#!/bin/sh
# Sends thousands of generated requests to the API of a running `rigline up`, by its OpenAPI document, and checks
# each response against it (schemathesis, which is installed below target/).
set -eu
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
RIGLINE=${RIGLINE:-$root/target/debug/rigline}
[ -x "$RIGLINE" ] || { echo "there is no $RIGLINE: cargo build --workspace --bins" >&2; exit 1; }

venv=$root/target/schemathesis
version=4.32.5
if [ "$(cat "$venv/installed" 2>/dev/null)" != "$version" ]; then
    rm -rf "$venv"
    python3 -m venv "$venv"
    "$venv/bin/pip" install --quiet --disable-pip-version-check "schemathesis==$version"
    echo "$version" >"$venv/installed"
fi

work=$(mktemp -d)
RIGLINE_DATA=$work/data MQTT_LISTEN=127.0.0.1:0 API_ADDR=127.0.0.1:0 ADMIN_ADDR=127.0.0.1:0 \
    "$RIGLINE" up >"$work/up.log" 2>&1 &
up=$!
producer=
# shellcheck disable=SC2317 # called at the end
finish() {
    code=$?
    for process in $producer $up; do
        kill "$process" 2>/dev/null || true
        wait "$process" 2>/dev/null || true
    done
    [ "$code" -eq 0 ] || tail -n 30 "$work"/*.log
    rm -rf "$work"
    exit "$code"
}
trap finish EXIT

# Runs a command until it succeeds, for at most 30 s.
wait_for() {
    tries=0
    until "$@"; do
        tries=$((tries + 1))
        [ "$tries" -lt 60 ] || { echo "not within 30 s: $*" >&2; exit 1; }
        sleep 0.5
    done
}

wait_for grep -q 'dashboard: ' "$work/up.log"
url=$(grep -oE 'http://127\.0\.0\.1:[0-9]+' "$work/up.log" | head -n 1)
port=$(sed -nE 's/.*MQTT on 127\.0\.0\.1:([0-9]+).*/\1/p' "$work/up.log" | head -n 1)
MQTT_HOST=127.0.0.1 MQTT_PORT=$port RIGS=10 GARBLED=0.2 SEED=7 ADMIN_ADDR=127.0.0.1:0 \
    "$RIGLINE" producer >"$work/producer.log" 2>&1 &
producer=$!
wait_for python3 "$here/has_data.py" "$url"

# Streams don't end; their tests are in api/tests/it/stream.rs and rigline/tests/it/tap.rs. Requests that the document allows may be refused: a
# schema can't say how long a time range may be for the length of its buckets.
cd "$work"
"$venv/bin/st" run "$url/openapi.json" --exclude-operation-id openStream \
    --exclude-operation-id watchMessages --exclude-checks positive_data_acceptance \
    --phases examples,coverage,fuzzing \
    --max-examples "${EXAMPLES:-50}" --seed 1 --workers 1 --request-timeout 30 --no-color
kill -0 "$up" || { echo "rigline up has ended" >&2; exit 1; }
