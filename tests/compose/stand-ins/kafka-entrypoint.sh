#!/bin/bash
# As in the official image: each variable KAFKA_A_B is the property a.b of the broker (__ is _, ___ is -), but those of
# the Java machine; the directory of its data is prepared at the first start.
set -euo pipefail

name_of_property() {
    local name=${1#KAFKA_}
    name=${name,,}
    name=${name//___/-}
    name=${name//__/@}
    name=${name//_/.}
    echo "${name//@/_}"
}

properties=/opt/kafka/config/server.properties
for variable in $(compgen -e KAFKA_); do
    case $variable in
        KAFKA_HEAP_OPTS | KAFKA_OPTS | KAFKA_JVM_PERFORMANCE_OPTS | KAFKA_LOG4J_OPTS | KAFKA_VERSION) ;;
        *) echo "$(name_of_property "$variable")=${!variable}" ;;
    esac
done >"$properties"

kafka() {
    # shellcheck disable=SC2086  # the options are several words
    exec java ${KAFKA_HEAP_OPTS:-} -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -cp '/opt/kafka/libs/*' "$@"
}

(kafka kafka.tools.StorageTool format --ignore-formatted --cluster-id "${CLUSTER_ID:-5L6g3nShT-eMCtK--X86sw}" \
    --config "$properties")
kafka kafka.Kafka "$properties"
