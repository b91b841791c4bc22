"""Compares what the API of system 3 shows with the messages that a subscriber of the broker has seen.

Reads payloads from a file, one a line, and all readings and the last ten from the API. No reading may be missing,
doubled or wrong, and the last ten have to be the newest ones.
"""
import argparse
import json
import sys
import time
import urllib.request
from collections import Counter
from datetime import datetime


def key(sensor: str, value: float, timestamp: str) -> tuple:
    """A reading with its time in whole milliseconds, as MongoDB has it."""
    instant = datetime.fromisoformat(timestamp.replace("Z", "+00:00"))
    seconds = int(instant.replace(microsecond=0).timestamp())
    return sensor, value, 1000 * seconds + instant.microsecond // 1000


def ask(port: int, path: str) -> dict:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as response:
        return json.load(response)


def all_readings(port: int) -> list[dict]:
    found: list[dict] = []
    while True:
        page = ask(port, f"/allData?limit=100&offset={len(found)}")
        found += page["alldata"]
        if len(found) >= page["pagination"]["total"] or not page["alldata"]:
            return found


def problems(port: int, sent: list[tuple]) -> list[str]:
    found = all_readings(port)
    counted = Counter(key(it["sensor_id"], it["value"], it["timestamp"]) for it in found)
    wrong = [f"{times} times: {it}" for it, times in counted.items() if times != 1]
    wrong += [f"missing: {it}" for it in sent if it not in counted]
    times = [it["timestamp"] for it in found]
    if times != sorted(times, reverse=True):
        wrong.append("not the newest first")
    # Two sensors may have a reading at one time, whose order isn't defined.
    latest = ask(port, "/latestten")["latestten"]
    if [it["timestamp"] for it in latest] != times[:10] or any(it not in found for it in latest):
        wrong.append("the last ten aren't the newest ones")
    for sensor in {it[0] for it in sent}:
        newest = [it for it in found if it["sensor_id"] == sensor][:10]
        if ask(port, f"/latestten/{sensor}")["latestTenBySensorID"] != newest:
            wrong.append(f"the last ten of {sensor} aren't its newest ones")
    return wrong


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("messages")
    args = parser.parse_args()
    with open(args.messages, encoding="utf-8") as lines:
        messages = [json.loads(line) for line in lines if line.startswith("{")]
    sent = [key(it["sensor_id"], float(it["value"]), it["timestamp"]) for it in messages]
    if len(sent) < 20 or len({it[0] for it in sent}) != 2:
        print(f"the subscriber saw only {len(sent)} messages")
        return 1
    wrong = ["not compared"]
    for _ in range(60):
        wrong = problems(args.port, sent)
        if not wrong:
            print(f"{len(sent)} messages are stored once, and the last ten are the newest")
            return 0
        time.sleep(0.5)
    print("\n".join(wrong))
    return 1


sys.exit(main())
