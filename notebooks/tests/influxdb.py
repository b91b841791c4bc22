"""A real InfluxDB 2 for the tests, and a server with scripted answers that InfluxDB never gives."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from urllib.error import URLError
from urllib.parse import urlencode
from urllib.request import Request, urlopen

import known

OPERATOR = "operator-token-of-the-tests"
ORG = "my-org"


@dataclass(frozen=True)
class Bucket:
    """A bucket, and a token that may read from it and do nothing else."""

    server: Server
    org: str
    name: str
    token: str

    def write(self, start: int) -> None:
        """Write the known rows, of which the first is at `start`."""
        lines = [
            f"rig_measurements,rig_id={row.rig} {fields} {start + row.tick}"
            for row in known.rows()
            if (fields := ",".join(f"{name}={value}" for name, value in row.values.items()))
        ]
        query = urlencode({"org": self.org, "bucket": self.name, "precision": "s"})
        self.server.ask("POST", f"/api/v2/write?{query}", "\n".join(lines).encode())

    def environment(self) -> dict[str, str]:
        """Give the settings that lead a notebook here."""
        return {
            "INFLUX_URL": self.server.url,
            "INFLUX_TOKEN": self.token,
            "INFLUX_ORG": self.org,
            "INFLUX_BUCKET": self.name,
        }


@dataclass(frozen=True)
class Server:
    """A running InfluxDB that is set up."""

    url: str
    log: Path

    def ask(self, method: str, path: str, body: bytes | dict | None = None) -> dict:
        """Ask as its operator."""
        data = json.dumps(body).encode() if isinstance(body, dict) else body
        headers = {"Authorization": f"Token {OPERATOR}"}
        request = Request(self.url + path, data, headers, method=method)  # noqa: S310
        with urlopen(request, timeout=30) as answer:  # noqa: S310
            return json.loads(answer.read() or b"null")

    def bucket(self, name: str, org: str = ORG) -> Bucket:
        """Make a bucket, and its organisation if there is none."""
        orgs = {found["name"]: found["id"] for found in self.ask("GET", "/api/v2/orgs")["orgs"]}
        org_id = orgs.get(org) or self.ask("POST", "/api/v2/orgs", {"name": org})["id"]
        made = self.ask("POST", "/api/v2/buckets", {"orgID": org_id, "name": name})
        resource = {"type": "buckets", "orgID": org_id, "id": made["id"]}
        rights = [{"action": "read", "resource": resource}]
        body = {"orgID": org_id, "permissions": rights}
        token = self.ask("POST", "/api/v2/authorizations", body)["token"]
        return Bucket(self, org, name, token)

    def queries(self, bucket: str) -> list[str]:
        """List the queries of a bucket so far, from the server's log."""
        quoted = re.findall(
            r'msg="Executed Flux query".* query=("(?:[^"\\]|\\.)*")', self.log.read_text()
        )
        executed = [json.loads(query) for query in quoted]
        return [query for query in executed if f'from(bucket: "{bucket}")' in query]


@contextmanager
def run() -> Iterator[Server]:
    """Run a server on a free port."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with tempfile.TemporaryDirectory(prefix="influxdb-") as place:
        log = Path(place, "log")
        command = [
            os.environ["INFLUXD"],
            f"--http-bind-address=127.0.0.1:{port}",
            f"--bolt-path={place}/bolt",
            f"--sqlite-path={place}/sqlite",
            f"--engine-path={place}/engine",
            "--reporting-disabled",
            "--flux-log-enabled",
        ]
        with log.open("wb") as file:
            process = subprocess.Popen(command, stdout=file, stderr=file)
        try:
            server = Server(f"http://127.0.0.1:{port}", log)
            _wait_until_ready(server, process)
            first = {"username": "admin", "password": "password", "org": ORG, "bucket": "first"}
            server.ask("POST", "/api/v2/setup", {**first, "token": OPERATOR})
            yield server
        finally:
            process.kill()
            process.wait()


def _wait_until_ready(server: Server, process: subprocess.Popen) -> None:
    for _ in range(600):
        try:
            server.ask("GET", "/health")
        except URLError:
            assert process.poll() is None, server.log.read_text()
            time.sleep(0.05)
        else:
            return
    raise TimeoutError(server.log.read_text())


@contextmanager
def scripted(answer: str, status: int = 200) -> Iterator[str]:
    """Run a server that answers every query with this, and give its URL."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(status)
            self.send_header("Content-Type", "text/csv; charset=utf-8")
            self.send_header("Content-Length", str(len(answer.encode())))
            self.end_headers()
            self.wfile.write(answer.encode())

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()
