"""Reads the data back from what was drawn."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure

import rigs


def lines(figure: Figure) -> dict[str, dict[str, list[list[float | None]]]]:
    """Read each rig's line in each place: seconds and values, None in a gap."""
    return {
        axes.get_ylabel(): {
            line.get_label(): [
                [moment.timestamp(), None if pd.isna(value) else value]
                for moment, value in zip(
                    pd.DatetimeIndex(line.get_xdata()), line.get_ydata().tolist(), strict=True
                )
            ]
            for line in axes.get_lines()
        }
        for axes in figure.axes
    }


def marked(figure: Figure) -> dict[str, dict[str, list[int]]]:
    """Read which points have marks."""
    return {
        axes.get_ylabel(): {line.get_label(): line.get_markevery() for line in axes.get_lines()}
        for axes in figure.axes
    }


def boxes(figure: Figure) -> dict[str, dict[str, list[float]]]:
    """Read lower quartile, median, upper quartile of each box, and its outliers."""
    found: dict[str, dict[str, list[float]]] = {}
    for axes in figure.axes:
        medians = [line for line in axes.lines if line.get_linewidth() == 1.5]
        outliers = [line for line in axes.lines if line.get_marker() == "."]
        names = [label.get_text() for label in axes.get_xticklabels()]
        found[axes.get_ylabel()] = {}
        for name, box, median, out in zip(names, axes.patches, medians, outliers, strict=True):
            heights = box.get_path().vertices[:4, 1]
            found[axes.get_ylabel()][name] = [
                float(min(heights)),
                float(median.get_ydata()[0]),
                float(max(heights)),
                *(float(value) for value in out.get_ydata()),
            ]
    return found


def histograms(figures: dict[str, Figure]) -> dict[str, dict[str, dict[str, list[float]]]]:
    """Read edges and heights of the bars, and the curve, of each rig's place."""
    found = {}
    for sensor, figure in figures.items():
        found[sensor] = {}
        for axes in figure.axes:
            bars = axes.patches
            edges = [bar.get_x() for bar in bars]
            if bars:
                edges.append(bars[-1].get_x() + bars[-1].get_width())
            curve = axes.get_lines()
            found[sensor][axes.get_title()] = {
                "edges": [float(edge) for edge in edges],
                "heights": [float(bar.get_height()) for bar in bars],
                "at": curve[0].get_xdata().tolist() if curve else [],
                "density": curve[0].get_ydata().tolist() if curve else [],
            }
    return found


def titles(figure: Figure) -> list[str]:
    """Read the title and the names of the axes."""
    texts = [figure.get_suptitle(), figure.get_supxlabel(), figure.get_supylabel()]
    return [*texts, *(axes.get_xlabel() for axes in figure.axes)]


def everything(measured: rigs.Measured) -> dict[str, object]:
    """Draw all views of one part of the notebook as its cells do, and read them."""
    drawn, spread = rigs.lines(measured), rigs.boxes(measured)
    distribution = {sensor: rigs.histogram(measured, sensor) for sensor in measured.sensors}
    return {
        "lines": lines(drawn),
        "marked": marked(drawn),
        "boxes": boxes(spread),
        "histograms": histograms(distribution),
        "titles": {
            "lines": titles(drawn),
            "boxes": titles(spread),
            "histograms": [title for figure in distribution.values() for title in titles(figure)],
        },
        "table": [[*index, *row] for index, *row in rigs.table(measured).itertuples()],
    }
