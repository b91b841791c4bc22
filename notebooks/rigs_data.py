"""What rigs measured, and what is known of it: the windows of time and the sensors."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import pandas as pd

STATISTICS = ["count", "mean", "min", "max"]

# Title and unit of the sensors that every rig has, in the order in which they are shown.
SENSORS = {
    "temp_inlet": ("Inlet temperature", "°C"),
    "temp_outlet": ("Outlet temperature", "°C"),
    "pressure": ("Pressure", "bar"),
    "flow_rate": ("Flow rate", "L/min"),
    "voltage": ("Voltage", "V"),
    "current": ("Current", "A"),
}


class Missing(Exception):  # noqa: N818 - it is an answer for people, not a defect
    """Something that has to be there isn't; the message says what, and what to do about it."""


@dataclass(frozen=True)
class Window:
    """How much time is shown, and how finely."""

    title: str
    # As Flux and `rigline` write it.
    last: str
    # Points are means of this time; without it they are what was measured.
    every: str | None = None
    # The same for people.
    means_of: str = ""

    @property
    def points_are(self) -> str:
        """What the points are, for titles."""
        return f"means of {self.means_of}" if self.every else "each reading"


# Short ones are shown as measured. Of the others at most 1,440 points a rig and sensor arrive.
WINDOWS = {
    "1m": Window("last minute", "1m"),
    "5m": Window("last 5 minutes", "5m"),
    "1h": Window("last hour", "1h", "3s", "3 seconds"),
    "1d": Window("last day", "1d", "1m", "1 minute"),
}


def window_of(name: str) -> Window:
    """Find a window by its name."""
    try:
        return WINDOWS[name]
    except KeyError:
        raise Missing(f"WINDOW is {name!r}, and has to be one of {', '.join(WINDOWS)}.") from None


@dataclass(frozen=True)
class Measured:
    """What rigs measured."""

    # A row for each rig and time: `rig_id`, `time`, and a column for each sensor.
    points: pd.DataFrame
    # A row for each rig and sensor: `rig_id`, `sensor` and the STATISTICS, of all readings, also
    # where the points are means.
    summary: pd.DataFrame
    window: Window = WINDOWS["1h"]

    @property
    def rigs(self) -> list[str]:
        """The rigs, in order."""
        return sorted(self.points["rig_id"].unique())

    @property
    def sensors(self) -> list[str]:
        """The sensors, the known ones first."""
        there = [name for name in self.points.columns if name not in ("rig_id", "time")]
        return [name for name in SENSORS if name in there] + sorted(set(there) - set(SENSORS))

    def values(self, rig: str, sensor: str) -> pd.Series:
        """Select what one sensor of one rig measured, by time."""
        of_rig = self.points[self.points["rig_id"] == rig]
        return of_rig.set_index("time")[sensor].dropna()

    def only(self, names: str) -> Measured:
        """Select rigs by their names, with commas between them; all if there are none."""
        wanted = [name.strip() for name in names.split(",") if name.strip()]
        if not wanted or not self.rigs:
            return self
        if unknown := sorted(set(wanted) - set(self.rigs)):
            print(f"There is no {', '.join(unknown)}, but there are {', '.join(self.rigs)}.")
        return dataclasses.replace(
            self,
            points=tidy(self.points[self.points["rig_id"].isin(wanted)]),
            summary=self.summary[self.summary["rig_id"].isin(wanted)],
        )


def tidy(points: pd.DataFrame) -> pd.DataFrame:
    """Order the rows, and leave out sensors that never measured anything."""
    points = points.sort_values(["rig_id", "time"], ignore_index=True)
    sensors = points.columns.drop(["rig_id", "time"])
    return points.astype(dict.fromkeys(sensors, float)).dropna(axis="columns", how="all")


NOTHING = Measured(
    pd.DataFrame({"rig_id": [], "time": []}),
    pd.DataFrame({name: [] for name in ["rig_id", "sensor", *STATISTICS]}),
)


def title_of(sensor: str) -> str:
    """Name a sensor for people."""
    return SENSORS.get(sensor, (sensor, ""))[0]


def label_of(sensor: str) -> str:
    """Name a sensor for people, with its unit."""
    title, unit = SENSORS.get(sensor, (sensor, ""))
    return f"{title} ({unit})" if unit else title
