#!/usr/bin/env bash
# Runs docker-compose.yml as its user would, on an engine of its own with stand-ins for the images that
# can't be had here (README.md beside this file), and checks all that it promises. Needs root, Debian, and
# the ports 1883, 6379, 8050, 8086, 8888, 9092 and 27017, or others by PORT_MQTT, PORT_REDIS, PORT_API, PORT_INFLUX,
# PORT_JUPYTER, PORT_KAFKA and PORT_MONGO.
# KEEP=1 leaves everything running at the end and prints how to use it. Names of checks run only these.
set -Eeuo pipefail
trap 'echo "   FAILED at ${BASH_SOURCE[0]##*/}:$LINENO: $BASH_COMMAND" >&2' ERR
cd "$(dirname "$0")/../.."

# What the services of the examples need, which is all; one set of images serves them and docker-compose.yml.
export RIGLINE_FEATURES=kafka,mongodb,postgres,protobuf

work=$PWD/target/compose
mkdir -p "$work/context"
passed=0

. scripts/commands.sh
. tests/compose/engine.sh
. tests/compose/checks.sh

say() { echo "-- $(date +%T) $*"; }

pass() {
    passed=$((passed + 1))
    echo "   ok: $*"
}

fail() {
    echo "   FAILED: $*" >&2
    exit 1
}

finish() {
    local code=$?
    trap - EXIT
    if [ "$code" -ne 0 ]; then
        docker compose ps --all || true
        docker compose logs --no-color --tail 40 || true
    fi
    if [ -n "${KEEP:-}" ]; then
        echo "it runs on: export DOCKER_HOST=$DOCKER_HOST DOCKER_CONFIG=$DOCKER_CONFIG; end it by kill $engine"
        exit "$code"
    fi
    colors down --volumes --timeout 20 >/dev/null 2>&1 || true
    facilities down --volumes --timeout 20 >/dev/null 2>&1 || true
    sensors down --volumes --timeout 20 >/dev/null 2>&1 || true
    workorders down --volumes --timeout 20 >/dev/null 2>&1 || true
    docker compose --profile tools down --volumes --timeout 20 >/dev/null 2>&1 || true
    engine_stop
    echo "test result: $([ "$code" -eq 0 ] && echo "ok. $passed passed; 0" || echo "FAILED. $passed passed; 1") failed"
    exit "$code"
}

if [ "$(id -u)" -ne 0 ]; then
    echo "this starts an engine of Docker's, and needs root" >&2
    exit 77
fi
for port in "${PORT_MQTT:-1883}" "${PORT_REDIS:-6379}" "${PORT_API:-8050}" "${PORT_INFLUX:-8086}" \
    "${PORT_JUPYTER:-8888}" "${PORT_KAFKA:-9092}" "${PORT_MONGO:-27017}" \
    "${PORT_POSTGRES:-5432}" "${PORT_FEED:-8060}"; do
    if (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then
        echo "port $port is taken: stop what listens there" >&2
        exit 1
    fi
done

say "engine and stand-ins"
engine_install
engine_start
trap finish EXIT
stand_ins

checks=(
    the_first_start_is_healthy_by_itself
    the_images_are_small_and_have_no_shell
    the_commands_of_readme_work
    our_containers_have_no_other_rights
    each_service_sees_its_own_secrets_only
    rows_arrive_and_the_ledger_is_balanced
    a_list_holds_the_rows_of_a_killed_sink
    a_standby_takes_over
    a_row_of_an_external_device_is_stored
    the_broker_can_require_passwords
    everything_stops_in_order
    an_incomplete_file_of_redis_is_repaired
    data_and_passwords_survive_down_and_up
    an_interrupted_set_up_continues
    the_example_shows_the_defaults
    given_secrets_are_used
    down_leaves_nothing
    system_1_runs_alone
    system_2_runs_alone
    system_3_runs_alone
    system_4_runs_alone
    systems_3_and_4_run_beside_each_other
)
[ "$#" -eq 0 ] || checks=("$@")
for check in "${checks[@]}"; do
    say "${check//_/ }"
    "$check"
done
