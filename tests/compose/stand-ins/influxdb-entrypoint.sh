#!/bin/sh
# Ends both at SIGINT only, as InfluxDB does; SIGTERM would leave VictoriaMetrics no time to write.
set -e
trap '' TERM
victoria-metrics -storageDataPath=/var/lib/influxdb2/victoria-metrics -httpListenAddr=127.0.0.1:8428 \
    -retentionPeriod=30d -loggerLevel=WARN &
metrics=$!
influx-stand-in --listen 0.0.0.0:8086 --state /var/lib/influxdb2/state.json \
    --forward http://127.0.0.1:8428 &
server=$!
trap 'kill -INT "$server" "$metrics"; wait "$metrics"; exit 0' INT
wait "$server" || true
wait "$metrics"
