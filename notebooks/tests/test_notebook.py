"""The whole notebook, run without a screen."""

from __future__ import annotations

import socket
from collections.abc import Callable
from statistics import fmean

import nbformat
import pytest

import expect
import known
from conftest import NOTEBOOK, Ran
from influxdb import Server

Run = Callable[..., Ran]


@pytest.fixture
def start() -> int:
    """Give the second of the first known row."""
    return known.start()


def test_what_influxdb_has_is_drawn(run_notebook: Run, server: Server, start: int) -> None:
    bucket = server.bucket("a-bucket", "an-org")
    bucket.write(start)
    ran = run_notebook(WINDOW="5m", LIVE_SECONDS="3", **bucket.environment())
    expect.known_views(ran.drawn["influx"], start)
    rows = len(known.rows())
    assert ran.said("influx-read") == f"{rows} rows of 2 rigs, last 5 minutes, each reading.\n"
    shown = ("influx-lines", "influx-boxes", "influx-histograms", "influx-live")
    assert [ran.pictures(cell) for cell in shown] == [1, 1, 6, 1]
    assert "Flow rate (L/min)" in str(ran.outputs("influx-table"))

    query, *live = server.queries("a-bucket")
    assert "range(start: -5m)" in query
    assert 'pivot(rowKey: ["_time"], columnKey: ["_field"], valueColumn: "_value")' in query
    assert "aggregateWindow" not in query
    # How often there is time for depends on the machine.
    assert live
    assert all("range(start: -1m)" in again for again in live)
    assert f"Drawn {len(live)} times." in ran.said("influx-live")
    # There is no rigline, and that is said once in each of its places.
    assert "can't be run" in ran.said("stored-read")
    assert "can't be run" in ran.said("stored-live")


def test_a_long_window_is_means_that_the_server_made(
    run_notebook: Run, server: Server, start: int
) -> None:
    bucket = server.bucket("long")
    bucket.write(start)
    ran = run_notebook(
        # Like papermill, and it wins over the environment.
        parameters='WINDOW = "1d"\nSHOW_RIGS = "RIG-02"',
        WINDOW="5m",
        **bucket.environment(),
    )
    (query,) = server.queries("long")
    assert "range(start: -1d)" in query
    assert "aggregateWindow(every: 1m, fn: mean, createEmpty: false" in query
    drawn = ran.drawn["influx"]
    for view in ("lines", "boxes"):
        assert drawn["titles"][view][0].endswith("last day (means of 1 minute)")
    assert "Pressure, last day (means of 1 minute)" in drawn["titles"]["histograms"]
    assert {rig for place in drawn["lines"].values() for rig in place} == {"RIG-02"}
    for sensor, label in expect.LABELS.items():
        minutes: dict[int, list[float]] = {}
        for tick, value in known.column("RIG-02", sensor):
            minutes.setdefault((start + tick) // 60 * 60, []).append(value)
        line = drawn["lines"][label]["RIG-02"] if minutes else []
        assert [moment for moment, _ in line] == list(minutes)
        means = [fmean(values) for values in minutes.values()]
        assert [value for _, value in line] == pytest.approx(means)
    assert {row[1] for row in drawn["table"]} == {"RIG-02"}
    assert "Left out" in ran.said("influx-live")


def test_no_data_is_said(run_notebook: Run, server: Server) -> None:
    bucket = server.bucket("rigs")
    # Organisation and bucket are those that the notebook asks for unless told otherwise.
    ran = run_notebook(INFLUX_URL=server.url, INFLUX_TOKEN=bucket.token)
    assert len(server.queries("rigs")) == 1
    said = ran.said("influx-read")
    assert "bucket rigs has no rows of the last hour" in said
    assert "docker compose up" in said
    expect.nothing_drawn(ran.drawn["influx"])
    expect.nothing_drawn(ran.drawn["stored"])
    for cell in ("influx-lines", "influx-boxes", "stored-lines", "stored-boxes"):
        assert ran.said(cell) == "Nothing to draw: what is missing is said above.\n"
        # Text only, in one output or more.
        assert all(out.output_type == "stream" for out in ran.outputs(cell))


def test_no_server_is_said(run_notebook: Run) -> None:
    with socket.socket() as held:
        # Bound and not listening: nobody else gets the port, and nobody answers.
        held.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{held.getsockname()[1]}"
        ran = run_notebook(INFLUX_URL=url, INFLUX_TOKEN="some", LIVE_SECONDS="30")  # noqa: S106
    said = ran.said("influx-read")
    assert f"No InfluxDB answers at {url}" in said
    assert "docker compose up" in said
    # Watching nothing for 30 seconds would be of no use.
    assert "No InfluxDB answers" in ran.said("influx-live")
    assert "rigline demo --data DIR" in ran.said("stored-read")
    expect.nothing_drawn(ran.drawn["influx"])


def test_a_refused_token_is_said(run_notebook: Run, server: Server) -> None:
    ran = run_notebook(INFLUX_URL=server.url, INFLUX_TOKEN="another")  # noqa: S106
    assert "refuses the token (401)" in ran.said("influx-read")
    assert "INFLUX_TOKEN_FILE" in ran.said("influx-read")
    assert "another" not in ran.said("influx-read")
    expect.nothing_drawn(ran.drawn["influx"])


def test_what_is_committed_was_not_run() -> None:
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbformat.validate(notebook)
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert cells
    assert all(cell.outputs == [] and cell.execution_count is None for cell in cells)
    tags = [cell.metadata.get("tags", []) for cell in cells]
    assert tags.count(["parameters"]) == 1
