# Stands in for influxdb: InfluxDB 2.8 and its command as built for the tests, with that image's paths and user.
FROM stand-in-debian:13
RUN apt-get update -qq \
    && apt-get install -y -qq --no-install-recommends libgcc-s1 \
    && useradd --system --uid 1000 influxdb \
    && mkdir -p /var/lib/influxdb2 /etc/influxdb2 \
    && chown influxdb:influxdb /var/lib/influxdb2 /etc/influxdb2
COPY influxd influx /usr/local/bin/
COPY influxdb-entrypoint.sh /entrypoint.sh
ENV INFLUXD_BOLT_PATH=/var/lib/influxdb2/influxd.bolt \
    INFLUXD_ENGINE_PATH=/var/lib/influxdb2/engine \
    INFLUX_CONFIGS_PATH=/etc/influxdb2/influx-configs
VOLUME ["/var/lib/influxdb2", "/etc/influxdb2"]
EXPOSE 8086
ENTRYPOINT ["/entrypoint.sh"]
CMD ["influxd"]
