#!/bin/sh
# As in the official image: a server started by root gives its files to the user influxdb, and becomes it.
set -e
if [ "$1" = influxd ] && [ "$(id -u)" = 0 ]; then
    chown -R influxdb:influxdb /var/lib/influxdb2 /etc/influxdb2
    exec setpriv --nnp --reuid influxdb --regid influxdb --clear-groups "$0" "$@"
fi
exec "$@"
