#!/bin/sh
# Tests the dashboard and the WebSocket of target/debug/rigline (or RIGLINE) in Chromium: CHROMIUM, or chromium of the
# PATH. `cost` instead measures what the page costs. Without a browser it fails, unless RIGLINE_SKIP_BROWSER=1 says
# that this is known.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)

CHROMIUM=${CHROMIUM:-$(command -v chromium || command -v chromium-browser || command -v google-chrome || true)}
if [ -z "$CHROMIUM" ]; then
    echo "NOT tested: the dashboard, since there is no Chromium: install it (apt-get install chromium), or set" >&2
    echo "CHROMIUM to its path. RIGLINE_SKIP_BROWSER=1 leaves these tests out." >&2
    [ "${RIGLINE_SKIP_BROWSER:-}" = 1 ] && exit 0
    exit 1
fi
RIGLINE=${RIGLINE:-$root/target/debug/rigline}
[ -x "$RIGLINE" ] || { echo "there is no $RIGLINE: cargo build -p rigline" >&2; exit 1; }

dir=$root/target/dashboard-tests
mkdir -p "$dir"
cp "$here"/package.json "$here"/package-lock.json "$here"/*.mjs "$dir"/
cd "$dir"
if ! cmp -s package-lock.json installed-lock.json; then
    npm ci --no-audit --no-fund --loglevel=error
    cp package-lock.json installed-lock.json
fi
export CHROMIUM RIGLINE
case "${1:-test}" in
    test) exec node --test --test-reporter=spec dashboard.test.mjs mqtt.test.mjs ;;
    cost) exec node cost.mjs ;;
esac
