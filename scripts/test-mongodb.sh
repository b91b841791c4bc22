#!/bin/sh
# Builds a server that speaks MongoDB's protocol into DIR/mongodb: FerretDB with SQLite, from its Go module in the
# version of tests/servers/mongodb/go.mod. Needs no root, and writes nothing outside of DIR but Go's caches. A second
# run does nothing; another version or program builds anew.
set -eu

if [ $# -ne 1 ]; then
    echo "usage: $0 DIR" >&2
    exit 64
fi
mkdir -p "$1"
dir=$(cd "$1" && pwd)
module=$(cd "$(dirname "$0")/../tests/servers/mongodb" && pwd)
built=$dir/mongodb
work=$dir/mongodb-new

if [ -x "$built/mongodb" ] && cmp -s "$built/go.sum" "$module/go.sum" && cmp -s "$built/main.go" "$module/main.go"; then
    exit 0
fi
command -v go >/dev/null 2>&1 || {
    echo "The tests need FerretDB, which is built from source here. Missing for that: Go 1.24 or newer (package" \
        "golang, or https://go.dev/dl)." >&2
    exit 1
}

rm -rf "$work"
mkdir -p "$work"
echo "Building FerretDB for the tests: 3 to 5 minutes the first time on 2 cores, seconds with warm caches of Go." >&2
cd "$module"
# Its database is SQLite in Go: no C compiler.
CGO_ENABLED=0 go build -trimpath -ldflags '-s -w' -o "$work/mongodb" . >"$work/log" 2>&1 || {
    echo "FerretDB could not be built:" >&2
    grep -v '^go: downloading' "$work/log" | tail -30 >&2
    exit 1
}
rm -f "$work/log"
# An interrupted run leaves what is there as it is.
cp go.sum main.go "$work/"
rm -rf "$built"
mv "$work" "$built"
