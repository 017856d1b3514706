"""What is the hit rate of each cache, in each order in which training reads its data?

    python -m benchmarks.hit_rate [--items N] [--epochs N] [--seed S] [--json FILE]

The real caches replay seeded traces, and one recorded from a DataLoader, at 20, 50 and 80 % of the data; above them
is Belady's algorithm, which knows the future, below them no cache. The first epoch, which only fills, does not count.
"""

from __future__ import annotations

import argparse
import math
import multiprocessing
import os
import textwrap
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from typing import Any

import bytecache
from benchmarks.harness.plot import OUR_COLOR, REFERENCE_COLOR, is_ours
from benchmarks.harness.rates import BOUND, NO_CACHE, UNLIMITED, Cell, grid, percent, rank
from benchmarks.harness.report import Report, Table, main
from benchmarks.peers.policies import CONTENDERS, DISKCACHE_ITEMS, PACKAGES
from benchmarks.runs.replay import bounds, outcome, real, simulated
from benchmarks.workloads.traces import Trace, recorded, synthetic

FRACTIONS = (0.2, 0.5, 0.8)
HALF = "0.5"
BELADY = "Belady (may refuse)"
PREDICTED = {  # policy: the row with its measurement
    "belady_bypass": BELADY,
    "fill_once": "fill_once",
    "random": "random (simulated)",
    "fifo": "FIFO (simulated)",
    "lru": "lru_cache",
    "none": NO_CACHE,
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the size of the traces."""
    parser.add_argument("--items", type=int, default=10_000, metavar="N", help="(default: %(default)s)")
    parser.add_argument("--epochs", type=int, default=5, metavar="N", help="two or more (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, metavar="S", help="(default: %(default)s)")


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Return the result of each contender on each trace at each fraction, the bounds, and the predictions."""
    pairs = list(zip(_all_traces(options.items, options), _all_traces(_fewer(options.items), options), strict=True))
    context = multiprocessing.get_context("spawn")  # not fork: theine and torch have threads
    with ProcessPoolExecutor(min(os.cpu_count() or 1, 8), context) as pool:
        tasks = {
            (trace.name, fraction): pool.submit(_runs, trace, short, fraction, options.seed)
            for trace, short in pairs
            for fraction in FRACTIONS
        }
        measured = {
            trace.name: {
                "title": trace.title,
                "once": trace.once,
                "equal": trace.sizes is None,
                "caches": trace.caches,
                "bounds": {str(fraction): bounds(trace, fraction) for fraction in FRACTIONS},
                "runs": {str(fraction): tasks[trace.name, fraction].result() for fraction in FRACTIONS},
            }
            for trace, _ in pairs
        }
    predicted = {
        policy: {str(fraction): bytecache.predict_hit_rate(policy, fraction) for fraction in FRACTIONS}
        for policy in PREDICTED
    }
    absent = [contender.name for contender in CONTENDERS if not contender.installed]
    return {"traces": measured, "predicted": predicted, "absent": absent}


def _fewer(items: int) -> int:
    return min(items, DISKCACHE_ITEMS)


def _all_traces(items: int, options: argparse.Namespace) -> list[Trace]:
    return [*synthetic(items, options.epochs, options.seed), *recorded(items, options.epochs, options.seed)]


def _runs(trace: Trace, short: Trace, fraction: float, seed: int) -> dict[str, Any]:
    """Run every contender on the trace, or on the short one if the trace is too long; the row's name then says so."""
    runs = {
        name: {"kind": "simulated", "counts": "bytes", **outcome(trace, hit, fraction)}
        for name, hit in simulated(trace, fraction, seed)
    }
    for contender in CONTENDERS:
        if contender.installed and contender.suits(trace):
            run_on = short if contender.max_items is not None else trace
            name = contender.name if run_on.items == trace.items else f"{contender.name} ({run_on.items:,} items)"
            runs[name] = {
                "kind": "real" if contender.bounded else UNLIMITED,
                "counts": contender.counts,
                **outcome(run_on, real(contender, run_on, fraction, seed), fraction),
            }
    return runs


def tables(report: Report) -> Iterator[Table]:
    """Make the tables that their titles describe."""
    items, epochs = report["options"]["items"], report["options"]["epochs"]
    fractions, counted = list(map(str, FRACTIONS)), f"epochs 2 to {epochs}"
    columns = [f"cache of {percent(fraction)}" for fraction in fractions]
    yield _short(report)
    title = f"Hit rate, {items:,} items of equal size, each read once per epoch in a new shuffle, {counted}"
    cells = [Cell("shuffle", fraction) for fraction in fractions]
    cells += [Cell("shuffle", HALF, epoch=epoch) for epoch in (0, epochs - 2)]
    by_epoch = [f"cache of 50 %, epoch {epoch}" for epoch in (2, epochs)]
    yield _contenders(report, "equal", title, [*columns, *by_epoch], cells)
    yield _patterns(report)
    title = f"Hit rate, a cache for half of the data, {counted} (*: limited in entries; –: no bound, or not run)"
    traces = list(report["traces"])
    yield _contenders(report, "traces", title, traces, [Cell(trace, HALF) for trace in traces])
    title = f"Byte hit rate, unequal sizes, {counted} (*: limited in entries)"
    cells = [Cell("unequal sizes", fraction, "byte_hit_rate") for fraction in fractions]
    yield _contenders(report, "bytes", title, columns, cells)
    yield _behind(report)
    yield _predicted(report)
    yield _checks(report)


def _contenders(report: Report, name: str, title: str, columns: Iterable[str], cells: list[Cell]) -> Table:
    absent = [(contender, "not installed", *[""] * (len(cells) - 1)) for contender in report["absent"]]
    return Table(name, title, ("cache", *columns), [*grid(report, cells), *absent])


def _short(report: Report) -> Table:
    names = (BOUND, "fill_once", "lru_cache", "functools.lru_cache")
    rows = []
    for fraction in map(str, FRACTIONS):
        bound, ours, *others = (Cell("shuffle", fraction).text(report, name) for name in names)
        rows.append((percent(fraction), bound, f"**{ours}**", *others))
    title = f"Hit rate, {report['options']['items']:,} items of equal size, in a new shuffle every epoch"
    return Table("short", title, ("cache / data", BOUND, *(f"`{name}`" for name in names[1:])), rows)


def _patterns(report: Report) -> Table:
    rows = [(name, trace["title"]) for name, trace in report["traces"].items()]
    if "recorded" not in report["traces"]:
        rows.append(("recorded", "not run: torch is not installed"))
    return Table("patterns", "Orders of reading", ("name", "order"), rows)


def _behind(report: Report) -> Table:
    """Compare on the traces where others may beat fill_once; if sizes differ, without limits in entries."""
    rows = []
    for name, trace in report["traces"].items():
        if trace["once"] and trace["equal"] and trace["caches"] == 1:
            continue
        for metric in ("hit_rate",) if trace["equal"] else ("hit_rate", "byte_hit_rate"):
            label = f"{name}, in bytes" if metric == "byte_hit_rate" else name
            for fraction, runs in trace["runs"].items():
                rates = {
                    contender: run[metric]
                    for contender, run in runs.items()
                    if run["kind"] == "real" and (trace["equal"] or run["counts"] == "bytes")
                }
                behind = round(runs[BELADY][metric] - rates["fill_once"], 3) + 0.0  # no negative zero
                bound, belady, ours = (
                    Cell(name, fraction, metric).text(report, n) for n in (BOUND, BELADY, "fill_once")
                )
                best = (_best(rates, of_ours) for of_ours in (True, False))
                rows.append((label, percent(fraction), bound, belady, ours, f"{behind:.3f}", *best))
    columns = ("", "cache / data", BOUND, BELADY, "fill_once", "behind Belady", "best of bytecache", "best peer")
    title = "Where a cache may beat fill_once: unequal sizes, several reads per epoch, or several caches"
    return Table("behind", title, columns, rows)


def _best(rates: dict[str, float], of_ours: bool) -> str:
    group = {name: rate for name, rate in rates.items() if is_ours(name) == of_ours}
    best = max(group, key=group.__getitem__, default=None)
    return "–" if best is None else f"{group[best]:.3f}, {best}"


def _predicted(report: Report) -> Table:
    columns = [text for fraction in map(str, FRACTIONS) for text in (f"{percent(fraction)}: predicted", "measured")]
    rows = []
    for policy, row in PREDICTED.items():
        rates = report["predicted"][policy]
        pairs = [(f"{rate:.3f}", Cell("shuffle", fraction).text(report, row)) for fraction, rate in rates.items()]
        rows.append((row, *(text for pair in pairs for text in pair)))
    title = "`predict_hit_rate` compared with measurements, a new shuffle every epoch"
    return Table("predicted", title, ("policy", *columns), rows)


def _checks(report: Report) -> Table:
    """Check what must be true if all items are of equal size and read once per epoch."""
    rows = []
    for name, trace in report["traces"].items():
        if not (trace["once"] and trace["equal"]):
            continue
        limited = [run for runs in trace["runs"].values() for run in runs.values() if run["kind"] != UNLIMITED]
        above = max(run["most_hits"] - run["capacity"] for run in limited)
        apart = max(
            abs(ours - belady)
            for runs in trace["runs"].values()
            for ours, belady in zip(runs["fill_once"]["hits"], runs[BELADY]["hits"], strict=True)
        )
        rows.append((name, f"{above}", str(apart) if trace["caches"] == 1 else "–"))
    columns = ("", "most hits of any cache - its capacity", "largest difference between fill_once and Belady")
    title = "Hits per epoch, items of equal size, each read once per epoch, all three cache sizes"
    return Table("checks", title, columns, rows)


def plot(report: Report, figure: Any) -> None:
    """Draw a heat map of hit rates, contenders by orders of reading, shaded relative to Belady."""
    traces = list(report["traces"])
    cells = [Cell(trace, HALF) for trace in traces]
    rows = [row for row in grid(report, cells) if rank(report, row[0]) < 4]
    shades = [[_relative_to_belady(report, cell, name.split(", ")[0]) for cell in cells] for name, *_ in rows]
    axes = figure.subplots()
    axes.imshow(shades, cmap="Blues", vmin=0, vmax=1.3, aspect="auto")
    for y, row in enumerate(rows):
        for x, text in enumerate(row[1:]):
            color = "white" if shades[y][x] > 0.8 else REFERENCE_COLOR
            axes.text(x, y, text, ha="center", va="center", fontsize=8, color=color)
    axes.set_yticks(range(len(rows)), [textwrap.fill(row[0], 44) for row in rows], fontsize=8)
    for tick, row in zip(axes.get_yticklabels(), rows, strict=True):
        tick.set_color(OUR_COLOR if is_ours(row[0]) else REFERENCE_COLOR)
    axes.set_xticks(range(len(traces)), [textwrap.fill(trace, 11) for trace in traces], fontsize=8)
    axes.xaxis.tick_top()
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    axes.set_xlabel(
        "higher is better; the darker, the closer to Belady, which knows the future\n"
        "*: limited in entries, not bytes      –: no bound, or not run",
        fontsize=8,
    )
    figure.suptitle("What is the hit rate of each cache, with a budget of half of the data?")


def _relative_to_belady(report: Report, cell: Cell, name: str) -> float:
    rate = cell.of(report, name)
    return math.nan if rate is None else min(1.0, rate / (cell.of(report, BELADY) or 1.0))


if __name__ == "__main__":
    main(__doc__ or "", add_arguments, measure, tables, PACKAGES)
