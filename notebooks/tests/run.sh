#!/bin/sh
# Checks and tests the notebook, in a virtual environment under target/ that is made anew when the
# requirements have changed. Needs Python 3.11 or newer (or the one that PYTHON names), and Cargo if
# the program isn't built, and what building InfluxDB needs if there is none.
set -eu
cd "$(dirname "$0")/../.."

venv=target/notebook-venv
python=${PYTHON:-python3}

wanted=$("$python" --version; cat notebooks/requirements.txt notebooks/tests/requirements.txt)
if [ "$(cat "$venv/installed" 2>/dev/null)" != "$wanted" ]; then
    rm -rf "$venv"
    "$python" -m venv "$venv"
    "$venv/bin/pip" install --quiet --disable-pip-version-check \
        -r notebooks/requirements.txt -r notebooks/tests/requirements.txt
    # Last, so that an installation that was broken off is made anew.
    printf '%s\n' "$wanted" >"$venv/installed"
fi

sh scripts/test-influxdb.sh target/test-servers
INFLUXD=$PWD/target/test-servers/influxdb/influxd
export INFLUXD

if [ -z "${RIGLINE_PROGRAM:-}" ]; then
    "${CARGO:-cargo}" build --quiet --bin rigline -p rigline
    RIGLINE_PROGRAM=target/debug/rigline
fi
export RIGLINE_PROGRAM

export PYTHONDONTWRITEBYTECODE=1
"$venv/bin/ruff" check --no-cache notebooks
"$venv/bin/ruff" format --no-cache --check notebooks
exec "$venv/bin/python" -m pytest --quiet notebooks/tests "$@"
