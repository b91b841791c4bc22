# Stands in for mongo: FerretDB, which speaks MongoDB's protocol, as built for the tests, and a `mongosh` that only tells
# whether the server takes connections.
FROM stand-in-debian:13
COPY mongodb /usr/local/bin/
RUN mkdir -p /data/db \
    && printf '#!/bin/bash\nexec 3<>/dev/tcp/127.0.0.1/27017\n' >/usr/local/bin/mongosh \
    && chmod +x /usr/local/bin/mongosh
VOLUME /data/db
EXPOSE 27017
CMD ["mongodb", "-listen", "0.0.0.0:27017", "-dir", "/data/db"]
