#!/bin/sh
# As in the official image: a server started by root gives its files to the user redis, and becomes it.
# A server in a container is reached from outside, so it isn't in protected mode there.
set -e
if [ "$1" = redis-server ] && [ "$(id -u)" = 0 ]; then
    chown -R redis:redis .
    exec setpriv --nnp --reuid redis --regid redis --clear-groups "$0" "$@"
fi
if [ "$1" = redis-server ]; then
    exec "$@" --protected-mode no
fi
exec "$@"
