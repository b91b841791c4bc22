"""Compares what was drawn with what is known."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import gaussian_kde

import known

# The units are what the simulated fleet means.
LABELS = {
    "temp_inlet": "Inlet temperature (°C)",
    "temp_outlet": "Outlet temperature (°C)",
    "pressure": "Pressure (bar)",
    "flow_rate": "Flow rate (L/min)",
    "voltage": "Voltage (V)",
    "current": "Current (A)",
}


def known_views(drawn: dict, start: int) -> None:
    """Check all views of the known rows, shown as measured."""
    lines_are_known(drawn, start)
    boxes_are_known(drawn)
    histograms_are_known(drawn)
    table_is_known(drawn)
    assert "each reading" in drawn["titles"]["lines"][0]


def lines_are_known(drawn: dict, start: int) -> None:
    """Check times and values, and that lines end at gaps."""
    assert list(drawn["lines"]) == list(LABELS.values())
    assert "Time (UTC)" in drawn["titles"]["lines"]
    for sensor, label in LABELS.items():
        for rig in known.TICKS:
            line = drawn["lines"][label][rig]
            assert [value for _, value in line] == known.line(rig, sensor), (rig, sensor)
            there = [(moment, value) for moment, value in line if value is not None]
            assert there == [(start + t, v) for t, v in known.column(rig, sensor)], (rig, sensor)
            moments = [moment for moment, _ in line]
            assert moments == sorted(moments)
    # The last row of RIG-02 is behind a gap, so that only a mark can show it.
    last = len(known.line("RIG-02", "pressure")) - 1
    assert drawn["marked"][LABELS["pressure"]] == {"RIG-01": [], "RIG-02": [last]}


def boxes_are_known(drawn: dict) -> None:
    """Check quartiles, medians and outliers."""
    assert list(drawn["boxes"]) == list(LABELS.values())
    for sensor, label in LABELS.items():
        for rig in known.TICKS:
            values = known.values(rig, sensor)
            if not values:
                continue
            low, median, high, *outliers = drawn["boxes"][label][rig]
            assert [low, median, high] == pytest.approx(np.percentile(values, [25, 50, 75]))
            reach = 1.5 * (high - low)
            outside = [v for v in values if not low - reach <= v <= high + reach]
            assert sorted(outliers) == sorted(outside), (rig, sensor)
    # The peak is one, or the check above would check nothing.
    assert max(drawn["boxes"][LABELS["pressure"]]["RIG-01"][3:]) == 60.0


def histograms_are_known(drawn: dict) -> None:
    """Check bars and curves."""
    assert list(drawn["histograms"]) == list(LABELS)
    for sensor, label in LABELS.items():
        assert label in drawn["titles"]["histograms"]
        every = [v for rig in known.TICKS for v in known.values(rig, sensor)]
        for rig in known.TICKS:
            values = known.values(rig, sensor)
            place = drawn["histograms"][sensor][rig]
            if not values:
                assert place["heights"] == []
                continue
            # All rigs have the same thirty bars, from the lowest to the highest value of any.
            low, high = min(every), max(every)
            if low == high:
                low, high = low - 0.5, high + 0.5
            edges = np.linspace(low, high, 31)
            assert place["edges"] == pytest.approx(edges)
            counts, _ = np.histogram(values, edges)
            width = (high - low) / 30
            assert place["heights"] == pytest.approx(counts / len(values) / width)
            assert counts.sum() == len(values)
            if len(set(values)) == 1:
                assert place["density"] == [], "no curve can be estimated from a single value"
            else:
                assert place["density"] == pytest.approx(gaussian_kde(values)(place["at"]))
                area = np.trapezoid(place["density"], place["at"])
                assert 0.8 < area < 1.01


def table_is_known(drawn: dict) -> None:
    """Check the statistics of each rig and sensor."""
    expected = []
    for sensor, label in LABELS.items():
        for rig in known.TICKS:
            if values := known.values(rig, sensor):
                mean = round(sum(values) / len(values), 2)
                expected.append([label, rig, len(values), mean, min(values), max(values)])
    assert [row[:3] for row in drawn["table"]] == [row[:3] for row in expected]
    for row, right in zip(drawn["table"], expected, strict=True):
        assert row[3:] == pytest.approx(right[3:])


def nothing_drawn(drawn: dict) -> None:
    """Check that there are no views."""
    assert drawn["lines"] == {}
    assert drawn["boxes"] == {}
    assert drawn["histograms"] == {}
    assert drawn["table"] == []
