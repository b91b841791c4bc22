# All of Rigline's images, one target each: producer, ingester, transformer, sink, rigline.
# docs/adr/0007 says why they share one file. For other machines:
#   docker buildx build --platform linux/amd64,linux/arm64 --target sink .

FROM rust:1.95.0-slim-trixie AS tools
WORKDIR /rigline
# Static programs need no base image. (Not with musl: its memory allocator is slow with many threads.)
ENV RUSTFLAGS="-C target-feature=+crt-static"

# Only what decides about dependencies: manifests, and programs that do nothing.
FROM tools AS manifests
COPY . .
RUN find . -type f ! -name Cargo.toml ! -name Cargo.lock \
        ! -path '*/src/lib.rs' ! -path '*/src/main.rs' ! -path '*/src/bin/*.rs' \
        ! -path '*/examples/*.rs' -delete \
    && find . -name '*.rs' | while read -r file; do echo 'fn main() {}' >"$file"; done \
    && find . -type d -empty -delete

# Dependencies are built again only when a manifest changes, the rest with every source.
FROM tools AS build
COPY --from=manifests /rigline .
# Clients that a default build doesn't have; may be empty.
ARG FEATURES=kafka,mongodb,postgres,protobuf
ARG CARGO_BUILD="cargo build --locked --profile container --bins --features=${FEATURES} \
    -p producer -p ingester -p transformer -p sink -p rigline"
RUN $CARGO_BUILD --target "$(uname -m)-unknown-linux-gnu"
COPY . .
# Sources are older than the programs that do nothing, so that cargo would keep those. What dependencies have generated
# stays as it is, or they would be built again.
RUN find . -path ./target -prune -o -name '*.rs' -exec touch {} + \
    && $CARGO_BUILD --target "$(uname -m)-unknown-linux-gnu" \
    && mkdir -p /built/bin /built/empty /built/certs \
    && cp /etc/ssl/certs/ca-certificates.crt /built/certs/ \
    && for name in producer ingester transformer sink rigline; do \
        cp "target/$(uname -m)-unknown-linux-gnu/container/$name" /built/bin/ || exit 1; \
    done

FROM scratch AS image
ARG VERSION=0.1.0
ARG REVISION=unknown
ARG CREATED=unknown
ARG SOURCE=unknown
LABEL org.opencontainers.image.vendor="Rigline" \
    org.opencontainers.image.licenses="MIT" \
    org.opencontainers.image.version="${VERSION}" \
    org.opencontainers.image.revision="${REVISION}" \
    org.opencontainers.image.created="${CREATED}" \
    org.opencontainers.image.source="${SOURCE}"
USER 65532:65532
# Volumes that are mounted here begin with this owner, so that nothing has to run as root.
COPY --from=build --chown=65532:65532 /built/empty /run/rigline
# The authorities that are trusted with TLS.
COPY --from=build /built/certs /etc/ssl/certs
COPY LICENSE /

FROM image AS producer
LABEL org.opencontainers.image.title="rigline-producer" \
    org.opencontainers.image.description="Rigline's simulated fleet of rigs, publishing over MQTT"
COPY --from=build /built/bin/producer /
ENV ADMIN_ADDR=0.0.0.0:9100
RUN ["/producer", "--help"]
ENTRYPOINT ["/producer"]

FROM image AS ingester
LABEL org.opencontainers.image.title="rigline-ingester" \
    org.opencontainers.image.description="Rigline's stage from MQTT to the list of raw readings"
COPY --from=build /built/bin/ingester /
ENV ADMIN_ADDR=0.0.0.0:9101
RUN ["/ingester", "--help"]
ENTRYPOINT ["/ingester"]

FROM image AS transformer
LABEL org.opencontainers.image.title="rigline-transformer" \
    org.opencontainers.image.description="Rigline's stage from raw readings to rows"
COPY --from=build /built/bin/transformer /
ENV ADMIN_ADDR=0.0.0.0:9102
RUN ["/transformer", "--help"]
ENTRYPOINT ["/transformer"]

FROM image AS sink
LABEL org.opencontainers.image.title="rigline-sink" \
    org.opencontainers.image.description="Rigline's stage from rows to InfluxDB 2"
COPY --from=build /built/bin/sink /
ENV ADMIN_ADDR=0.0.0.0:9103
RUN ["/sink", "--help"]
ENTRYPOINT ["/sink"]

FROM image AS rigline
LABEL org.opencontainers.image.title="rigline" \
    org.opencontainers.image.description="Rigline's operator's program: set-up, inspection, and everything in one process"
COPY --from=build /built/bin/rigline /
COPY --from=build --chown=65532:65532 /built/empty /secrets/admin
COPY --from=build --chown=65532:65532 /built/empty /secrets/sink
COPY --from=build --chown=65532:65532 /built/empty /secrets/api
COPY --from=build --chown=65532:65532 /built/empty /secrets/notebook
RUN ["/rigline", "--help"]
ENTRYPOINT ["/rigline"]
