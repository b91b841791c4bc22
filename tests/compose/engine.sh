# Sourced by run.sh: an engine of Docker's own, with its own data, socket and settings, and stand-ins
# under the names of the images that docker-compose.yml and the Dockerfiles ask for. Needs root and Debian.

# Installs what is missing; compose and buildx are younger than the machine, so they are unpacked.
engine_install() {
    command -v dockerd >/dev/null && command -v debootstrap >/dev/null || {
        apt-get update -qq
        apt-get install -y -qq --no-install-recommends docker.io debootstrap iptables
    }
    mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' | head -n 1)
    [ -x "$work/config/cli-plugins/docker-compose" ] && return
    local apt=$work/apt
    mkdir -p "$apt/lists/partial" "$apt/cache/archives/partial" "$apt/packages" "$work/config/cli-plugins"
    echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror trixie main" >"$apt/sources.list"
    local options=(-qq -o Dir::Etc::sourcelist="$apt/sources.list" -o Dir::Etc::sourceparts=-
        -o Dir::State::lists="$apt/lists" -o Dir::Cache="$apt/cache" -o APT::Sandbox::User=root)
    apt-get "${options[@]}" update
    (cd "$apt/packages" && apt-get "${options[@]}" download docker-compose docker-buildx)
    for package in "$apt"/packages/*.deb; do dpkg -x "$package" "$apt/root"; done
    cp "$apt"/root/usr/libexec/docker/cli-plugins/docker-{compose,buildx} "$work/config/cli-plugins/"
}

engine_start() {
    # A socket's path must be short.
    run=$(mktemp -d /tmp/rigline-compose.XXXXXX)
    export DOCKER_HOST=unix://$run/socket DOCKER_CONFIG=$work/config
    dockerd --data-root "$work/data" --exec-root "$run/exec" --pidfile "$run/pid" -H "$DOCKER_HOST" \
        >"$work/dockerd.log" 2>&1 &
    engine=$!
    for _ in $(seq 60); do
        docker version >/dev/null 2>&1 && return
        kill -0 "$engine" 2>/dev/null || break
        sleep 0.5
    done
    tail -n 30 "$work/dockerd.log" >&2
    echo "dockerd doesn't start: see $work/dockerd.log" >&2
    return 1
}

engine_stop() {
    kill "$engine" 2>/dev/null || true
    wait "$engine" 2>/dev/null || true
    rm -rf "$run"
}

have_image() {
    docker image inspect "$1" >/dev/null 2>&1
}

# The name of the image that a file asks for, so that a pin is written in one place only.
pin() {
    local name
    name=$(sed -nE "s#^ *(image:|FROM) ($1:[^ ]+).*#\2#p" docker-compose.yml Dockerfile notebooks/Dockerfile \
        examples/sensors/compose.yml examples/facilities/compose.yml examples/workorders/compose.yml | head -n 1)
    [ -n "$name" ] || { echo "no file asks for $1" >&2; return 1; }
    echo "$name"
}

stand_ins() {
    if ! have_image stand-in-debian:13; then
        rm -rf "$work/debian"
        debootstrap --variant=minbase --include=ca-certificates trixie "$work/debian" "$mirror" >"$work/debootstrap.log"
        # Whoever the machine trusts, the containers do.
        cp /etc/ssl/certs/ca-certificates.crt "$work/debian/etc/ssl/certs/ca-certificates.crt"
        tar -C "$work/debian" -c . | docker import \
            --change "ENV SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt" \
            --change "ENV PIP_CERT=/etc/ssl/certs/ca-certificates.crt" \
            --change "ENV CARGO_HTTP_CAINFO=/etc/ssl/certs/ca-certificates.crt" - stand-in-debian:13 >/dev/null
        rm -rf "$work/debian"
    fi
    cp tests/compose/stand-ins/* "$work/context/"
    sh scripts/test-influxdb.sh target/test-servers
    sh scripts/test-mongodb.sh target/test-servers
    sh scripts/test-kafka.sh target/test-servers
    cp -L target/test-servers/influxdb/influxd target/test-servers/influxdb/influx "$work/context/"
    cp -L target/test-servers/mongodb/mongodb "$work/context/"
    rm -rf "$work/context/kafka-libs"
    cp -RL target/test-servers/kafka/libs "$work/context/kafka-libs"
    local name
    for name in rust python redis eclipse-mosquitto influxdb mongo postgres apache/kafka; do
        case $name in
            # Only these change, with the version that is built.
            influxdb | mongo | apache/kafka) ;;
            *) ! have_image "$(pin "$name")" || continue ;;
        esac
        if [ "$name" = rust ]; then
            mkdir -p "$work/context/tool-chain"
            tar -C "$(rustc --print sysroot)" -c ./bin ./lib | tar -C "$work/context/tool-chain" -x
        fi
        docker build --quiet --tag "$(pin "$name")" --file "$work/context/${name##*[-/]}.dockerfile" \
            "$work/context" >/dev/null
        rm -rf "$work/context/tool-chain"
    done
}
