# Stands in for influxdb: VictoriaMetrics, which takes InfluxDB's line protocol, behind a server that
# answers InfluxDB's set-up API. There is no Flux and no Data Explorer in it.
FROM stand-in-debian:13
RUN apt-get update -qq \
    && apt-get install -y -qq --no-install-recommends victoria-metrics curl
COPY influx-stand-in /usr/local/bin/
COPY influxdb-entrypoint.sh /entrypoint.sh
COPY influx /usr/local/bin/influx
VOLUME ["/var/lib/influxdb2", "/etc/influxdb2"]
EXPOSE 8086
ENTRYPOINT ["/entrypoint.sh"]
