"""Compares tables and a report of system 4 with its files.

count DIR prints how many rows the files make. compare DIR METRICS WORKORDERS PLANTED REPORTS compares: each table, as
lines `id|seconds|value`, has the first value of each id and time; the report names the parameters that are known to
follow each product.
"""
import json
import sys
from pathlib import Path

FILES = {"metrics": ("metrics.json", "id", "val"), "workorders": ("workorder.json", "product", "production")}


def rows_of(directory: Path, table: str) -> dict[tuple[int, int], float]:
    name, key, value = FILES[table]
    rows: dict[tuple[int, int], float] = {}
    for item in json.loads((directory / name).read_text()):
        rows.setdefault((item[key], item["time"]), float(item[value]))
    return rows


def found_in(path: Path) -> dict[tuple[int, int], float]:
    rows: dict[tuple[int, int], float] = {}
    for line in path.read_text().splitlines():
        key, time, value = line.split("|")
        assert (int(key), int(time)) not in rows, f"twice: {line}"
        rows[int(key), int(time)] = float(value)
    return rows


def top_three(reports: Path) -> dict[int, set[int]]:
    (path,) = reports.glob("report_*.json")
    top: dict[int, set[int]] = {}
    for product in json.loads(path.read_text())["products"]:
        (basis,) = (it for it in product["bases"] if it["basis"] == "increment")
        top[product["product"]] = {it["parameter"] for it in basis["findings"][:3]}
    return top


def main() -> None:
    command, directory = sys.argv[1], Path(sys.argv[2])
    expected = {table: rows_of(directory, table) for table in FILES}
    count = sum(len(rows) for rows in expected.values())
    if command == "count":
        print(count)
        return
    metrics, workorders, planted, reports = map(Path, sys.argv[3:])
    for table, path in (("metrics", metrics), ("workorders", workorders)):
        found = found_in(path)
        wrong = [key for key in expected[table].keys() | found.keys() if expected[table].get(key) != found.get(key)]
        if wrong:
            sys.exit(f"{len(wrong)} rows of {table} differ, for instance {wrong[:5]}")
    known: dict[int, set[int]] = {}
    for line in planted.read_text().splitlines():
        product, parameters = line.split(": ")
        known[int(product)] = {int(it.split(" ")[0]) for it in parameters.split(", ")}
    found_top = top_three(reports)
    if not known or found_top != known:
        sys.exit(f"the report has {found_top} instead of {known}")
    print(f"{count} rows, top three of {len(known)} products")


main()
