"""What do 10,000 to 10,000,000 entries cost: overhead in bytes, time per hit and per store, time to open?

    python -m benchmarks.scale [--entries N ...] [--full] [--rounds N] [--json FILE]

Values of 64 bytes under paths, each cache of each size in a process of its own. Hits come in random order, with the
cost of the loop subtracted; the sizes of one cache alternate. Overhead is everything but the 64 bytes and the list of
paths, which the user has in any case: the rest of the process's memory, and the cache's files.
"""

from __future__ import annotations

import argparse
import importlib.util
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from math import log10
from pathlib import Path
from typing import Any

from benchmarks.harness.line_plot import plot_lines
from benchmarks.harness.measure import Summary, summary
from benchmarks.harness.report import Report, Table, main, number, spread
from benchmarks.harness.worker import Process, ask_in_rounds
from benchmarks.peers.entry_caches import CONTENDERS
from benchmarks.runs.holders import cache_process, open_ms
from benchmarks.workloads.files import MEMORY, scratch

ENTRIES = (10_000, 100_000, 1_000_000)
FULL = 10_000_000
PACKAGES = ("numpy", "lmdb", "diskcache")
AIMS = {
    "fill_once": {"bytes": 250, "growth": 2},
    "lru_cache": {"bytes": 250, "growth": 2},
    "SharedStore": {"bytes": 100, "growth": 2},
}


def measure_one(name: str, sizes: list[int], rounds: int) -> dict[str, Any]:
    """Measure one cache at each size, and the growth of its time per hit from the first size to each."""
    persistent, opened = CONTENDERS[name].persistent, {}
    with scratch(MEMORY) as base:
        folders = {size: base / str(size) for size in sizes}
        with ExitStack() as running:
            processes = {}
            for size, folder in folders.items():
                folder.mkdir()
                processes[size] = running.enter_context(Process(cache_process, name, size, folder))
            filled = {size: process.ask("fill") for size, process in processes.items()}
            hit_pairs = ask_in_rounds(processes, ["hit"], rounds)["hit"]
            ns = {size: without_loop(pairs) for size, pairs in hit_pairs.items()}
            if persistent:
                opened["already open elsewhere"] = open_all(name, folders)
        if persistent:
            opened["opened first"] = open_all(name, folders)
    growth = {size: summary(n / one for n, one in zip(ns[size], ns[sizes[0]], strict=True)) for size in sizes}
    hits = {size: summary(times) for size, times in ns.items()}
    return {"filled": filled, "hit_ns": hits, "growth": growth, "open_ms": opened}


def open_all(name: str, folders: Mapping[int, Path]) -> dict[int, Summary]:
    """Return the milliseconds to open a cache at each size."""
    return {size: open_ms(name, size, folder) for size, folder in folders.items()}


def without_loop(rounds: list[tuple[float, float]]) -> list[float]:
    """Return the time per hit less the median of the bare loop, which is too short for one round's to be exact."""
    loop = summary(bare for _, bare in rounds).median
    return [hits - loop for hits, _ in rounds]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the numbers of entries and of rounds."""
    parser.add_argument("--entries", type=int, nargs="+", default=ENTRIES, metavar="N", help="(default: %(default)s)")
    parser.add_argument("--full", action="store_true", help=f"also {FULL:,} entries, which takes minutes and 10 GB")
    parser.add_argument("--rounds", type=int, default=5, metavar="N", help="(default: %(default)s)")


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Measure each cache that is installed."""
    sizes = sorted({*options.entries, *([FULL] if options.full else [])})
    caches, absent = {}, []
    for name, contender in CONTENDERS.items():
        possible = [size for size in sizes if size <= contender.max_entries]
        if not importlib.util.find_spec(contender.package):
            absent.append(name)
        elif possible:
            caches[name] = measure_one(name, possible, options.rounds)
    return {"sizes": sizes, "caches": caches, "absent": absent}


def last(by_size: Mapping[str, Any]) -> Any:
    """Return the value at the largest size."""
    return by_size[max(by_size, key=int)]


def aim(name: str, metric: str, value: float) -> str:
    """Return the goal for a metric, and whether it was met; empty if there is none."""
    limit = AIMS.get(name, {}).get(metric)
    return "" if limit is None else f"below {limit}: {'met' if value < limit else 'missed'}"


Rows = Mapping[str, Mapping[str, Any]]  # by the row's name, values by size; in JSON sizes are text


def table(
    report: Report, name: str, title: str, rows: Rows, text: Callable[[Any], str], **more: Mapping[str, str]
) -> Table:
    """Return a row per cache and a column per size. more: further columns, each with its cells by row."""
    sizes = report["sizes"]
    cells = [
        [
            row,
            *(text(by_size[str(size)]) if str(size) in by_size else "not measured" for size in sizes),
            *(column[row] for column in more.values()),
        ]
        for row, by_size in rows.items()
    ]
    cells += [[absent, *["not installed"] * len(sizes), *[""] * len(more)] for absent in report["absent"]]
    return Table(name, title, ["cache", *(f"{size:,}" for size in sizes), *more], cells)


def tables(report: Report) -> Iterator[Table]:
    """Make the tables of overhead, hits, stores and openings."""
    caches = report["caches"]
    filled = {name: cache["filled"] for name, cache in caches.items()}
    hits = {name: cache["hit_ns"] for name, cache in caches.items()}
    growths = {name: last(cache["growth"]) for name, cache in caches.items()}
    opened = {f"{name}, {when}": ms for name, cache in caches.items() for when, ms in cache["open_ms"].items()}
    title = "Overhead in bytes per entry, without the value of 64 bytes and the user's own list of paths"
    aims = {name: aim(name, "bytes", last(by_size)["overhead"]) for name, by_size in filled.items()}
    yield table(report, "overhead", title, filled, lambda one: number(one["overhead"]), aim=aims)
    title = "Nanoseconds per hit in random order; growth: from the fewest entries to the most, within the same round"
    aims = {name: aim(name, "growth", growth[0]) for name, growth in growths.items()}
    times = {name: spread(growth) for name, growth in growths.items()}
    yield table(report, "hit", title, hits, spread, growth=times, aim=aims)
    title = (
        "Microseconds per stored value, a whole miss without the function's own time: median over chunks of 1,000, and "
        "the mean at the most entries"
    )
    means = {name: number(last(by_size)["mean_us"]) for name, by_size in filled.items()}
    yield table(report, "store", title, filled, lambda one: spread(one["us"]), mean=means)
    title = "Milliseconds for a fresh process to open an existing cache and get its first value"
    yield table(report, "open", title, opened, spread)


def plot(report: Report, figure: Any) -> None:
    """Draw the time per hit and the bytes per entry, over the number of entries."""
    figure.set_size_inches(13, 5.5)
    figure.suptitle("Does a cache get slower, or larger per entry, with many entries?")
    hits, overheads = figure.subplots(1, 2)
    caches, sizes = report["caches"], report["sizes"]
    ns = {name: {int(size): one[0] for size, one in cache["hit_ns"].items()} for name, cache in caches.items()}
    nbytes = {
        name: {int(size): one["overhead"] for size, one in cache["filled"].items()} for name, cache in caches.items()
    }
    slopes = {name: slope(last(cache["growth"])[0], max(ns[name]) / sizes[0]) for name, cache in caches.items()}
    plot_lines(hits, ns, slopes)
    plot_lines(overheads, nbytes, {name: f"{by_size[max(by_size)]:,.0f} bytes" for name, by_size in nbytes.items()})
    hits.set(
        title=f"time; labels: growth from {sizes[0]:,} entries, and slope",
        xlabel="entries",
        ylabel="nanoseconds per hit in random order (lower is better)",
    )
    overheads.set(title="memory", xlabel="entries", ylabel="bytes of overhead per entry (lower is better)")


def slope(time_ratio: float, size_ratio: float) -> str:
    """Return the growth of the time as text, and its slope on logarithmic axes; empty if there is one size."""
    return f"×{time_ratio:.1f}, slope {log10(time_ratio) / log10(size_ratio):.2f}" if size_ratio > 1 else ""


if __name__ == "__main__":
    main(__doc__, add_arguments, measure, tables, PACKAGES)
