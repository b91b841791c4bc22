"""What the cells of Graphs.ipynb call: to read what rigs measured, and to show it.

How it is read is in rigs_influx and rigs_csv, how it is drawn in rigs_views. All of them build on
rigs_data, and none on this module.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable

import pandas as pd
from IPython.display import Markdown, display
from matplotlib.figure import Figure

from rigs_csv import read_csv, read_rigline
from rigs_data import NOTHING, Measured, Missing, label_of
from rigs_influx import read_influx
from rigs_views import boxes, histogram, lines

# What cells need of the other modules is here, too, so that they import only this one.
__all__ = [
    "NOTHING",
    "Measured",
    "Missing",
    "attempt",
    "boxes",
    "histogram",
    "lines",
    "live",
    "read_csv",
    "read_influx",
    "read_rigline",
    "show",
    "table",
]


def attempt(read: Callable[[str], Measured], window: str) -> Measured:
    """Read, or say plainly why there is nothing to be shown."""
    try:
        measured = read(window)
    except Missing as missing:
        print(missing)
        return NOTHING
    rows, rigs = len(measured.points), len(measured.rigs)
    print(f"{rows:,} rows of {rigs} rigs, {measured.window.title}, {measured.window.points_are}.")
    return measured


def show(*figures: Figure) -> None:
    """Show figures, and give back what they take, which for many rigs is megabytes each."""
    for figure in figures:
        if figure.axes:
            display(figure)
        else:
            print("Nothing to draw: what is missing is said above.")
        figure.clear()
    gc.collect()


def table(measured: Measured) -> pd.DataFrame:
    """Tabulate count, mean, minimum and maximum of all readings, by sensor and rig."""
    places = {sensor: place for place, sensor in enumerate(measured.sensors)}
    ordered = measured.summary.assign(place=measured.summary["sensor"].map(places))
    ordered = ordered.sort_values(["place", "rig_id"])
    rows = pd.DataFrame(
        {
            "Sensor": ordered["sensor"].map(label_of),
            "Rig": ordered["rig_id"],
            "Count": ordered["count"].astype(int),
            "Mean": ordered["mean"].round(2),
            "Min": ordered["min"],
            "Max": ordered["max"],
        }
    )
    return rows.set_index(["Sensor", "Rig"])


def live(draw: Callable[[], Figure], seconds: float, every: float = 2.0) -> int:
    """Draw again and again for some time, or until the cell is interrupted."""
    if seconds <= 0:
        print("Left out: set LIVE_SECONDS in the first cell to watch for that long.")
        return 0
    end = time.monotonic() + seconds
    drawn, handle = 0, None
    try:
        while True:
            try:
                shown: Figure | Markdown = draw()
                drawn += 1
            except Missing as missing:
                if handle is None:
                    print(missing)
                    return 0
                # What was there may come back.
                shown = Markdown(str(missing))
            if handle is None:
                handle = display(shown, display_id=True)
            else:
                handle.update(shown)
            gc.collect()
            left = end - time.monotonic()
            if left <= 0:
                break
            time.sleep(min(every, left))
    except KeyboardInterrupt:
        print("Interrupted.")
    print(f"Drawn {drawn} times.")
    return drawn
