#!/bin/sh
# Puts the libraries of a Kafka broker into DIR/kafka, as tests/servers/kafka/pom.xml lists them, from Maven
# Central (54 MB). Needs Maven and Java 17 or newer, no root, and writes nothing outside of DIR but Maven's cache.
# A second run finds them and does nothing; another pom.xml downloads anew.
set -eu

if [ $# -ne 1 ]; then
    echo "usage: $0 DIR" >&2
    exit 64
fi
mkdir -p "$1"
dir=$(cd "$1" && pwd)
module=$(cd "$(dirname "$0")/.." && pwd)/tests/servers/kafka
built=$dir/kafka
work=$dir/kafka-new

if [ -d "$built" ] && cmp -s "$built/pom.xml" "$module/pom.xml"; then
    exit 0
fi

missing=
command -v java >/dev/null 2>&1 || missing="$missing, Java 17 or newer (package default-jre-headless)"
command -v mvn >/dev/null 2>&1 || missing="$missing, Maven (package maven)"
if [ -n "$missing" ]; then
    echo "The tests need Kafka, whose libraries Maven downloads. Missing for that: ${missing#, }." >&2
    exit 1
fi

rm -rf "$work"
mkdir -p "$work"
cp "$module/pom.xml" "$work/pom.xml"
echo "Downloading the libraries of Kafka for the tests (54 MB)." >&2
log=$work/log
if ! mvn --batch-mode --quiet -f "$work/pom.xml" dependency:copy-dependencies \
    "-DoutputDirectory=$work/libs" >"$log" 2>&1; then
    echo "The libraries of Kafka could not be downloaded:" >&2
    tail -30 "$log" >&2
    exit 1
fi
rm -f "$log"

# An interrupted run leaves what is there as it is: the new directory is renamed when complete.
rm -rf "$built"
mv "$work" "$built"
