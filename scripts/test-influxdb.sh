#!/bin/sh
# Puts InfluxDB 2 (`influxd`) and its command (`influx`) into DIR/influxdb: links to those on PATH
# if both are of version 2, otherwise built from their Go modules, in the versions of
# tests/servers/influxdb/go.mod. Needs no root, and writes nothing outside of DIR but the caches of
# Go and Cargo. A second run finds both and does nothing; other versions in go.mod build anew.
set -eu

if [ $# -ne 1 ]; then
    echo "usage: $0 DIR" >&2
    exit 64
fi
mkdir -p "$1"
dir=$(cd "$1" && pwd)
tree=$(cd "$(dirname "$0")/.." && pwd)
module=$tree/tests/servers/influxdb
built=$dir/influxdb
work=$dir/influxdb-new
server=github.com/influxdata/influxdb/v2/cmd/influxd
version=$(sed -n 's|.*github.com/influxdata/influxdb/v2 ||p' "$module/go.mod")

if [ -x "$built/influxd" ] && [ -x "$built/influx" ] &&
    cmp -s "$built/go.sum" "$module/go.sum"; then
    exit 0
fi

rm -rf "$work"
mkdir -p "$work"

# An interrupted run leaves what is there as it is: the new directory is renamed when complete.
finish() {
    cp "$module/go.sum" "$work/go.sum"
    rm -rf "$built"
    mv "$work" "$built"
}

is_version_2() {
    command -v "$1" >/dev/null 2>&1 && "$1" version 2>/dev/null | grep -Eq "^$2 v?2\."
}

if is_version_2 influxd InfluxDB && is_version_2 influx 'Influx CLI'; then
    ln -s "$(command -v influxd)" "$work/influxd"
    ln -s "$(command -v influx)" "$work/influx"
    finish
    exit 0
fi

# pkg-config may have been unpacked beside the other servers.
PATH="$PATH:$dir/root/usr/bin"
LD_LIBRARY_PATH=${LD_LIBRARY_PATH:-}$(printf ':%s' "$dir"/root/usr/lib/*-linux-gnu)
export PATH LD_LIBRARY_PATH

missing=
command -v go >/dev/null 2>&1 || missing="$missing, Go 1.24 or newer (package golang, or https://go.dev/dl)"
command -v cargo >/dev/null 2>&1 || missing="$missing, Rust (https://rustup.rs)"
command -v pkg-config >/dev/null 2>&1 || missing="$missing, pkg-config (package pkg-config)"
compiler=$(go env CC 2>/dev/null || echo gcc)
command -v "${compiler%% *}" >/dev/null 2>&1 || missing="$missing, a C compiler (package gcc)"
if [ -n "$missing" ]; then
    echo "The tests need InfluxDB 2, which is built from source here. Missing for that: ${missing#, }." >&2
    echo "Or install InfluxDB 2 and its command influx (version 2.x), so that both are on PATH." >&2
    exit 1
fi

# libflux asks for a toolchain of its own and makes errors of a newer compiler's warnings: it is
# built with the toolchain of this workspace, without that feature.
cat >"$work/cargo" <<'SCRIPT'
#!/bin/sh
exec cargo "$@" -p flux --no-default-features --features cffi
SCRIPT
chmod +x "$work/cargo"
unset CARGO_TARGET_DIR CARGO_BUILD_TARGET RUSTFLAGS CARGO_ENCODED_RUSTFLAGS

build() {
    cd "$module"
    go build -v -o "$work/pkg-config" github.com/influxdata/pkg-config &&
        CARGO=$work/cargo PKG_CONFIG=$work/pkg-config \
            RUSTUP_TOOLCHAIN=$(sed -n 's/^channel = "\(.*\)"/\1/p' "$tree/rust-toolchain.toml") \
            go build -v -tags sqlite_foreign_keys,sqlite_json -o "$work/" \
            -ldflags "$server=-X main.version=$version" "$server" \
            github.com/influxdata/influx-cli/v2/cmd/influx
}

begin=$(date +%s)
log=$work/log
echo "Building InfluxDB 2 for the tests: 6 to 10 minutes the first time on 2 cores, seconds with" \
    "warm caches of Go and Cargo." >&2
build >"$log" 2>&1 &
builder=$!
trap 'kill "$builder" 2>/dev/null || true; exit 130' INT TERM HUP

# One line that is rewritten on a terminal; elsewhere a line every half minute.
rounds=0
while kill -0 "$builder" 2>/dev/null; do
    sleep 1
    rounds=$((rounds + 1))
    if [ -t 2 ] || [ $((rounds % 30)) -eq 0 ]; then
        seconds=$(($(date +%s) - begin))
        progress=$(printf '%d:%02d, %d modules loaded, %d packages compiled' $((seconds / 60)) \
            $((seconds % 60)) "$(grep -c '^go: downloading' "$log" || true)" \
            "$(grep -c -v '^go: ' "$log" || true)")
        if [ -t 2 ]; then
            printf '\r  %s' "$progress" >&2
        else
            echo "  $progress" >&2
        fi
    fi
done
[ ! -t 2 ] || printf '\n' >&2

if ! wait "$builder"; then
    echo "InfluxDB 2 could not be built:" >&2
    grep -v -e '^go: downloading' -e '^[[:alnum:]./_-]*$' "$log" | tail -30 >&2
    exit 1
fi
rm -f "$work/cargo" "$work/pkg-config" "$log"
finish
seconds=$(($(date +%s) - begin))
echo "Built InfluxDB 2 in $((seconds / 60)) min $((seconds % 60)) s." >&2
