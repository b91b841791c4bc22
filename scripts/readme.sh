#!/usr/bin/env bash
# Runs the commands of README.md as a reader would, one after another, beside a Mosquitto, a Redis and
# a store on their usual ports, which must be free; then looks at what became of the readings.
set -euo pipefail
cd "$(dirname "$0")/.."

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

for port in 1883 6379 8086; do
    if (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then
        echo "port $port is taken: stop what listens there" >&2
        exit 1
    fi
done

# The configuration as it is delivered, but for the place of its data.
sed "s|/mosquitto/data/|$work/|" mosquitto/config/mosquitto.conf >"$work/mosquitto.conf"
[ "$(id -u)" -ne 0 ] || echo "user root" >>"$work/mosquitto.conf"
mosquitto -c "$work/mosquitto.conf" >"$work/mosquitto.log" 2>&1 &
pids+=($!)
(cd "$work" && exec redis-server --bind 127.0.0.1 --appendonly yes --appendfsync always \
    --maxmemory-policy noeviction --save "" >"$work/redis.log" 2>&1) &
pids+=($!)
victoria-metrics -httpListenAddr=127.0.0.1:8086 -storageDataPath="$work/store" \
    -retentionPeriod=100y -loggerLevel=ERROR >"$work/store.log" 2>&1 &
pids+=($!)
for port in 1883 6379 8086; do
    for _ in $(seq 100); do
        (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null && break
        sleep 0.1
    done
done

commands=$(awk '/^```sh$/ { inside = 1; next } /^```$/ { inside = 0 } inside' README.md)
cat >"$work/commands.sh" <<COMMANDS
set -euo pipefail
trap 'kill \$(jobs -p) 2>/dev/null; wait' EXIT
$(sed 's/^make try$/make try SECONDS=5/' <<<"$commands")
sleep 7
COMMANDS
bash "$work/commands.sh" 2>"$work/stages.log" || { cat "$work"/*.log >&2; exit 1; }

counter() { redis-cli hget rigline:rigs:ledger "$1"; }
echo "accepted $(counter accepted), rows stored $(counter rows_stored)"
# 600 readings of the fleet in 100 rows, and two of the device in one or two.
[ "$(counter accepted)" -eq 602 ] && [ "$(counter rows_stored)" -ge 101 ]
