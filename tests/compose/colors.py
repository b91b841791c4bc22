"""Compares the windows of colors in InfluxDB with those of the messages on the channel.

Listens to the Redis channel color_data for some seconds, computes the statistics of each window that lies
within them, and reads the same windows from InfluxDB. Exits with 1 and names the windows that differ.
"""
import argparse
import csv
import json
import socket
import statistics
import sys
import time
import urllib.request
from datetime import datetime, timezone

WINDOW = 5
STATISTICS = ("count", "mean", "median", "min", "max")


def messages(port: int, seconds: float) -> list[dict]:
    """The messages that the channel has within some seconds."""
    found = []
    end = time.time() + seconds
    with socket.create_connection(("127.0.0.1", port), timeout=1) as redis:
        redis.sendall(b"SUBSCRIBE color_data\r\n")
        lines = b""
        while time.time() < end:
            try:
                lines += redis.recv(65536)
            except TimeoutError:
                continue
            *whole, lines = lines.split(b"\r\n")
            # Of the arrays that Redis sends, only a payload begins with a brace.
            found += [json.loads(line) for line in whole if line.startswith(b"{")]
    return found


def instant(text: str) -> float:
    return datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()


def expected(sent: list[dict], begin: float, end: float) -> dict:
    """The statistics of the whole windows between two instants."""
    windows: dict = {}
    for message in sent:
        start = int(instant(message["timestamp"]) // WINDOW * WINDOW)
        if begin <= start and start + WINDOW <= end:
            windows.setdefault((message["color"], start), []).append(float(message["value"]))
    return {
        key: dict(zip(STATISTICS, (float(len(values)), statistics.fmean(values),
                                   statistics.median(values), min(values), max(values))))
        for key, values in windows.items()
    }


def stored(args: argparse.Namespace) -> dict:
    """The statistics of all windows in InfluxDB."""
    flux = f"""from(bucket: "{args.bucket}") |> range(start: -1h)
        |> filter(fn: (r) => r._measurement == "color_metrics") |> toFloat()
        |> keep(columns: ["_time", "_field", "_value", "color"])"""
    request = urllib.request.Request(
        f"http://127.0.0.1:{args.influx}/api/v2/query?org={args.org}", flux.encode(),
        {"Authorization": f"Token {args.token}", "Content-Type": "application/vnd.flux",
         "Accept": "application/csv"})
    with urllib.request.urlopen(request, timeout=10) as response:
        text = response.read().decode()
    windows: dict = {}
    for row in csv.DictReader(line for line in text.splitlines() if line and not line.startswith("#")):
        # Each table has a header of its own.
        if row["_value"] != "_value":
            key = (row["color"], int(instant(row["_time"])))
            windows.setdefault(key, {})[row["_field"]] = float(row["_value"])
    return windows


def differences(wanted: dict, found: dict) -> list[str]:
    def differs(key: tuple) -> bool:
        of_store = found.get(key, {})
        return any(
            name not in of_store or abs(of_store[name] - value) > 1e-9 * abs(value)
            for name, value in wanted[key].items()
        )

    return [f"{key}: {found.get(key)} instead of {wanted[key]}" for key in wanted if differs(key)]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    for name, kind in (("redis", int), ("influx", int), ("token", str), ("org", str), ("bucket", str)):
        parser.add_argument(f"--{name}", type=kind, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    args = parser.parse_args()
    begin = time.time()
    sent = messages(args.redis, args.seconds)
    wanted = expected(sent, begin, begin + args.seconds)
    if len(wanted) < 8:
        print(f"{len(sent)} messages make only {len(wanted)} windows")
        return 1
    # Windows close when the tolerance for late messages is over.
    wrong = ["not compared"]
    for _ in range(60):
        wrong = differences(wanted, stored(args))
        if not wrong:
            now = datetime.now(timezone.utc).isoformat(timespec="seconds")
            print(f"{now} {len(wanted)} windows of {len(sent)} messages are equal")
            return 0
        time.sleep(0.5)
    print("\n".join(wrong))
    return 1


sys.exit(main())
