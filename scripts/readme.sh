#!/usr/bin/env bash
# Runs the commands of README.md and of some pages in docs as a reader would, one after another: first those that
# need no servers, then those beside a Mosquitto, a Redis and a store on their usual ports, which must be free; and
# checks their output and the stored readings. tests/compose/run.sh runs those with containers.
# They run on the programs of `make unit`, since a build with --release takes ten minutes; RELEASE=1 runs them as they
# are written.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/commands.sh

if [ "${RELEASE:-}" = 1 ]; then
    programs=target/release
    as_built() { cat; }
else
    programs=target/debug
    as_built() {
        sed -e '/^cargo build --release/d' -e "s#^cargo run --release -- #$programs/rigline #" \
            -e "s#target/release/#$programs/#"
    }
    [ -x $programs/rigline ] || { echo "there is no $programs/rigline: run make unit first, or set RELEASE=1" >&2; exit 1; }
fi

servers=$PWD/target/test-servers
sh scripts/test-servers.sh "$servers"
export PATH="$PATH:/usr/sbin:$servers/root/usr/bin:$servers/root/usr/sbin"
libraries=$(find "$servers/root" -type d -path '*/lib/*-linux-gnu' 2>/dev/null | paste -sd: || true)
export LD_LIBRARY_PATH="${LD_LIBRARY_PATH:-}${LD_LIBRARY_PATH:+:}$libraries"

work=$(mktemp -d)
pids=()
finish() {
    for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done
    for pid in "${pids[@]}"; do wait "$pid" 2>/dev/null || true; done
    rm -rf "$work"
}
trap finish EXIT

for port in 1883 6379 8050 8086 8883; do
    if (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then
        echo "port $port is taken: stop what listens there" >&2
        exit 1
    fi
done

# A reader ends the demonstration by Ctrl-C.
shortened() {
    sed -e 's/^cargo run --release -- demo$/& --duration 10s/'
}

# Runs the commands on its input, and prints their output if they fail.
run() {
    {
        echo "set -euo pipefail"
        echo "trap 'kill \$(jobs -p) 2>/dev/null || true; wait' EXIT"
        as_built
    } >"$work/commands.sh"
    bash "$work/commands.sh" >"$work/said" 2>"$work/stages.log" || { cat "$work"/said "$work"/*.log >&2; exit 1; }
    cat "$work/said"
}

expect() {
    for part in "$@"; do
        grep -qF -- "$part" "$work/said" || { echo "the output lacks: $part" >&2; exit 1; }
    done
}

commands README.md "### In one process" "## Connect your own device" | shortened | run
expect "mosquitto_pub -q 1" "$programs/rigline rows" "readings/s=" "ledger balanced" "is removed"
rows=$(sed -n 's/.*stored \([0-9]*\) rows.*/\1/p' "$work/said" | tail -n 1)
[ "$rows" -ge 50 ] || { echo "the demonstration stored $rows rows" >&2; exit 1; }

export RIGLINE_DATA="$work/data"
commands README.md "## Connect your own device" "## The guarantee in short" | run
expect "rig_id" "14.8" "MINE" "balanced" "not_json" "1 shown of 1" '"key":"MINE"'
# On the same data, with the dead letter that the commands above left.
commands docs/operations.md "### Repair" "### Discard" | run
expect "1 of 1 pass and would be replayed" "1 replayed, 0 not"

# A reader leaves `rigline up` running, and has another terminal for what comes after it.
beside() {
    awk '/^rigline up / { up = 1 }
        { printf "%s", $0 }
        up && !/\\$/ { printf " &\ntimeout 30 sh -c \"until rigline up healthcheck --ready; do sleep 0.1; done\""; up = 0 }
        { print "" }'
}

# The commands of a page between two headings, and those on the input after them, in a directory of their own.
page() {
    { commands "docs/$1" "$2" "$3"; cat; } | beside | (cd "$work/page" && run)
}

mkdir "$work/page"
PATH="$PWD/$programs:$PATH"
page tls.md "## Certificates to try it with" "## In containers" </dev/null
expect '"name":"rigs"'
# The files that the commands of the next page name: its rules, and what those of the page before have made.
(
    awk '/^## Who may publish what/ { on = 1 } on && /^```$/ { if (inside) exit; inside = 1; next } inside' \
        docs/listener.md >"$work/page/rules.txt"
    cd "$work/page"
    cp tls/server.pem tls/server.key .
    echo "a password" | rigline passwd users.txt plant 2>passwd.log
)
publish="mosquitto_pub -q 1 -V mqttv5 -u plant -P 'a password' -m '{\"value\": 2.5}'"
page listener.md "## Who may publish" "## Who may publish what" <<END
for rig in RIG-6 RIG-7; do $publish -t rigs/\$rig/measurements/pressure 2>&1; done
rigline dlq list
END
expect "Not authorized" "not_allowed" "RIG-7"
page listener.md "## TLS" "## WebSocket" <<END
$publish -h localhost -p 8883 --cafile tls/ca.pem -t rigs/RIG-8/measurements/pressure
sleep 6
rigline rows RIG-8
END
expect "Z  2.5"
unset RIGLINE_DATA

# The configuration as it is delivered, but for the place of its data.
sed "s|/mosquitto/data/|$work/|" mosquitto/config/mosquitto.conf >"$work/mosquitto.conf"
[ "$(id -u)" -ne 0 ] || echo "user root" >>"$work/mosquitto.conf"
mosquitto -c "$work/mosquitto.conf" >"$work/mosquitto.log" 2>&1 &
pids+=($!)
(cd "$work" && exec redis-server --bind 127.0.0.1 --appendonly yes --appendfsync always \
    --maxmemory-policy noeviction --save "" >"$work/redis.log" 2>&1) &
pids+=($!)
"$servers/influxdb/influxd" --http-bind-address 127.0.0.1:8086 --bolt-path "$work/influxd.bolt" \
    --sqlite-path "$work/influxd.sqlite" --engine-path "$work/engine" --reporting-disabled \
    --log-level error >"$work/store.log" 2>&1 &
pids+=($!)
for port in 1883 6379 8086; do
    for _ in $(seq 100); do
        (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null && break
        sleep 0.1
    done
done
export INFLUX_TOKEN=token-of-the-readme
INFLUX_CONFIGS_PATH="$work/influx-configs" "$servers/influxdb/influx" setup --force --username admin \
    --password password --org my-org --bucket rigs --token "$INFLUX_TOKEN" >"$work/setup.log"

{ commands docs/operations.md "## Beside your own servers" "## Notebook" | shortened; echo "sleep 7"; } | run
expect "balanced" "0 shown of 0"
commands README.md "## Development" "## Licence" | run

counter() { redis-cli hget rigline:rigs:ledger "$1"; }
echo "accepted $(counter accepted), rows stored $(counter rows_stored)"
# 600 readings of the fleet in 100 rows.
[ "$(counter accepted)" -eq 600 ] && [ "$(counter rows_stored)" -ge 100 ]
