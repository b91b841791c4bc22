"""Readings that are known beforehand, and what has to be seen of them."""

from __future__ import annotations

import time
from dataclasses import dataclass

# RIG-01 measures each second, with 30 seconds missing in the middle.
FIRST_RIG = [*range(50), *range(80, 150)]
# RIG-02 measures every other second. Its pause of 8 seconds is no gap, since it is less than five
# times its usual distance; the 50 seconds before its last row are one.
SECOND_RIG = [*range(0, 60, 2), *range(66, 100, 2), 148]

TICKS = {"RIG-01": FIRST_RIG, "RIG-02": SECOND_RIG}
SENSORS = ["temp_inlet", "temp_outlet", "pressure", "flow_rate", "voltage", "current"]


# In seconds, from the first row to the last.
LENGTH = max(FIRST_RIG[-1], SECOND_RIG[-1])


def start() -> int:
    """Give the second of the first row, so that the last one is 2 seconds old.

    The live views show the last minute, which a busy machine takes a good part of to get to them.
    """
    return int(time.time()) - LENGTH - 2


def value(rig: str, sensor: str, tick: int) -> float | None:
    """Say what was measured, if anything was."""
    if sensor == "voltage":
        return 230.0
    if sensor == "current" and rig == "RIG-02":
        return None
    if sensor == "flow_rate" and tick == 10:
        return None
    base = SENSORS.index(sensor) * 10 + (3 if rig == "RIG-02" else 0)
    # A single peak, to be seen as an outlier and as a maximum.
    if (rig, sensor, tick) == ("RIG-01", "pressure", 100):
        return base + 40.0
    return base + tick * 7 % 13 / 4


@dataclass(frozen=True)
class Row:
    """What one rig measured at one time."""

    rig: str
    tick: int
    values: dict[str, float]


def rows() -> list[Row]:
    """List all rows."""
    return [
        Row(
            rig,
            tick,
            {s: v for s in SENSORS if (v := value(rig, s, tick)) is not None},
        )
        for rig, ticks in TICKS.items()
        for tick in ticks
    ]


def column(rig: str, sensor: str) -> list[tuple[int, float]]:
    """List one sensor's ticks and values."""
    return [
        (row.tick, row.values[sensor]) for row in rows() if row.rig == rig and sensor in row.values
    ]


def values(rig: str, sensor: str) -> list[float]:
    """List one sensor's values."""
    return [value for _, value in column(rig, sensor)]


def line(rig: str, sensor: str) -> list[float | None]:
    """List what a line has to go through, with None for each gap."""
    gap_before = 80 if rig == "RIG-01" else 148
    seen: list[float | None] = []
    for tick, value in column(rig, sensor):
        if tick == gap_before:
            seen.append(None)
        seen.append(value)
    return seen
