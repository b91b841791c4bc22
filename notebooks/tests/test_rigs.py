"""The functions that the cells call, and those beneath them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

import influxdb
import known
import rigs
import rigs_csv
import rigs_data
import rigs_influx
import rigs_views

START = 1_750_000_020


def _csv() -> str:
    lines = ["rig_id,time," + ",".join(known.SENSORS)]
    for row in known.rows():
        moment = pd.Timestamp(START + row.tick, unit="s", tz="UTC")
        cells = [str(row.values.get(sensor, "")) for sensor in known.SENSORS]
        lines.append(",".join([row.rig, moment.strftime("%Y-%m-%dT%H:%M:%SZ"), *cells]))
    return "\n".join(lines) + "\n"


@pytest.fixture
def csv(tmp_path: Path) -> str:
    """Give a file of the known rows."""
    file = tmp_path / "rows.csv"
    file.write_text(_csv())
    return str(file)


@pytest.mark.parametrize(
    ("name", "start", "every"),
    [("1m", "-1m", None), ("5m", "-5m", None), ("1h", "-1h", "3s"), ("1d", "-1d", "1m")],
)
def test_each_window_is_asked_for(name: str, start: str, every: str | None) -> None:
    query = rigs_influx.flux("rigs", rigs_data.window_of(name))
    assert query.count("range(") == 1
    assert f"|> range(start: {start})" in query
    if every is None:
        assert "aggregateWindow" not in query
    else:
        assert f"|> aggregateWindow(every: {every}, fn: mean, createEmpty: false" in query
        whole = {"1h": 3_600, "1d": 86_400}[name]
        assert whole / pd.Timedelta(every).total_seconds() <= 1_500
    # The statistics are of all readings, not of means.
    assert query.index("readings |> count()") > query.index('yield(name: "points")')


def test_a_window_that_is_none_is_said() -> None:
    with pytest.raises(rigs.Missing, match="'2h', and has to be one of 1m, 5m, 1h, 1d"):
        rigs_data.window_of("2h")


def test_a_bucket_cannot_end_its_text() -> None:
    query = rigs_influx.flux('a"b\\c${d}', rigs_data.window_of("1h"))
    assert 'from(bucket: "a\\"b\\\\c\\${d}")' in query


def test_the_token_may_be_in_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("INFLUX_TOKEN", raising=False)
    file = tmp_path / "token"
    monkeypatch.setenv("INFLUX_TOKEN_FILE", str(file))
    with pytest.raises(rigs.Missing, match="INFLUX_TOKEN_FILE can't be read"):
        rigs_influx.Influx.from_environment()
    file.write_text(" \n")
    with pytest.raises(rigs.Missing, match="There is no token"):
        rigs_influx.Influx.from_environment()
    file.write_text("a-token\n")
    assert rigs_influx.Influx.from_environment().token == "a-token"  # noqa: S105


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ("<html>\r\n<p>welcome, dear, visitor</p>\r\n", "isn't InfluxDB 2"),
        ("<html>", "isn't InfluxDB 2"),
        (
            "#datatype,string,string\r\n#group,true,true\r\n#default,,\r\n"
            ",error,reference\r\n,the engine is closed,897\r\n",
            "can't answer: the engine is closed",
        ),
    ],
)
def test_answers_that_are_none(answer: str, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with influxdb.scripted(answer) as url:
        monkeypatch.setenv("INFLUX_URL", url)
        monkeypatch.setenv("INFLUX_TOKEN", "a-token")
        with pytest.raises(rigs.Missing, match=said):
            rigs.read_influx("1m")


@pytest.mark.parametrize(
    ("status", "said"),
    [
        (403, r"refuses the token \(403\)"),
        (404, "no organisation my-org with a bucket rigs, or the token may not read it"),
        (503, "can't answer: 503 Service Unavailable"),
    ],
)
def test_refusals(status: int, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("INFLUX_ORG", raising=False)
    monkeypatch.delenv("INFLUX_BUCKET", raising=False)
    with influxdb.scripted("", status) as url:
        monkeypatch.setenv("INFLUX_URL", url)
        monkeypatch.setenv("INFLUX_TOKEN", "a-token")
        with pytest.raises(rigs.Missing, match=said):
            rigs.read_influx("1m")


def test_a_bucket_that_is_not_there_is_said(
    server: influxdb.Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("INFLUX_URL", server.url)
    monkeypatch.setenv("INFLUX_TOKEN", influxdb.OPERATOR)
    for org, bucket in [(influxdb.ORG, "nope"), ("nope", "first")]:
        monkeypatch.setenv("INFLUX_ORG", org)
        monkeypatch.setenv("INFLUX_BUCKET", bucket)
        with pytest.raises(rigs.Missing, match=f"organisation {org} with a bucket {bucket}"):
            rigs.read_influx("1m")


@pytest.mark.parametrize("window", ["1h", "1d"])
def test_statistics_are_of_all_readings(
    window: str, server: influxdb.Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket = server.bucket(f"statistics-{window}")
    bucket.write(known.start())
    for name, value in bucket.environment().items():
        monkeypatch.setenv(name, value)
    summary = rigs.read_influx(window).summary
    for rig in known.TICKS:
        for sensor in known.SENSORS:
            values = known.values(rig, sensor)
            found = summary.query("rig_id == @rig and sensor == @sensor")
            found = found[["count", "mean", "min", "max"]].to_numpy().tolist()
            right = [len(values), np.mean(values), min(values), max(values)] if values else None
            assert found == ([pytest.approx(right)] if right else [])


@pytest.mark.parametrize("url", ["localhost:8086", "http://", "http://[", "nonsense"])
def test_a_url_that_is_none_is_said(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INFLUX_URL", url)
    monkeypatch.setenv("INFLUX_TOKEN", "a-token")
    with pytest.raises(rigs.Missing, match="INFLUX_URL"):
        rigs.read_influx("1m")


@pytest.mark.parametrize("chunk", [1, 7, 100, 10_000])
@pytest.mark.parametrize("window", ["1m", "1h", "1d"])
def test_chunks_change_nothing(
    csv: str, window: str, chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rigs_csv, "CHUNK", chunk)
    measured = rigs.read_csv(csv, window)
    every = {"1m": 1, "1h": 3, "1d": 60}[window]
    for rig in known.TICKS:
        for sensor in known.SENSORS:
            values = known.column(rig, sensor)
            bins: dict[int, list[float]] = {}
            for tick, value in values:
                bins.setdefault((START + tick) // every * every, []).append(value)
            found = measured.values(rig, sensor)
            assert [moment.timestamp() for moment in found.index] == list(bins)
            assert found.tolist() == pytest.approx([np.mean(some) for some in bins.values()])
            summary = measured.summary.query("rig_id == @rig and sensor == @sensor")
            if not values:
                assert summary.empty
                continue
            numbers = [value for _, value in values]
            (row,) = summary[["count", "mean", "min", "max"]].to_numpy().tolist()
            right = [len(numbers), np.mean(numbers), min(numbers), max(numbers)]
            assert row == pytest.approx(right)


def test_files_that_are_none_are_said(tmp_path: Path) -> None:
    file = tmp_path / "some"
    with pytest.raises(rigs.Missing, match="can't be read"):
        rigs.read_csv(str(file), "1h")
    for text, said in [
        ("", "has no rows"),
        ("rig_id,time,pressure\n", "has no rows"),
        ("a,b\n1,2\n", "can't be read"),
        ("rig_id,time,pressure\nA,yesterday,1\n", "can't be read"),
        ("rig_id,time,pressure\nA,2026-01-01T00:00:00Z,high\n", "can't be read"),
    ]:
        file.write_text(text)
        with pytest.raises(rigs.Missing, match=said):
            rigs.read_csv(str(file), "1h")


def test_names_and_sensors_that_pandas_would_take_for_something_else(tmp_path: Path) -> None:
    file = tmp_path / "rows.csv"
    file.write_text(
        "rig_id,time,vibration,pressure,never\n"
        "NA,2026-01-01T00:00:00Z,1,2,\n"
        "007,2026-01-01T00:00:00.250Z,3,,\n"
    )
    measured = rigs.read_csv(str(file), "1m")
    assert measured.rigs == ["007", "NA"]
    assert measured.sensors == ["pressure", "vibration"]
    assert rigs_data.label_of("vibration") == "vibration"
    assert measured.only("NA").rigs == ["NA"]
    # Whole and broken seconds, one value, none: everything can be drawn.
    histograms = [rigs.histogram(measured, sensor) for sensor in measured.sensors]
    for figure in [rigs.lines(measured), rigs.boxes(measured), *histograms]:
        figure.canvas.draw()


def test_rigs_are_picked(csv: str, capsys: pytest.CaptureFixture[str]) -> None:
    measured = rigs.read_csv(csv, "1m")
    assert measured.only("").rigs == ["RIG-01", "RIG-02"]
    picked = measured.only(" RIG-02, RIG-9")
    assert picked.rigs == ["RIG-02"]
    assert "current" not in picked.sensors
    assert "There is no RIG-9, but there are RIG-01, RIG-02." in capsys.readouterr().out
    assert measured.only("RIG-9").sensors == []
    rigs.lines(measured.only("RIG-9")).canvas.draw()


@pytest.mark.parametrize(
    ("seconds", "gaps"),
    [
        ([0], 0),
        ([0, 1], 0),
        # 5 seconds aren't more than 5 seconds.
        ([0, 1, 2, 7, 8], 0),
        ([0, 1, 2, 8, 9], 1),
        # Each minute: up to 5 minutes is usual.
        ([0, 60, 120, 420, 480], 0),
        ([0, 60, 120, 421, 481], 1),
        # A rig that sends fast may be silent for 5 seconds.
        ([0, 0.1, 0.2, 5.1, 5.2], 0),
        ([0, 0.1, 0.2, 5.3, 5.4, 20, 20.1], 2),
    ],
)
def test_gaps(seconds: list[float], gaps: int) -> None:
    index = pd.to_datetime([START + second for second in seconds], unit="s", utc=True)
    line = rigs_views.with_gaps(pd.Series(range(len(seconds)), index=index, dtype=float))
    assert line.isna().sum() == gaps
    assert line.dropna().tolist() == list(range(len(seconds)))
    assert line.index.is_monotonic_increasing


def test_many_rigs_stay_apart(tmp_path: Path) -> None:
    names = [f"RIG-{n:02}" for n in range(1, 41)]
    points = pd.DataFrame(
        {"rig_id": names, "time": pd.Timestamp(START, unit="s", tz="UTC"), "pressure": 1.0}
    )
    figure = rigs.lines(rigs.Measured(points, rigs.NOTHING.summary))
    looks = {(line.get_color(), line.get_linestyle()) for line in figure.axes[0].get_lines()}
    assert len(looks) == 40


def _figure() -> Figure:
    return Figure()


def test_watching_ends_when_interrupted(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt(seconds: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(rigs.time, "sleep", interrupt)
    assert rigs.live(_figure, 60) == 1
    assert "Interrupted.\nDrawn 1 times." in capsys.readouterr().out


def test_watching_goes_on_every_two_seconds_and_outlasts_a_server(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = [100.0]
    slept: list[float] = []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        clock[0] += seconds

    monkeypatch.setattr(rigs.time, "monotonic", lambda: clock[0])
    monkeypatch.setattr(rigs.time, "sleep", sleep)
    answers = iter([Figure(), rigs.Missing("gone"), Figure(), Figure()])

    def draw() -> Figure:
        answer = next(answers)
        if isinstance(answer, rigs.Missing):
            raise answer
        return answer

    shown: list[object] = []

    class Handle:
        update = staticmethod(shown.append)

    def display(first: object, display_id: bool) -> Handle:
        assert display_id
        shown.append(first)
        return Handle()

    monkeypatch.setattr(rigs, "display", display)
    assert rigs.live(draw, 5) == 3
    assert slept == [2, 2, 1]
    said = [getattr(what, "data", "a figure") for what in shown]
    assert said == ["a figure", "gone", "a figure", "a figure"]


def test_watching_is_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    draw: Callable[[], Figure] = _figure
    assert rigs.live(draw, 0) == 0
    assert "Left out: set LIVE_SECONDS" in capsys.readouterr().out
