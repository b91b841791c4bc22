# Stands in for python: Debian 13's Python 3.13, under the name that image has for it.
FROM stand-in-debian:13
RUN apt-get update -qq \
    && apt-get install -y -qq --no-install-recommends python3 python3-venv \
    && ln -s python3 /usr/bin/python
