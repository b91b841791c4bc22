"""Compares reports of correlations with what SciPy says of the same data, joined here.

Arguments: the program rigline, and the first seed, to repeat a comparison.
"""

from __future__ import annotations

import json
import math
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np
from scipy import stats

# Figures may differ by this, and small probabilities by this part of them. Much smaller ones depend
# on the last bit of a coefficient near 1.
TOLERANCE = 1e-9
SMALL = 1e-6
MAX_GAP = 900.0
MIN_PAIRS = 10
DATA_SETS = 12


def series(
    random: np.random.Generator, parameter: int, count: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return times and values of a parameter, each kind of which is difficult in another way."""
    times = np.unique(random.integers(0, 40_000, count))
    noise = random.normal(size=len(times))
    kinds = [
        lambda: noise,
        lambda: np.round(noise),  # ties
        lambda: np.full(len(times), 7.25),  # constant
        lambda: times * 0.5 + noise,  # a trend
        # Far from zero, but not so far that the rounding of its means is seen.
        lambda: 1e5 + noise,
        lambda: np.where(noise > 0, 1.0, 0.0),  # two values
        lambda: noise * 1e-12,
        lambda: np.exp(3 * noise),
    ]
    values = kinds[parameter % len(kinds)]()
    if parameter % 3 == 0:
        # A gap in the middle.
        kept = (times < 15_000) | (times > 22_000)
        times, values = times[kept], values[kept]
    return times.astype(float), values


def data(seed: int) -> tuple[dict[int, tuple], dict[int, tuple]]:
    """Make parameters, and products of which one follows a parameter."""
    random = np.random.default_rng(seed)
    parameters = {one: series(random, one, int(random.integers(0, 600))) for one in range(14)}
    products = {}
    for product in range(3):
        times = np.unique(random.integers(0, 40_000, int(random.integers(0, 150))))
        steps = np.round(random.normal(5, 3, size=len(times)), int(random.integers(0, 3)))
        if product == 1:
            times_of, values_of = parameters[0]
            near = np.searchsorted(times_of, times, side="right") - 1
            known = values_of[near] if len(times_of) else 0.0
            steps = steps + np.where(near >= 0, known, 0.0)
        products[product] = (times.astype(float), np.cumsum(steps))
    return parameters, products


def mean(times: np.ndarray, values: np.ndarray, orders: np.ndarray) -> np.ndarray:
    """Return the mean after the order before up to each order."""
    joined = np.full(len(orders), np.nan)
    for place in range(1, len(orders)):
        within = values[(times > orders[place - 1]) & (times <= orders[place])]
        if len(within):
            joined[place] = within.mean()
    return joined


def interpolated(times: np.ndarray, values: np.ndarray, orders: np.ndarray) -> np.ndarray:
    """Return the value between the measurements before and after, unless they are far apart."""
    if len(times) == 0:
        return np.full(len(orders), np.nan)
    after = np.searchsorted(times, orders, side="left")
    before = np.searchsorted(times, orders, side="right") - 1
    outside = (after == len(times)) | (before < 0)
    after, before = after.clip(0, len(times) - 1), before.clip(0)
    gap = times[after] - times[before]
    share = (orders - times[before]) / np.where(gap == 0, 1, gap)
    # In this order, since the rounding decides which values are ties.
    joined = values[before] + share * (values[after] - values[before])
    joined[outside | (gap > MAX_GAP)] = np.nan
    return joined


def expected(x: np.ndarray, y: np.ndarray) -> dict[str, float] | None:
    """Return SciPy's figures; None if the parameter has none."""
    if len(x) < MIN_PAIRS:
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        straight, monotone = stats.pearsonr(x, y), stats.spearmanr(x, y)
    if math.isnan(straight.statistic) or np.ptp(x) == 0 or np.ptp(y) == 0:
        return None
    interval = straight.confidence_interval(0.95)
    rho, n = float(monotone.statistic), len(x)
    # Bonett and Wright, which SciPy doesn't have.
    half = stats.norm.ppf(0.975) * math.sqrt((1 + rho * rho / 2) / (n - 3))
    center = math.atanh(rho) if abs(rho) < 1 else math.copysign(math.inf, rho)
    return {
        "r": float(straight.statistic),
        "p": float(straight.pvalue),
        "low": float(interval.low),
        "high": float(interval.high),
        "rho": rho,
        "p_rho": float(monotone.pvalue),
        "low_rho": math.tanh(center - half),
        "high_rho": math.tanh(center + half),
    }


def holm(probabilities: list[float]) -> list[float]:
    """Correct probabilities for their number."""
    order = np.argsort(probabilities, kind="stable")
    corrected = np.empty(len(probabilities))
    scaled = np.array(probabilities)[order] * (len(order) - np.arange(len(order)))
    corrected[order] = np.minimum(np.maximum.accumulate(scaled), 1.0)
    return corrected.tolist()


def check(what: str, found: float, wanted: float, *, is_probability: bool = False) -> None:
    """Fail unless both figures are the same."""
    same = math.isclose(found, wanted, rel_tol=0, abs_tol=TOLERANCE)
    if is_probability and wanted > 1e-12:
        same = same and math.isclose(found, wanted, rel_tol=SMALL)
    assert same, f"{what}: {found} isn't {wanted}"


def compare(basis: dict, wanted: dict[int, dict], what: str) -> int:
    """Compare the parameters of a basis, and return how many have figures."""
    findings = {one["parameter"]: one for one in basis["findings"]}
    assert findings.keys() == wanted.keys(), f"{what}: {sorted(findings)} aren't {sorted(wanted)}"
    sizes = [abs(one["pearson"]["r"]) for one in basis["findings"]]
    assert sizes == sorted(sizes, reverse=True), f"{what}: not in order"
    for one, corrected_name in (("p", "corrected"), ("p_rho", "corrected_rho")):
        probabilities = holm([it[one] for it in wanted.values()])
        for parameter, corrected in zip(wanted, probabilities, strict=True):
            wanted[parameter][corrected_name] = corrected
    for parameter, figures in wanted.items():
        pearson, spearman = findings[parameter]["pearson"], findings[parameter]["spearman"]
        where = f"{what}, parameter {parameter}"
        check(f"{where}, r", pearson["r"], figures["r"])
        check(f"{where}, low", pearson["interval"][0], figures["low"])
        check(f"{where}, high", pearson["interval"][1], figures["high"])
        check(f"{where}, rho", spearman["r"], figures["rho"])
        check(f"{where}, low of rho", spearman["interval"][0], figures["low_rho"])
        check(f"{where}, high of rho", spearman["interval"][1], figures["high_rho"])
        for of, name in ((pearson, "p"), (spearman, "p_rho")):
            check(f"{where}, {name}", of["p"], figures[name], is_probability=True)
        for of, name in ((pearson, "corrected"), (spearman, "corrected_rho")):
            check(f"{where}, {name}", of["corrected_p"], figures[name], is_probability=True)
    return len(wanted)


def write(directory: Path, random: np.random.Generator, parameters: dict, products: dict) -> None:
    """Write the files, in no order."""
    for name, members, all_of in (
        ("metrics.json", ("id", "val"), parameters),
        ("workorder.json", ("product", "production"), products),
    ):
        items = [
            {members[0]: key, members[1]: value, "time": int(at)}
            for key, (times, values) in all_of.items()
            for at, value in zip(times.tolist(), values.tolist(), strict=True)
        ]
        random.shuffle(items)
        (directory / name).write_text(json.dumps(items))


def run(rigline: str, directory: Path, seed: int) -> int:
    """Compare the reports of one data set, and return how many parameters had figures."""
    parameters, products = data(seed)
    directory.mkdir()
    write(directory, np.random.default_rng(seed), parameters, products)
    compared = 0
    for join, joined_by in (("mean", mean), ("interpolated", interpolated)):
        out = directory / join
        done = subprocess.run(
            [
                *(rigline, "report", "correlations", "--join", join),
                *("--max-gap", f"{MAX_GAP:.0f}s"),
                *("--min-pairs", str(MIN_PAIRS), "--out", str(out)),
                *("--metrics", str(directory / "metrics.json")),
                *("--workorders", str(directory / "workorder.json")),
            ],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode in (0, 1), done.stderr
        [report] = out.glob("report_*.json")
        for product in json.loads(report.read_text())["products"]:
            orders, level = products[product["product"]]
            increment = np.diff(level, prepend=np.nan)
            for basis, production in zip(product["bases"], (level, increment), strict=True):
                wanted = {}
                for parameter, (times, values) in parameters.items():
                    if len(times) == 0:
                        continue
                    x = joined_by(times, values, orders)
                    both = ~np.isnan(x) & ~np.isnan(production)
                    figures = expected(x[both], production[both])
                    if figures is not None:
                        wanted[parameter] = figures
                what = f"seed {seed}, {join}, product {product['product']}, {basis['basis']}"
                compared += compare(basis, wanted, what)
    return compared


def main() -> None:
    """Compare many data sets, other ones each day."""
    rigline, *given = sys.argv[1:]
    first = int(given[0]) if given else int(time.time()) // 86_400
    seeds = range(first, first + DATA_SETS)
    with tempfile.TemporaryDirectory() as work:
        compared = sum(run(rigline, Path(work) / str(seed), seed) for seed in seeds)
    assert compared > 20 * len(seeds), f"only {compared} parameters had figures"
    print(f"{compared} comparisons with SciPy in {len(seeds)} data sets, from seed {first} on")


main()
