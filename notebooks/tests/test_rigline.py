"""The part of the notebook on one process, beside a real one."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

import expect
import known
import rigs
from conftest import NOTEBOOKS, Ran


@pytest.fixture(scope="session")
def program() -> str:
    """Give the path of the program that was built."""
    named = os.environ.get("RIGLINE_PROGRAM")
    built = [NOTEBOOKS.parent / "target" / kind / "rigline" for kind in ("release", "debug")]
    for path in [Path(named).resolve()] if named else built:
        if path.is_file():
            return str(path)
    raise FileNotFoundError("build it first: cargo build --bin rigline -p rigline")


def _free_port() -> int:
    with socket.socket() as some:
        some.bind(("127.0.0.1", 0))
        return some.getsockname()[1]


def _until(condition: Callable[[], bool], what: str) -> None:
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end, f"waited a minute until {what}"
        time.sleep(0.1)


@contextmanager
def _up(program: str, data: Path) -> Iterator[int]:
    """Run `rigline up`, and give its port for MQTT."""
    mqtt, admin = _free_port(), f"127.0.0.1:{_free_port()}"
    env = {**os.environ, "ADMIN_ADDR": admin}
    command = [program, "up", "--data", str(data), "--mqtt-listen", f"127.0.0.1:{mqtt}"]
    with open(data.parent / "up.log", "w") as log:
        process = subprocess.Popen(
            # Rows that never get complete needn't wait long.
            [*command, "--flush-interval", "500ms"],
            env=env,
            stdout=log,
            stderr=log,
        )
        try:
            check = [program, "up", "healthcheck", "--ready"]
            _until(
                lambda: subprocess.run(check, env=env, capture_output=True).returncode == 0,
                "rigline up is ready",
            )
            yield mqtt
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(timeout=30)


def _publish(program: str, port: int, start: int, directory: Path) -> None:
    """Publish the known readings, with a `producer` that replays a file."""
    file = directory / "readings.ndjson"
    with open(file, "w") as out:
        for row in sorted(known.rows(), key=lambda row: row.tick):
            moment = datetime.fromtimestamp(start + row.tick, UTC).isoformat()
            for sensor, value in row.values.items():
                topic = f"rigs/{row.rig}/measurements/{sensor}"
                payload = {"timestamp": moment, "value": value}
                out.write(json.dumps({"topic": topic, "payload": payload}) + "\n")
    command = [program, "producer", "--mqtt-host", "127.0.0.1", "--mqtt-port", str(port)]
    command += ["--admin-addr", "127.0.0.1:0", "--replay", str(file), "--speed", "max"]
    subprocess.run(command, check=True, capture_output=True, timeout=60)


def _rows(program: str, data: Path) -> str:
    command = [program, "rows", "--data", str(data), "--last", "1h", "--format", "csv"]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def test_what_one_process_stored_is_drawn(
    program: str, run_notebook: Callable[..., Ran], tmp_path: Path
) -> None:
    data = tmp_path / "data"
    start = known.start()
    with _up(program, data) as port:
        _publish(program, port, start, tmp_path)
        readings = sum(len(row.values) for row in known.rows())

        def all_stored() -> bool:
            lines = _rows(program, data).splitlines()[1:]
            return sum(bool(cell) for line in lines for cell in line.split(",")[2:]) == readings

        _until(all_stored, "everything is stored")
        # Beside the process that writes; nothing is in InfluxDB.
        ran = run_notebook(WINDOW="5m", LIVE_SECONDS="1", RIGLINE=program, RIGLINE_DATA=str(data))
    expect.known_views(ran.drawn["stored"], start)
    expect.nothing_drawn(ran.drawn["influx"])
    assert "There is no token" in ran.said("influx-read")
    shown = ("stored-lines", "stored-boxes", "stored-histograms")
    assert [ran.pictures(cell) for cell in shown] == [1, 1, 6]

    # A file of the same rows shows the same, whatever the time.
    file = tmp_path / "rows.csv"
    file.write_text(_rows(program, data))
    measured = rigs.read_csv(str(file), "1m")
    assert len(measured.points) == len(known.rows())
    assert measured.values("RIG-01", "pressure").tolist() == known.values("RIG-01", "pressure")
    assert measured.window.title == "rows.csv"


def test_a_directory_without_a_store_is_said(
    program: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RIGLINE", program)
    monkeypatch.setenv("RIGLINE_DATA", str(tmp_path / "nowhere"))
    with pytest.raises(rigs.Missing, match=r"(?s)no store at .*nowhere.*rigline demo --data DIR"):
        rigs.read_rigline("1h")


def test_a_store_without_rows_is_said(
    program: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = tmp_path / "data"
    monkeypatch.setenv("RIGLINE", program)
    monkeypatch.setenv("RIGLINE_DATA", str(data))
    with (
        _up(program, data),
        pytest.raises(rigs.Missing, match=r"has no rows of the last day.*rigline up"),
    ):
        rigs.read_rigline("1d")
