# Stands in for eclipse-mosquitto: Debian 13's Mosquitto 2.0.21, with that image's paths and user.
FROM stand-in-debian:13
RUN apt-get update -qq \
    && apt-get install -y -qq --no-install-recommends mosquitto mosquitto-clients \
    && usermod --uid 1883 mosquitto \
    && mkdir -p /mosquitto/config /mosquitto/data /mosquitto/log \
    && chown -R mosquitto:mosquitto /mosquitto
VOLUME ["/mosquitto/data", "/mosquitto/log"]
CMD ["/usr/sbin/mosquitto", "-c", "/mosquitto/config/mosquitto.conf"]
