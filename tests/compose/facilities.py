"""Compares the compacted readings that the API of system 2 shows with the readings that a subscriber has seen.

Reads lines "TOPIC PAYLOAD" from a file, computes the average, the least and the largest value of each sensor in each
window that the subscriber saw as a whole, and reads all compacted readings from the API. No window may be missing,
doubled or wrong. Checks the pages, the order, and the standard deviations, too.
"""
import argparse
import json
import statistics
import sys
import time
import urllib.error
import urllib.request
from datetime import datetime

SENSORS = ("humidity", "pressure", "temperature")
# The most that a page holds, and what it holds unless told otherwise.
MOST, USUAL = 20, 10


def messages(lines: list[str]) -> list[tuple[str, str, int, float]]:
    """Facility, sensor, time in milliseconds and value of each line."""
    found = []
    for line in lines:
        topic, _, payload = line.strip().partition(" ")
        if not payload:
            continue
        _, facility, sensor = topic.split("/")
        reading = json.loads(payload)
        found.append((facility, sensor, reading["ts"], float(reading["val"])))
    return found


def expected(sent: list[tuple], window: int) -> dict:
    """The numbers of the windows between the first and the last of these readings, by facility and start."""
    first, last = (pick(it[2] for it in sent) // window for pick in (min, max))
    windows: dict = {}
    for facility, sensor, at, value in sent:
        if first < at // window < last:
            windows.setdefault((facility, at // window * window), {}).setdefault(sensor, []).append(value)
    return {
        key: {
            f"{name}_{sensor}": statistic(values)
            for sensor, values in sensors.items()
            for name, statistic in (("avg", statistics.fmean), ("min", min), ("max", max))
        }
        for key, sensors in windows.items()
    }


def milliseconds(text: str) -> int:
    instant = datetime.fromisoformat(text.replace("Z", "+00:00"))
    return round(instant.timestamp() * 1000)


def is_close(one, other) -> bool:
    return isinstance(one, (int, float)) and abs(one - other) <= 1e-9 * max(abs(other), 1.0)


def wrong_documents(wanted: dict, found: list[dict], window: int) -> list[str]:
    """What is wrong with the documents of all facilities."""
    names = {f"{name}_{sensor}" for name in ("avg", "min", "max") for sensor in SENSORS}
    names |= {"facility_name", "received_at", "window"}
    wrong, stored = [], {}
    for it in found:
        if set(it) != names:
            wrong.append(f"members {sorted(it)}")
            continue
        start, end = (milliseconds(it["window"][name]) for name in ("start_time", "end_time"))
        if start % window or end - start != window or milliseconds(it["received_at"]) < end:
            wrong.append(f"times of {it}")
        if (it["facility_name"], start) in stored:
            wrong.append(f"twice: {it}")
        stored[it["facility_name"], start] = it
    for key, numbers in wanted.items():
        document = stored.get(key)
        if document is None:
            wrong.append(f"missing: {key}")
        elif not all(is_close(document[name], value) for name, value in numbers.items()):
            wrong.append(f"{document} instead of {numbers}")
    return wrong


def ask(port: int, path: str):
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as response:
        return json.load(response)


def refusal(port: int, path: str) -> tuple[int, str]:
    try:
        ask(port, path)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error).get("error")
    return 200, ""


def documents(port: int, facility: str) -> tuple[list[dict], list[str]]:
    """All compacted readings of a facility, the newest first, and what is wrong with their pages."""
    found: list[dict] = []
    wrong = []
    while True:
        page = ask(port, f"/api/sensors/{facility}?offset={len(found)}&limit=100")
        total = page["pagination"]["total"]
        if page["pagination"] != {"offset": len(found), "limit": MOST, "total": total} or len(page["data"]) > MOST:
            wrong.append(f"page {page['pagination']} with {len(page['data'])} documents")
        found += page["data"]
        if len(found) >= total or not page["data"]:
            break
    starts = [it["window"]["start_time"] for it in found]
    if starts != sorted(starts, reverse=True):
        wrong.append(f"{facility}: not the newest first")
    usual = ask(port, f"/api/sensors/{facility}")
    if usual["data"] != found[:USUAL] or usual["pagination"]["limit"] != USUAL:
        wrong.append(f"{facility}: the first page is {usual['pagination']}")
    return found, wrong


def wrong_deviations(stats: list[dict], by_facility: dict) -> list[str]:
    if [it["_id"] for it in stats] != sorted(by_facility):
        return [f"statistics of {[it['_id'] for it in stats]}"]
    wrong = []
    for it in stats:
        for sensor in ("humidity", "pressure"):
            averages = [document[f"avg_{sensor}"] for document in by_facility[it["_id"]]]
            if not is_close(it[sensor]["stdev"], statistics.stdev(averages)):
                wrong.append(f"{it} instead of {statistics.stdev(averages)}")
    return wrong


def problems(port: int, wanted: dict, window: int) -> list[str]:
    by_facility, wrong = {}, []
    for facility in sorted({key[0] for key in wanted}):
        by_facility[facility], of_pages = documents(port, facility)
        wrong += of_pages
    wrong += wrong_documents(wanted, sum(by_facility.values(), []), window)
    if not wrong:
        wrong += wrong_deviations(ask(port, "/api/stats?sensors=humidity,wind,pressure,humidity"), by_facility)
    nobody = ask(port, "/api/sensors/nobody")
    if nobody != {"data": [], "pagination": {"offset": 0, "limit": USUAL, "total": 0}}:
        wrong.append(f"an unknown facility: {nobody}")
    for path, refused in (
        ("/api/sensors/facility_1?limit=abc",
         (400, "Invalid limit: must be a non-negative integer; got 'abc'")),
        ("/api/stats?sensors=wind", (400, "At least one valid sensor name must be provided")),
        ("/nothing", (404, "Not found")),
    ):
        if refusal(port, path) != refused:
            wrong.append(f"{path}: {refusal(port, path)}")
    return wrong


def test() -> None:
    """Tests the parts that need no server."""
    lines = [
        f'sensor_readings/f/{sensor} {{"ts":{at},"val":{value}}}\n'
        for sensor in SENSORS
        for at, value in ((500, 9), (1000, 1), (1999, 4), (2000, 2.5), (3000, 8))
    ]
    wanted = expected(messages(lines + ["\n"]), 1000)
    one = {f"{name}_{sensor}": value for sensor in SENSORS for name, value in (("avg", 2.5), ("min", 1), ("max", 4))}
    two = {f"{name}_{sensor}": 2.5 for sensor in SENSORS for name in ("avg", "min", "max")}
    assert wanted == {("f", 1000): one, ("f", 2000): two}, wanted

    def document(start: int, numbers: dict, **other) -> dict:
        window = {"start_time": f"1970-01-01T00:00:0{start}Z", "end_time": f"1970-01-01T00:00:0{start + 1}Z"}
        received = {"received_at": f"1970-01-01T00:00:0{start + 2}.402Z"}
        return {**numbers, "facility_name": "f", "window": window, **received, **other}

    good = [document(2, two), document(1, one)]
    assert wrong_documents(wanted, good, 1000) == []
    assert wrong_documents(wanted, good + [document(0, two)], 1000) == []
    for bad in (
        good[:1], good + good[:1], [document(2, two), document(1, two)], [document(2, two, _id=1), document(1, one)],
        [document(2, two, received_at="1970-01-01T00:00:02Z"), document(1, one)],
        [{**document(2, two), "max_humidity": 2.6}, document(1, one)],
        [{**document(2, two), "max_humidity": None}, document(1, one)],
    ):
        assert wrong_documents(wanted, bad, 1000), bad
    averages = {"f": [{"avg_humidity": 1, "avg_pressure": 5}, {"avg_humidity": 3, "avg_pressure": 5}]}
    stats = [{"_id": "f", "humidity": {"stdev": 2**0.5}, "pressure": {"stdev": 0}}]
    assert wrong_deviations(stats, averages) == []
    assert wrong_deviations([], averages)
    assert wrong_deviations([{**stats[0], "humidity": {"stdev": 1.0}}], averages)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--window", type=int, required=True, help="in seconds")
    parser.add_argument("messages")
    args = parser.parse_args()
    test()
    with open(args.messages, encoding="utf-8") as lines:
        sent = messages(list(lines))
    wanted = expected(sent, 1000 * args.window) if sent else {}
    if len(wanted) < 6 or {len(numbers) for numbers in wanted.values()} != {9}:
        print(f"the subscriber saw {len(sent)} messages, which make {len(wanted)} windows")
        return 1
    wrong = ["not compared"]
    for _ in range(120):
        wrong = problems(args.port, wanted, 1000 * args.window)
        if not wrong:
            print(f"{len(wanted)} windows of {len(sent)} messages are shown once, with their numbers")
            return 0
        time.sleep(0.5)
    print("\n".join(wrong))
    return 1


if __name__ == "__main__":
    sys.exit(main())
