"""Reads what rigs measured as CSV: from `rigline rows`, or from a file that it wrote."""

from __future__ import annotations

import dataclasses
import os
import subprocess
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO

import pandas as pd

from rigs_data import STATISTICS, Measured, Missing, Window, tidy, window_of

# Rows of a CSV that are in memory at once.
CHUNK = 50_000


def read_rigline(window: str) -> Measured:
    """Read a window from the data directory of `rigline up` or `rigline demo`."""
    span = window_of(window)
    program = os.environ.get("RIGLINE") or "rigline"
    data = os.environ.get("RIGLINE_DATA") or "../rigline-data"
    start = (
        "Start `rigline up`, or `rigline demo --data DIR` for simulated rigs, and set RIGLINE_DATA"
        " to its data directory."
    )
    command = [program, "rows", "--data", data, "--last", span.last, "--format", "csv"]
    try:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    except OSError as error:
        raise Missing(
            f"The program {program} can't be run ({error.strerror}): set RIGLINE to where it is,"
            f" e.g. ../target/release/rigline. {start}"
        ) from error
    with process:
        measured = _measured(_chunks(process.stdout), span)
        said = process.stderr.read().decode(errors="replace").strip()
    if process.returncode != 0:
        raise Missing(f"`rigline rows` says: {said}\n{start}")
    if measured is None:
        raise Missing(f"{data} has no rows of the {span.title}. {start}")
    return measured


def read_csv(path: str, window: str) -> Measured:
    """Read a file that `rigline rows --format csv` wrote.

    All of it is shown, whatever its time; the window only says how finely.
    """
    span = window_of(window)
    try:
        with open(path, "rb") as file:
            measured = _measured(_chunks(file), span)
    except (OSError, ValueError, KeyError) as error:
        raise Missing(f"{path} can't be read as rows in CSV: {error}") from error
    if measured is None:
        raise Missing(f"{path} has no rows.")
    return Measured(
        measured.points, measured.summary, dataclasses.replace(span, title=Path(path).name)
    )


def _chunks(stream: IO[bytes]) -> Iterator[pd.DataFrame]:
    """Read rows in CSV, some at a time."""
    try:
        # A rig may be called NA, too: only what is empty is absent.
        chunks = pd.read_csv(
            stream,
            chunksize=CHUNK,
            dtype={"rig_id": str},
            keep_default_na=False,
            na_values=[""],
        )
    except pd.errors.EmptyDataError:
        return
    for chunk in chunks:
        moments = pd.to_datetime(chunk["time"], format="ISO8601", utc=True)
        sensors = chunk.columns.drop(["rig_id", "time"])
        yield chunk.assign(time=moments).astype(dict.fromkeys(sensors, float))


def _measured(chunks: Iterable[pd.DataFrame], window: Window) -> Measured | None:
    """Put chunks together. A day of many rigs is never in memory as a whole."""
    points, by_rig, by_bin = [], [], []
    for chunk in chunks:
        if chunk.empty:
            continue
        by_rig.append(_sums(chunk, ["rig_id"]))
        if window.every:
            unit = pd.Timedelta(window.every)
            by_bin.append(
                _sums(chunk.assign(time=chunk["time"].dt.floor(unit)), ["rig_id", "time"])
            )
        else:
            points.append(chunk)
    if not by_rig:
        return None
    if window.every:
        points = [_means(by_bin)["mean"].unstack("sensor").reset_index()]
    summary = _means(by_rig).reset_index()[["rig_id", "sensor", *STATISTICS]]
    return Measured(tidy(pd.concat(points)), summary, window)


def _sums(rows: pd.DataFrame, by: list[str]) -> pd.DataFrame:
    """Add up each sensor's values, in a form that can be added up again."""
    long = rows.melt(["rig_id", "time"], var_name="sensor").dropna(subset="value")
    return long.groupby([*by, "sensor"])["value"].agg(["count", "sum", "min", "max"])


def _means(sums: list[pd.DataFrame]) -> pd.DataFrame:
    """Add up sums of chunks, and divide."""
    together = pd.concat(sums)
    total = together.groupby(level=together.index.names).agg(
        {"count": "sum", "sum": "sum", "min": "min", "max": "max"}
    )
    return total.assign(mean=total["sum"] / total["count"])
