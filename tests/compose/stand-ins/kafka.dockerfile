# Stands in for apache/kafka: the broker of the tests on Debian 13's Java 21, with that image's paths and user.
FROM stand-in-debian:13
RUN apt-get update -qq \
    && apt-get install -y -qq --no-install-recommends openjdk-21-jre-headless \
    && useradd --uid 1000 --create-home appuser \
    && mkdir -p /var/lib/kafka/data /opt/kafka/config \
    && chown -R appuser:appuser /var/lib/kafka /opt/kafka
COPY kafka-libs /opt/kafka/libs
COPY kafka-entrypoint.sh /etc/kafka/docker/run
USER appuser
VOLUME ["/var/lib/kafka/data"]
EXPOSE 9092
CMD ["/etc/kafka/docker/run"]
