#!/bin/sh
# Puts the servers that the tests need into DIR: Debian's (test-packages.sh), InfluxDB 2 (test-influxdb.sh),
# Kafka (test-kafka.sh) and FerretDB (test-mongodb.sh), and clients for Python (paho-mqtt, confluent-kafka). Needs
# no root. A second run finds everything and does nothing.
set -eu

if [ $# -ne 1 ]; then
    echo "usage: $0 DIR" >&2
    exit 64
fi
mkdir -p "$1"
dir=$(cd "$1" && pwd)
scripts=$(cd "$(dirname "$0")" && pwd)

# Two runs at once (`make servers` beside `cargo test`) would write the same files.
if command -v flock >/dev/null; then
    exec 9>"$dir/lock"
    flock --nonblock 9 || { echo "waiting for another run of $0" >&2; flock 9; }
fi

# Only the tests with these clients need them, and they say so.
paho=2.1.0
confluent=2.16.1
if [ ! -d "$dir/python/paho_mqtt-$paho.dist-info" ] ||
    [ ! -d "$dir/python/confluent_kafka-$confluent.dist-info" ]; then
    rm -rf "$dir/python" "$dir/python-new"
    if python3 -m pip install --quiet --disable-pip-version-check --no-deps \
        --target "$dir/python-new" "paho-mqtt==$paho" "confluent-kafka==$confluent" >&2; then
        mv "$dir/python-new" "$dir/python"
    else
        echo "left out: the clients paho-mqtt and confluent-kafka, which need python3 with pip and its registry" >&2
    fi
fi

sh "$scripts/test-packages.sh" "$dir"
sh "$scripts/test-influxdb.sh" "$dir"
sh "$scripts/test-kafka.sh" "$dir"
sh "$scripts/test-mongodb.sh" "$dir"
