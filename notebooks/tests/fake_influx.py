"""A server that answers Flux queries like InfluxDB 2, with answers that are known beforehand."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from statistics import fmean
from threading import Thread
from urllib.parse import parse_qs, urlsplit

import known

TOKEN = "token-that-may-read"  # noqa: S105


@dataclass
class FakeInflux:
    """What it answers, and what arrived."""

    answer: str
    url: str = ""
    queries: list[str] = field(default_factory=list)
    orgs: list[str] = field(default_factory=list)
    tokens: list[str] = field(default_factory=list)


def annotated(name: str, columns: dict[str, str], rows: Iterable[Iterable[object]]) -> str:
    """Write one result as InfluxDB does: three lines of annotations, then names, then rows."""
    lines = [
        ["#datatype", "string", "long", *columns.values()],
        ["#group", "false", "false", *("false" for _ in columns)],
        ["#default", name, "", *("" for _ in columns)],
        ["", "result", "table", *columns],
    ]
    lines += [["", "", "0", *("" if cell is None else str(cell) for cell in row)] for row in rows]
    return "".join(",".join(line) + "\r\n" for line in lines) + "\r\n"


def known_answer(start: int, rows: list[known.Row] | None = None) -> str:
    """Answer with the known rows, of which the first is at `start`, and their statistics."""
    rows = known.rows() if rows is None else rows
    double = dict.fromkeys(sorted(known.SENSORS), "double")
    points = annotated(
        "points",
        {"_time": "dateTime:RFC3339", **double, "rig_id": "string"},
        (
            [
                datetime.fromtimestamp(start + row.tick, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
                *(row.values.get(sensor) for sensor in double),
                row.rig,
            ]
            for row in rows
        ),
    )
    summary = annotated(
        "summary",
        {
            "rig_id": "string",
            "_field": "string",
            **dict.fromkeys(["count", "max", "mean", "min"], "double"),
        },
        (
            [rig, sensor, len(values), max(values), fmean(values), min(values)]
            for rig in known.TICKS
            for sensor in double
            if (values := known.values(rig, sensor))
        ),
    )
    return points + summary


@contextmanager
def serve(answer: str, status: int = 200) -> Iterator[FakeInflux]:
    """Run a server on a free port."""
    fake = FakeInflux(answer)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            target = urlsplit(self.path)
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            token = self.headers.get("Authorization", "")
            fake.tokens.append(token)
            fake.orgs += parse_qs(target.query).get("org", [])
            if target.path != "/api/v2/query":
                self._send(404, "application/json", '{"code":"not found","message":"no such path"}')
            elif token != f"Token {TOKEN}":
                self._send(
                    401,
                    "application/json; charset=utf-8",
                    '{"code":"unauthorized","message":"unauthorized access"}',
                )
            else:
                fake.queries.append(body["query"])
                self._send(status, "text/csv; charset=utf-8", fake.answer)

        def _send(self, status: int, kind: str, text: str) -> None:
            data = text.encode()
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        fake.url = f"http://127.0.0.1:{server.server_port}"
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield fake
        finally:
            server.shutdown()
            thread.join()
