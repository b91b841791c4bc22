# Sourced by run.sh: one function for each check, in the order of their calls. Each check uses the
# containers that the one before left running.

services="api influxdb ingester mosquitto notebook producer redis sink transformer"
stages="ingester producer sink transformer"

# Waits until a command succeeds: until SECONDS COMMAND...
until_true() {
    local end=$((SECONDS + $1))
    shift
    until "$@"; do
        [ "$SECONDS" -lt "$end" ] || return 1
        sleep 0.5
    done
}

container() { docker compose ps --all --quiet "$1" | head -n 1; }

# The operator token, which changes with `down -v`.
operator() { docker compose run --rm --no-TTY rigline passwords | sed -n 's/^ *operator token *//p'; }

# The last column of a Flux query's result: flux TOKEN QUERY
flux() {
    docker compose exec -T influxdb influx query --org my-org --token "$1" --raw "$2" |
        tr -d '\r' | sed -nE 's/^,.*,([^,]+)$/\1/p' | sed 1d
}

# The number of stored values of a sensor.
stored() {
    flux "$(operator)" 'from(bucket: "rigs") |> range(start: -1d) |> filter(fn: (r) => r._field == "pressure")
        |> group() |> count() |> keep(columns: ["_value"])'
}

has_more_than() { local now; now=$(stored); [ "${now:-0}" -gt "$1" ]; }

redis() { docker compose exec -T redis redis-cli "$@"; }

ledger() { docker compose run --rm --no-TTY rigline ledger; }

token_of() { docker compose exec -T notebook cat /run/rigline/jupyter-token; }

# The status of a request to Jupyter that needs the token.
jupyter() {
    curl -sS -o /dev/null -w '%{http_code}' --max-time 10 "http://127.0.0.1:${PORT_JUPYTER:-8888}/api/contents?token=$1"
}

# The newest values and the ledger, over HTTP.
the_api_answers() {
    curl -sS "http://127.0.0.1:${PORT_API:-8050}/api/v1/pipelines/rigs/{latest,health}" >"$work/api" 2>&1 &&
        grep -q '"pressure"' "$work/api" && grep -q '"balanced":true' "$work/api" && grep -q '"ready":true' "$work/api"
}

all_healthy() {
    local name state
    for name in $services; do
        state=$(docker inspect --format '{{.State.Health.Status}}' "$(container "$name")")
        [ "$state" = healthy ] || { echo "$name is $state"; return 1; }
    done
}

the_first_start_is_healthy_by_itself() {
    [ ! -e .env ] || fail "there is an .env: this is to be a start without one"
    local started=$SECONDS
    docker compose build --quiet >"$work/build.log" 2>&1 || { tail -n 60 "$work/build.log"; fail "the build"; }
    pass "built in $((SECONDS - started)) s"
    started=$SECONDS
    docker compose up --wait --wait-timeout 240 >"$work/up.log" 2>&1 || { tail -n 40 "$work/up.log"; fail "up --wait"; }
    all_healthy || fail "not all are healthy"
    pass "all $(wc -w <<<"$services") services are healthy without an .env, $((SECONDS - started)) s after up"
    # Errors at a normal start would teach users to ignore errors.
    ! docker compose logs --no-color $stages | grep -E '"level":"(WARN|ERROR)"' || fail "a stage logs a warning or an error"
    pass "no stage logged a warning at its start"
    docker compose logs --no-log-prefix init >"$work/init.log"
    for part in "http://localhost:${PORT_INFLUX:-8086}" "http://localhost:${PORT_JUPYTER:-8888}" admin "docker compose run --rm rigline passwords"; do
        grep -qF "$part" "$work/init.log" || { cat "$work/init.log"; fail "init doesn't print $part"; }
    done
    pass "init prints the addresses and how to show the passwords"
    docker compose run --rm --no-TTY rigline passwords >"$work/passwords"
    local secret
    for secret in $(token_of); do
        grep -qF "$secret" "$work/passwords" || fail "passwords doesn't show Jupyter's token"
        docker compose logs --no-color >"$work/all.log" 2>&1
        ! grep -qF "$secret" "$work/all.log" || fail "a log shows Jupyter's token"
    done
    pass "the passwords are shown by the command, and in no log"
}

the_images_are_small_and_have_no_shell() {
    local name size image limit
    for name in $stages init; do
        image=rigline-$name
        size=$(docker image inspect --format '{{.Size}}' "$image")
        # With the clients of Kafka and MongoDB; that of `init` has all of Rigline in one program.
        limit=32000000
        [ "$name" != init ] || limit=56000000
        [ "$size" -le "$limit" ] || fail "$image has $size bytes"
        if docker run --rm --entrypoint /bin/sh "$image" -c true >/dev/null 2>&1; then
            fail "$image has a shell"
        fi
        [ "$(docker image inspect --format '{{index .Config.Labels "org.opencontainers.image.licenses"}}' "$image")" = MIT ] ||
            fail "$image has no labels"
        pass "$image: $size bytes, no shell, labels"
    done
}

the_commands_of_readme_work() {
    commands README.md "### In containers" "### Stop and remove" >"$work/readme.sh"
    [ "$(wc -l <"$work/readme.sh")" -gt 12 ] || fail "README has no commands"
    bash -e "$work/readme.sh" </dev/null >"$work/output" 2>"$work/readme.log" || {
        tail -n 20 "$work/output" "$work/readme.log"
        fail "the commands"
    }
    for part in "Passwords and tokens" "operator token" balanced; do
        grep -qF "$part" "$work/output" || { cat "$work/output"; fail "the output lacks $part"; }
    done
    # The numbers of the walk are the last two before the last ledger.
    local numbers
    numbers=$(grep -xE '[0-9]+' "$work/output" | tail -n 2 | paste -sd' ')
    [[ "$numbers" =~ ^[3-9][0-9]\ [0-9]{1,2}$ && "${numbers#* }" -lt 30 ]] || fail "the walk counts $numbers"
    pass "README's commands, with $numbers rows in the list"
    docker compose up --detach --wait >/dev/null 2>&1 || fail "up again"
}

our_containers_have_no_other_rights() {
    local name id found memory=0
    for name in $stages api notebook init; do
        id=$(container "$name")
        found=$(docker inspect --format '{{.HostConfig.ReadonlyRootfs}} {{.HostConfig.CapDrop}} {{.HostConfig.SecurityOpt}} {{.Config.User}}' "$id")
        [ "$found" = "true [ALL] [no-new-privileges:true] 65532:65532" ] || fail "$name: $found"
    done
    pass "our containers are read-only, without capabilities, no user root"
    for name in $services init; do
        id=$(container "$name")
        found=$(docker inspect --format '{{.HostConfig.Memory}} {{.HostConfig.PidsLimit}} {{index .HostConfig.LogConfig.Config "max-size"}}' "$id")
        [[ "$found" =~ ^[1-9][0-9]*\ [1-9][0-9]*\ 5m$ ]] || fail "$name has no limits: $found"
        memory=$((memory + ${found%% *}))
    done
    [ "$memory" -le $((2176 << 20)) ] || fail "memory limits sum to $memory bytes"
    pass "limits of memory sum to $((memory >> 20)) MiB, all have limits of processes and logs"
    docker compose ps --format '{{.Ports}}' | grep -oE '[0-9.]+:[0-9]+->' | sort -u >"$work/ports"
    ! grep -v '^127\.0\.0\.1:' "$work/ports" || fail "a port is open to others"
    [ "$(wc -l <"$work/ports")" -eq 5 ] || fail "other ports: $(cat "$work/ports")"
    pass "five ports, on 127.0.0.1 only"
}

each_service_sees_its_own_secrets_only() {
    local found
    found=$(docker inspect --format '{{range .Mounts}}{{if eq .Type "volume"}}{{.Name}} {{end}}{{end}}' "$(container sink)")
    [ "$found" = "rigline_sink-secrets " ] || fail "the sink mounts $found"
    found=$(docker compose exec -T notebook sh -c 'ls /run/rigline; ls /secrets 2>&1; true' | paste -sd' ')
    [[ "$found" == "influx-token jupyter-token "*"No such file"* ]] || fail "the notebook sees $found"
    ! docker compose exec -T notebook sh -c 'touch /run/rigline/x 2>/dev/null' || fail "the notebook can write its secrets"
    for name in $stages api notebook; do
        found=$(docker inspect --format '{{.Config.Env}}' "$(container "$name")")
        [[ "$found" != *INFLUX_PASSWORD* && "$found" != *INFLUX_TOKEN=* ]] || fail "$name has a secret in its environment"
    done
    pass "each service sees only its secrets, read-only, and none in the environment"
}

rows_arrive_and_the_ledger_is_balanced() {
    local found
    until_true 60 has_more_than 100 || fail "$(stored) rows stored"
    pass "rows arrive: $(stored) of pressure"
    ledger >"$work/ledger" || { cat "$work/ledger"; fail "the ledger"; }
    pass "ledger balanced"
    docker stats --no-stream --format '{{.Name}} {{.MemUsage}}' | sed -n 's/^rigline-/      memory of /p'
    the_api_answers || fail "the API: $(cat "$work/api")"
    pass "the API answers with the newest row, and with the ledger of the lists in Redis"
    [ "$(jupyter "$(token_of)")" = 200 ] || fail "Jupyter refuses its token"
    [ "$(jupyter nonsense)" = 403 ] || fail "Jupyter takes any token"
    pass "Jupyter requires its token"
    docker compose exec -T notebook python -c '
import os, urllib.error, urllib.request
url = os.environ["INFLUX_URL"] + "/api/v2/write?org=my-org&bucket=rigs"
token = open(os.environ["INFLUX_TOKEN_FILE"]).read().strip()
request = urllib.request.Request(url, data=b"x v=1", headers={"Authorization": "Token " + token})
try:
    urllib.request.urlopen(request)
except urllib.error.HTTPError as error:
    raise SystemExit(error.code != 403)
raise SystemExit("the notebook may write")' || fail "the token of the notebook"
    pass "the token of the notebook can't write"
    docker compose exec -T notebook python -c '
import rigs
measured = rigs.read_influx("5m")
raise SystemExit(not (measured.rigs and len(measured.sensors) >= 6))' || fail "the notebook reads nothing"
    pass "the notebook reads rigs and sensors by its own query"
    found=$(curl -sS -H "Authorization: Token $(operator)" "http://127.0.0.1:${PORT_INFLUX:-8086}/api/v2/dashboards" |
        python3 -c 'import json, sys; print(*[d["name"] for d in json.load(sys.stdin)["dashboards"]])')
    [ "$found" = Rigs ] || fail "the dashboards are $found"
    pass "InfluxDB has the dashboard"
}

a_list_holds_the_rows_of_a_killed_sink() {
    docker compose kill sink >/dev/null 2>&1
    sleep 6
    local waiting
    waiting=$(redis llen normalized_events)
    [ "$waiting" -ge 20 ] || fail "$waiting rows wait for the sink"
    pass "$waiting rows wait"
    ledger >"$work/ledger" || { cat "$work/ledger"; fail "the ledger while the sink is away"; }
    local before
    before=$(stored)
    docker compose up --detach --wait sink >/dev/null 2>&1
    until_true 20 has_more_than $((before + waiting - 1)) || fail "$(stored) rows after $before and $waiting"
    ledger >"$work/ledger" || { cat "$work/ledger"; fail "the ledger"; }
    pass "stored when it is back, ledger balanced"
}

a_standby_takes_over() {
    docker compose up --detach --wait --no-recreate --scale transformer=2 >/dev/null 2>&1 || fail "--scale transformer=2"
    local first before
    first=$(docker ps --quiet --filter name=rigline-transformer-1)
    docker kill "$first" >/dev/null
    before=$(redis hget rigline:rigs:ledger rows_out)
    moved() { [ "$(redis hget rigline:rigs:ledger rows_out)" -gt "$((before + 20))" ]; }
    until_true 20 moved || fail "no row after the first transformer was killed"
    [ "$(docker ps --quiet --filter name=rigline-transformer | wc -l)" = 1 ] || fail "the killed one runs"
    pass "rows go on with the second transformer alone"
    docker compose up --detach --wait --scale transformer=1 >/dev/null 2>&1
    all_healthy || fail "not all are healthy"
    ledger >"$work/ledger" || { cat "$work/ledger"; fail "the ledger"; }
    pass "back to one, ledger balanced"
}

a_row_of_an_external_device_is_stored() {
    sh scripts/test-servers.sh "$PWD/target/test-servers"
    local root=$PWD/target/test-servers/root sensor
    for sensor in temp_inlet temp_outlet pressure flow_rate voltage current; do
        LD_LIBRARY_PATH=$(find "$root" -type d -path '*/lib/*-linux-gnu' 2>/dev/null | paste -sd:) \
            PATH="$PATH:$root/usr/bin" mosquitto_pub -p "${PORT_MQTT:-1883}" -q 1 -t "rigs/OUTSIDE/measurements/$sensor" \
            -m "{\"timestamp\": \"$(date -u +%FT%T)Z\", \"value\": 1.5}"
    done
    seen() {
        flux "$(operator)" 'from(bucket: "rigs") |> range(start: -1h) |> filter(fn: (r) => r.rig_id == "OUTSIDE")
            |> group() |> distinct(column: "_field") |> count() |> keep(columns: ["_value"])' | grep -qx 6
    }
    until_true 20 seen || fail "no row of the device"
    pass "published on 127.0.0.1:1883, stored"
}

the_broker_can_require_passwords() {
    docker compose exec -T --user mosquitto mosquitto mosquitto_passwd -c -b /mosquitto/data/users fleet 'a pass"word'
    sed -e 's/^allow_anonymous true/allow_anonymous false/' -e 's/^#password_file/password_file/' \
        mosquitto/config/mosquitto.conf >"$work/mosquitto.conf"
    printf 'services: { mosquitto: { volumes: ["%s:/mosquitto/config/mosquitto.conf:ro"] } }\n' "$work/mosquitto.conf" >"$work/override.yml"
    export MQTT_USERNAME=fleet MQTT_PASSWORD='a pass"word' COMPOSE_FILE=docker-compose.yml:$work/override.yml
    docker compose up --detach --wait >/dev/null 2>&1 || fail "with passwords"
    local before
    before=$(stored)
    ! docker compose exec -T mosquitto mosquitto_pub -t x -m y >/dev/null 2>&1 || fail "the broker accepts clients without a password"
    until_true 30 has_more_than "$((before + 20))" || fail "no rows with passwords"
    unset MQTT_USERNAME MQTT_PASSWORD COMPOSE_FILE
    docker compose up --detach --wait >/dev/null 2>&1 || fail "without passwords again"
    pass "the broker refuses clients without a password, the fleet has one"
}

everything_stops_in_order() {
    stored >"$work/stored"
    local started=$SECONDS name code
    docker compose stop >/dev/null 2>&1
    [ $((SECONDS - started)) -lt 60 ] || fail "stopping took $((SECONDS - started)) s"
    for name in $stages redis influxdb mosquitto; do
        code=$(docker inspect --format '{{.State.ExitCode}}' "$(container "$name")")
        [ "$code" = 0 ] || fail "$name ended with $code"
    done
    pass "all end with 0 in $((SECONDS - started)) s"
}

an_incomplete_file_of_redis_is_repaired() {
    # The beginning of a transaction, as a power cut may leave it.
    docker run --rm --volumes-from "$(container redis)" --entrypoint sh "$(pin redis)" -c \
        'printf "*1\r\n\$5\r\nMULTI\r\n*3\r\n\$4\r\nLPOP\r\n" >>"$(ls /data/appendonlydir/*.incr.aof | tail -n 1)"'
    docker compose start redis >/dev/null 2>&1
    until_true 20 redis ping >/dev/null || fail "Redis doesn't start"
    # Into a file first: with pipefail, a grep that ends early would end the logs with an error.
    docker compose logs --no-log-prefix redis >"$work/redis.log" 2>&1
    grep -q "Successfully truncated AOF" "$work/redis.log" || fail "the file was not repaired"
    ! grep -q "short read" "$work/redis.log" || fail "Redis read the incomplete end"
    pass "repaired before Redis read it"
}

data_and_passwords_survive_down_and_up() {
    local token accepted before
    before=$(cat "$work/stored")
    accepted=$(redis hget rigline:rigs:ledger accepted)
    docker compose down >/dev/null 2>&1
    docker compose up --wait --wait-timeout 240 >"$work/up.log" 2>&1 || { tail -n 40 "$work/up.log"; fail "the second up"; }
    token=$(token_of)
    grep -qF "$token" "$work/passwords" || fail "another token of Jupyter"
    docker compose run --rm --no-TTY rigline passwords | cmp - "$work/passwords" || fail "other passwords"
    pass "the passwords are the same"
    until_true 30 has_more_than "$((before + 50))" || fail "$(stored) rows after $before"
    [ "$(redis hget rigline:rigs:ledger accepted)" -gt "$accepted" ] || fail "Redis forgot"
    ledger >"$work/ledger" || { cat "$work/ledger"; fail "the ledger"; }
    pass "$(stored) rows after $before, ledger balanced"
}

an_interrupted_set_up_continues() {
    docker compose down --volumes >/dev/null 2>&1
    docker compose up --detach --wait influxdb >/dev/null 2>&1
    local tries
    for tries in 1 2 3; do
        docker compose up --detach --no-deps init >/dev/null 2>&1
        sleep "0.0$tries"
        # It may have ended already.
        docker compose kill init >/dev/null 2>&1 || true
    done
    docker compose up --wait --wait-timeout 240 >"$work/up.log" 2>&1 || { tail -n 40 "$work/up.log"; fail "up after an interrupted init"; }
    until_true 60 has_more_than 20 || fail "no rows"
    ! docker compose run --rm --no-TTY rigline passwords | cmp -s - "$work/passwords" || fail "down -v kept the passwords"
    pass "down -v, init killed three times, up: rows, and other passwords"
}

the_example_shows_the_defaults() {
    sed -E 's/^#([A-Z_]+=)/\1/' .env.example >"$work/example.env"
    docker compose --env-file "$work/example.env" up --detach --wait --wait-timeout 240 >"$work/up.log" 2>&1 ||
        { tail -n 40 "$work/up.log"; fail "up with all of .env.example"; }
    all_healthy || fail "not all are healthy with .env.example"
    [ "$(jupyter '')" = 403 ] || fail "Jupyter wants no token"
    pass ".env.example, with every line switched on, changes nothing"
}

given_secrets_are_used() {
    docker compose down --volumes >/dev/null 2>&1
    export INFLUX_TOKEN=the-token-of-an-operator INFLUX_PASSWORD=correct-horse JUPYTER_TOKEN='' REDIS_PASSWORD='pa "ss\nw$ord'"'#"
    docker compose up --wait --wait-timeout 240 >"$work/up.log" 2>&1 || { tail -n 40 "$work/up.log"; fail "up with an environment"; }
    docker compose run --rm --no-TTY rigline passwords >"$work/passwords"
    grep -qF the-token-of-an-operator "$work/passwords" && grep -qF correct-horse "$work/passwords" || fail "passwords"
    [ "$(jupyter '')" = 200 ] || fail "Jupyter wants a token"
    [ "$(redis ping 2>&1)" != PONG ] || fail "Redis wants no password"
    until_true 60 has_more_than 20 || fail "no rows"
    ledger >"$work/ledger" || { cat "$work/ledger"; fail "the ledger"; }
    pass "token, password, no token for Jupyter, Redis with a password"
    unset INFLUX_TOKEN INFLUX_PASSWORD JUPYTER_TOKEN REDIS_PASSWORD
}

colors() { docker compose -f examples/colors/compose.yml "$@"; }

# Builds and starts one of the examples, of which these services log no warning. It uses the ports of the other
# containers, which are gone by then.
start_example() {
    local example=$1
    shift
    "$example" build --quiet >"$work/build.log" 2>&1 || { tail -n 60 "$work/build.log"; fail "the build"; }
    "$example" up --wait --wait-timeout 240 >"$work/up.log" 2>&1 || {
        tail -n 40 "$work/up.log"
        "$example" logs --no-color --tail 40
        fail "up --wait of the $example"
    }
    ! "$example" logs --no-color "$@" | grep -E '"level":"(WARN|ERROR)"' || fail "a stage logs a warning or an error"
    pass "the $example are healthy without an .env, and no stage logged a warning"
}

system_1_runs_alone() {
    start_example colors generator ingester transformer sink
    local token
    token=$(colors run --rm --no-TTY init passwords | sed -n 's/^ *operator token *//p')
    # In the middle of a window.
    (sleep 7 && colors kill transformer && colors up --detach --no-deps transformer) >/dev/null 2>&1 &
    python3 tests/compose/colors.py --redis "${PORT_REDIS:-6379}" --influx "${PORT_INFLUX:-8086}" \
        --token="$token" --org myorg --bucket color_data --seconds 22 >"$work/colors" || {
        cat "$work/colors"
        colors logs --no-color --tail 40
        fail "the windows differ"
    }
    wait "$!"
    pass "$(cut -d' ' -f2- "$work/colors"), with a transformer killed meanwhile"
    colors down --volumes --timeout 20 >/dev/null 2>&1
}

facilities() {
    REPORTING_INTERVAL=1s MONGO_BATCH=99 PORT_API=${PORT_API:-8050} docker compose -f examples/facilities/compose.yml "$@"
}

system_2_runs_alone() {
    # The others may warn of Kafka, which they don't wait for, but not more.
    start_example facilities generator transformer
    ! facilities logs --no-color generator ingester transformer sink api | grep '"level":"ERROR"' ||
        fail "a slow Kafka is an error"
    # It ends with a code of its own when the time is over. There are two or three whole windows in it.
    (facilities exec --no-TTY mosquitto mosquitto_sub -t 'sensor_readings/#' -F '%t %p' -W 34 >"$work/messages" || true) 2>/dev/null &
    local subscriber=$!
    # It is away for longer than a window.
    sleep 6
    facilities kill sink >/dev/null 2>&1
    sleep 11
    facilities up --detach --no-deps sink >/dev/null 2>&1
    wait "$subscriber"
    facilities stop generator >/dev/null 2>&1
    python3 tests/compose/facilities.py --port "${PORT_API:-8050}" --window 10 "$work/messages" >"$work/facilities" || {
        cat "$work/facilities"
        facilities logs --no-color --tail 40
        fail "the compacted readings differ"
    }
    pass "$(cat "$work/facilities"), with a sink killed meanwhile"
    facilities down --volumes --timeout 20 >/dev/null 2>&1
}

sensors() {
    FREQUENCY=0.5 MONGO_BATCH=99 PORT_API=${PORT_API:-8050} docker compose -f examples/sensors/compose.yml "$@"
}

system_3_runs_alone() {
    # Not the api, which warns of stages that haven't started yet.
    start_example sensors temperature humidity ingester transformer sink
    # It ends with a code of its own when the time is over.
    (sensors exec --no-TTY mosquitto mosquitto_sub -t 'sensors/#' -W 14 >"$work/messages" || true) 2>/dev/null &
    local subscriber=$!
    sleep 4
    sensors kill sink >/dev/null 2>&1
    sleep 2
    sensors up --detach --no-deps sink >/dev/null 2>&1
    wait "$subscriber"
    sensors stop temperature humidity >/dev/null 2>&1
    python3 tests/compose/sensors.py --port "${PORT_API:-8050}" "$work/messages" >"$work/sensors" || {
        cat "$work/sensors"
        sensors logs --no-color --tail 40
        fail "the readings differ"
    }
    pass "$(cat "$work/sensors"), with a sink killed meanwhile"
    sensors down --volumes --timeout 20 >/dev/null 2>&1
}

workorders() {
    FEED_INTERVAL=1ms DATA_DIR=$work/plant REPORT_DIR=$work/reports PORT_API=${PORT_API:-8050} \
        docker compose -f examples/workorders/compose.yml "$@"
}

rows_of_workorders() {
    workorders exec --no-TTY --env PGPASSWORD=rigline postgres psql -h 127.0.0.1 -U rigline -d rigline -At -c "$1" </dev/null
}

all_items_are_rows() {
    [ "$(rows_of_workorders 'SELECT (SELECT count(*) FROM metrics) + (SELECT count(*) FROM workorders)')" = "$1" ]
}

system_4_runs_alone() {
    rm -rf "$work/plant" "$work/reports"
    start_example workorders files feed
    sleep 2
    workorders kill sink >/dev/null 2>&1
    sleep 2
    workorders up --detach --no-deps sink >/dev/null 2>&1
    local items
    items=$(python3 tests/compose/workorders.py count "$work/plant")
    until_true 90 all_items_are_rows "$items" || {
        workorders logs --no-color --tail 40
        fail "rows are missing"
    }
    rows_of_workorders 'SELECT id, extract(epoch FROM time)::bigint, val FROM metrics' >"$work/metrics"
    rows_of_workorders 'SELECT product, extract(epoch FROM time)::bigint, production FROM workorders' >"$work/workorders"
    workorders exec --no-TTY report /rigline report correlations --out /reports/now </dev/null >/dev/null ||
        fail "the report"
    workorders logs --no-color files | sed -n 's/.*product \([0-9]*\) follows parameters /\1: /p' >"$work/planted"
    python3 tests/compose/workorders.py compare "$work/plant" "$work/metrics" "$work/workorders" "$work/planted" \
        "$work/reports/now" >"$work/compared" || {
        cat "$work/compared"
        fail "tables or report differ"
    }
    pass "$(cat "$work/compared"), with a sink killed meanwhile"
    grep -q '<svg' "$work"/reports/now/report_*.html || fail "the report shows no pair"
    # That of the start, when there were few rows.
    curl --silent --fail --location "http://127.0.0.1:${PORT_API:-8050}/reports/latest" | grep -q '</html>' ||
        fail "the API shows no report"
    pass "the first report is made at the start, and the API shows it"
    workorders down --volumes --timeout 20 >/dev/null 2>&1
}

systems_3_and_4_run_beside_each_other() {
    sensors up --wait --wait-timeout 240 >"$work/up.log" 2>&1 || { tail -n 40 "$work/up.log"; fail "up of the sensors"; }
    # A line of docs/systems.md, which a user would type, with the port of system 3 that is moved here, too.
    export PORT_REDIS=16379
    PORT_API=18050 workorders up --wait --wait-timeout 240 >"$work/up.log" 2>&1 || {
        tail -n 40 "$work/up.log"
        fail "up of the work orders beside the sensors"
    }
    curl --silent --fail "http://127.0.0.1:${PORT_API:-8050}/latestten" | grep -q temperature_sensor ||
        fail "system 3 doesn't answer"
    until_true 60 all_items_are_rows "$(python3 tests/compose/workorders.py count "$work/plant")" ||
        fail "rows are missing"
    PORT_API=18050 workorders down --volumes --timeout 20 >/dev/null 2>&1
    unset PORT_REDIS
    sensors down --volumes --timeout 20 >/dev/null 2>&1
    pass "systems 3 and 4 run on one machine"
}

down_leaves_nothing() {
    commands README.md "### Stop and remove" "### In one process" >"$work/readme.sh"
    [ "$(wc -l <"$work/readme.sh")" = 3 ] || fail "README has other commands"
    bash -e "$work/readme.sh" </dev/null >/dev/null 2>&1 || fail "the commands"
    local left
    left=$(docker ps --all --quiet; docker volume ls --quiet; docker network ls --quiet --filter name=rigline)
    [ -z "$left" ] || fail "left: $left"
    pass "README's commands leave nothing behind"
}
