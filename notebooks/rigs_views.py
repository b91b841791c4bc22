"""Draws what rigs measured: courses, spreads and distributions, each as a figure."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
from matplotlib import color_sequences
from matplotlib.axes import Axes
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
from matplotlib.figure import Figure
from matplotlib.mlab import GaussianKDE

from rigs_data import Measured, label_of, title_of

# Ten colours that stay apart for colour-blind people, too; the eleventh rig has the first colour
# again, but dashed.
COLORS = color_sequences["petroff10"]
DASHES = ["-", "--", ":", "-."]

BINS = 30


def with_gaps(values: pd.Series) -> pd.Series:
    """Put a NaN into each gap, so that no line is drawn across it.

    A gap is longer than 5 seconds and than 5 times the median distance of the points.
    """
    distances = values.index.to_series().diff()
    longest = max(pd.Timedelta(seconds=5), 5 * distances.median()) if len(values) > 1 else None
    if longest is None:
        return values
    # Right behind the last point before the gap.
    before = values.index[:-1][(distances > longest).to_numpy()[1:]]
    breaks = pd.Series(np.nan, index=before + pd.Timedelta(milliseconds=1))
    return pd.concat([values, breaks]).sort_index() if len(breaks) else values


def _alone(values: pd.Series) -> list[int]:
    """Find points with a gap on both sides: no line leads to them, so they need a mark."""
    there = np.concatenate([[False], values.notna().to_numpy(), [False]])
    return np.flatnonzero(there[1:-1] & ~there[:-2] & ~there[2:]).tolist()


def _looks(rigs: list[str]) -> dict[str, dict[str, object]]:
    return {
        rig: {
            "color": COLORS[place % len(COLORS)],
            "linestyle": DASHES[place // len(COLORS) % len(DASHES)],
        }
        for place, rig in enumerate(rigs)
    }


def _grid(measured: Measured, title: str, share_x: bool) -> tuple[Figure, dict[str, Axes]]:
    """Make a figure with a place for each sensor, two in a row."""
    rows = math.ceil(len(measured.sensors) / 2)
    figure = Figure(figsize=(14, 1 + 3 * rows), layout="constrained")
    figure.suptitle(title, fontsize="x-large", fontweight="bold")
    places = figure.subplots(rows, 2, sharex=share_x, squeeze=False).flatten()
    for axes in places[len(measured.sensors) :]:
        axes.remove()
    for axes, sensor in zip(places, measured.sensors, strict=False):
        axes.set_title(title_of(sensor), loc="left")
        axes.set_ylabel(label_of(sensor))
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
    return figure, dict(zip(measured.sensors, places, strict=False))


def lines(measured: Measured) -> Figure:
    """Draw each sensor over time, a line for each rig, interrupted where nothing was measured."""
    if not measured.sensors:
        return Figure()
    window = measured.window
    figure, places = _grid(measured, f"Course, {window.title} ({window.points_are})", share_x=True)
    looks = _looks(measured.rigs)
    for sensor, axes in places.items():
        for rig, look in looks.items():
            values = with_gaps(measured.values(rig, sensor))
            axes.plot(
                values.index,
                values.to_numpy(),
                label=rig,
                linewidth=1.2,
                marker=".",
                markevery=_alone(values),
                **look,
            )
        locator = AutoDateLocator(tz="UTC")
        axes.xaxis.set_major_locator(locator)
        axes.xaxis.set_major_formatter(ConciseDateFormatter(locator, tz="UTC"))
        axes.tick_params(labelbottom=True)
        axes.set_xlabel("Time (UTC)")
    handles, names = axes.get_legend_handles_labels()
    legend = figure.legend(handles, names, loc="outside lower center", ncols=10, frameon=False)
    legend.set_title("Rig")
    for line in legend.get_lines():
        line.set_linewidth(3)
    return figure


def boxes(measured: Measured) -> Figure:
    """Draw median, quartiles and outliers of each sensor, a box for each rig."""
    if not measured.sensors:
        return Figure()
    window = measured.window
    figure, places = _grid(measured, f"Spread, {window.title} ({window.points_are})", share_x=False)
    rigs = measured.rigs
    looks = _looks(rigs)
    for sensor, axes in places.items():
        drawn = axes.boxplot(
            [measured.values(rig, sensor) for rig in rigs],
            tick_labels=rigs,
            patch_artist=True,
            widths=0.6,
            medianprops={"color": "black", "linewidth": 1.5},
            flierprops={"marker": ".", "markersize": 3, "alpha": 0.5},
        )
        for box, rig in zip(drawn["boxes"], rigs, strict=True):
            box.set_facecolor(looks[rig]["color"])
        axes.tick_params(axis="x", labelrotation=45 if len(rigs) > 5 else 0)
    return figure


def density(values: pd.Series, at: np.ndarray) -> np.ndarray | None:
    """Estimate how often a sensor shows each of these values (Gaussian kernels, Scott's rule)."""
    if values.nunique() < 2:
        return None
    try:
        return GaussianKDE(values.to_numpy())(at)
    except np.linalg.LinAlgError:
        # The values differ by no more than a rounding.
        return None


def histogram(measured: Measured, sensor: str) -> Figure:
    """Draw how often a sensor showed which value, a place for each rig, all with the same axes."""
    window = measured.window
    rigs = measured.rigs
    columns = min(5, len(rigs))
    rows = math.ceil(len(rigs) / columns)
    figure = Figure(figsize=(max(2.8 * columns, 5), 1.2 + 2 * rows), layout="constrained")
    title = f"{title_of(sensor)}, {window.title} ({window.points_are})"
    figure.suptitle(title, fontsize="x-large", fontweight="bold")
    places = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False).flatten()
    for axes in places[len(rigs) :]:
        axes.remove()
    edges = np.histogram_bin_edges(measured.points[sensor].dropna(), bins=BINS)
    beyond = (edges[-1] - edges[0]) / 15
    at = np.linspace(edges[0] - beyond, edges[-1] + beyond, 200)
    for axes, (rig, look) in zip(places, _looks(rigs).items(), strict=False):
        axes.set_title(rig)
        axes.spines[["top", "right"]].set_visible(False)
        values = measured.values(rig, sensor)
        if values.empty:
            continue
        axes.hist(values, bins=edges, density=True, color=look["color"], alpha=0.6)
        curve = density(values, at)
        if curve is not None:
            axes.plot(at, curve, color="black", linewidth=1.2)
    figure.supxlabel(label_of(sensor))
    figure.supylabel("Density")
    return figure
