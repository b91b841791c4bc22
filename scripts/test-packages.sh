#!/bin/sh
# Unpacks the servers that the tests need from Debian (Mosquitto, Redis, PostgreSQL), the library that shows them
# another time (libfaketime), Prometheus's promtool and pkg-config from Debian packages into DIR/root:
# without root, and touching nothing outside of DIR. What the machine has is left out; a second run finds
# everything and does nothing; a run of a newer script adds what is missing.
set -eu

if [ $# -ne 1 ]; then
    echo "usage: $0 DIR" >&2
    exit 64
fi
mkdir -p "$1"
dir=$(cd "$1" && pwd)

have() {
    PATH="$PATH:/usr/sbin:$dir/root/usr/bin:$dir/root/usr/sbin" command -v "$1" >/dev/null 2>&1
}

# Debian keeps PostgreSQL's programs outside of PATH, in a directory for each version.
have_postgres() {
    for program in /usr/lib/postgresql/*/bin/postgres "$dir"/root/usr/lib/postgresql/*/bin/postgres; do
        [ ! -x "$program" ] || return 0
    done
    return 1
}

have_library() {
    for library in /usr/lib/*-linux-gnu/"$1" "$dir"/root/usr/lib/*-linux-gnu/"$1"; do
        [ ! -f "$library" ] || return 0
    done
    return 1
}

packages=
while read -r program package; do
    have "$program" || packages="$packages $package"
done <<LIST
mosquitto mosquitto
mosquitto_pub mosquitto-clients
mosquitto_sub mosquitto-clients
redis-server redis-server
redis-cli redis-tools
promtool prometheus
pkg-config pkg-config
LIST
have_postgres || packages="$packages postgresql"
programs=$packages
have_library faketime/libfaketime.so.1 || packages="$packages libfaketime"
[ -n "$packages" ] || exit 0

if ! command -v apt-get >/dev/null || ! command -v dpkg >/dev/null; then
    # Only tests of wrong clocks need the library, and they say so.
    [ -n "$programs" ] || exit 0
    echo "the tests need these programs on PATH: mosquitto, mosquitto_pub, mosquitto_sub," \
        "redis-server, redis-cli, postgres, promtool, pkg-config (Debian packages:$packages)" >&2
    exit 1
fi

work=$dir/work
rm -rf "$work"
mkdir -p "$work/lists/partial" "$work/cache/archives/partial" "$work/parts" "$work/root"

# The machine's own settings (proxies and the like), but without the hooks that containers have:
# those empty the machine's package cache after each run. Parts are read in the order of their names.
cp /etc/apt/apt.conf.d/* "$work/parts/" 2>/dev/null || true
cat >"$work/parts/zz-no-hooks" <<CONF
#clear APT::Update::Pre-Invoke;
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
#clear DPkg::Pre-Invoke;
#clear DPkg::Post-Invoke;
#clear DPkg::Pre-Install-Pkgs;
CONF
cat >"$work/apt.conf" <<CONF
Dir::Etc::parts "$work/parts";
Dir::State "$work";
Dir::State::lists "$work/lists";
Dir::State::status "/var/lib/dpkg/status";
Dir::Cache "$work/cache";
Dir::Log "$work";
Debug::NoLocking "1";
APT::Sandbox::User "";
CONF
export APT_CONFIG="$work/apt.conf"

apt-get -qq update
# shellcheck disable=SC2086 # a list of names
apt-get -qq -y --no-install-recommends --download-only install $packages
# What is there from before stays.
[ ! -d "$dir/root" ] || cp -a "$dir/root/." "$work/root"
for deb in "$work"/cache/archives/*.deb; do
    dpkg -x "$deb" "$work/root"
done

# Renamed when it is complete, so that an interrupted run leaves no half of it behind.
# The old one goes only afterwards: others may be starting servers from it.
[ ! -d "$dir/root" ] || mv "$dir/root" "$work/old"
mv "$work/root" "$dir/root"
rm -rf "$work"
