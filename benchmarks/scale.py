"""What do 10,000 to 10,000,000 entries cost: bytes beside the values, time per hit and per store, time to open?

    python -m benchmarks.scale [--entries N ...] [--full] [--rounds N] [--json FILE]

Values of 64 bytes under paths, each cache of each size in a process of its own. Hits come in random order, with the
loop around them taken off; the sizes of one cache take turns. What the user has in any case, a list of the paths, and
the 64 bytes do not count as overhead; all else does: the rest of the process's memory, and the cache's files.
"""

from __future__ import annotations

import argparse
import importlib.util
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from math import log10
from typing import Any

from benchmarks.harness.line_plot import plot_lines
from benchmarks.harness.measure import summary
from benchmarks.harness.report import Report, Table, main, number, spread
from benchmarks.harness.worker import Process, in_turn
from benchmarks.peers.entry_caches import CONTENDERS
from benchmarks.runs.holders import holder, open_ms
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
    """All figures of one cache: per size, and how its hits' time grows from the first size to each."""
    kept, opened = CONTENDERS[name].kept, {}
    with scratch(MEMORY) as base:
        folders = {size: base / str(size) for size in sizes}
        with ExitStack() as running:
            holders = {}
            for size, folder in folders.items():
                folder.mkdir()
                holders[size] = running.enter_context(Process(holder, name, size, folder))
            filled = {size: process.ask("fill") for size, process in holders.items()}
            ns = {size: without_loop(pairs) for size, pairs in in_turn(holders, ["hit"], rounds)["hit"].items()}
            if kept:
                opened["beside another"] = {size: open_ms(name, size, folder) for size, folder in folders.items()}
        if kept:
            opened["the first"] = {size: open_ms(name, size, folder) for size, folder in folders.items()}
    growth = {size: summary(n / one for n, one in zip(ns[size], ns[sizes[0]], strict=True)) for size in sizes}
    hits = {size: summary(times) for size, times in ns.items()}
    return {"filled": filled, "hit_ns": hits, "growth": growth, "open_ms": opened}


def without_loop(rounds: list[tuple[float, float]]) -> list[float]:
    """The hits' time less the bare loop's, which is short, so that its median counts."""
    loop = summary(bare for _, bare in rounds).median
    return [hits - loop for hits, _ in rounds]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """How many entries, and how often to measure."""
    parser.add_argument("--entries", type=int, nargs="+", default=ENTRIES, metavar="N", help="(default: %(default)s)")
    parser.add_argument("--full", action="store_true", help=f"{FULL:,} entries too, which takes minutes and 10 GB")
    parser.add_argument("--rounds", type=int, default=5, metavar="N", help="(default: %(default)s)")


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """The figures of each cache that is here."""
    sizes = sorted({*options.entries, *([FULL] if options.full else [])})
    found, absent = {}, []
    for name, contender in CONTENDERS.items():
        possible = [size for size in sizes if size <= contender.most]
        if not importlib.util.find_spec(contender.package):
            absent.append(name)
        elif possible:
            found[name] = measure_one(name, possible, options.rounds)
    return {"sizes": sizes, "caches": found, "absent": absent}


def last(figures: Mapping[str, Any]) -> Any:
    """That of the largest size."""
    return figures[max(figures, key=int)]


def aim(name: str, what: str, figure: float) -> str:
    """What was to be reached, and whether it was."""
    most = AIMS.get(name, {}).get(what)
    return "" if most is None else f"below {most}: {'met' if figure < most else 'missed'}"


Rows = Mapping[str, Mapping[str, Any]]  # figures by size, of which JSON has the sizes as text, by the row's name


def table(
    report: Report, name: str, title: str, rows: Rows, text: Callable[[Any], str], **more: Mapping[str, str]
) -> Table:
    """A row per cache, a column per size, and more columns: by their names the cells of each row."""
    sizes = report["sizes"]
    cells = [
        [
            row,
            *(text(figures[str(size)]) if str(size) in figures else "not measured" for size in sizes),
            *(column[row] for column in more.values()),
        ]
        for row, figures in rows.items()
    ]
    cells += [[absent, *["not installed"] * len(sizes), *[""] * len(more)] for absent in report["absent"]]
    return Table(name, title, ["cache", *(f"{size:,}" for size in sizes), *more], cells)


def tables(report: Report) -> Iterator[Table]:
    """Bytes, hits, stores, openings."""
    caches = report["caches"]
    filled = {name: cache["filled"] for name, cache in caches.items()}
    hits = {name: cache["hit_ns"] for name, cache in caches.items()}
    growths = {name: last(cache["growth"]) for name, cache in caches.items()}
    opened = {f"{name}, {who}": ms for name, cache in caches.items() for who, ms in cache["open_ms"].items()}
    title = "Bytes per entry, beside the value of 64 bytes and the user's own list of paths"
    aims = {name: aim(name, "bytes", last(figures)["overhead"]) for name, figures in filled.items()}
    yield table(report, "overhead", title, filled, lambda one: number(one["overhead"]), aim=aims)
    title = "Nanoseconds per hit in random order; growth: from the fewest entries to the most, of the same rounds"
    aims = {name: aim(name, "growth", growth[0]) for name, growth in growths.items()}
    times = {name: spread(growth) for name, growth in growths.items()}
    yield table(report, "hit", title, hits, spread, growth=times, aim=aims)
    title = (
        "Microseconds per value stored, a whole miss without the function's own time; of 1,000 at a time, and the mean "
        "at the most entries"
    )
    means = {name: number(last(figures)["mean_us"]) for name, figures in filled.items()}
    yield table(report, "store", title, filled, lambda one: spread(one["us"]), mean=means)
    title = "Milliseconds until a fresh process has opened a cache that is there, and has its first value"
    yield table(report, "open", title, opened, spread)


def plot(report: Report, figure: Any) -> None:
    """Time per hit and bytes per entry, over entries."""
    figure.set_size_inches(13, 5.5)
    figure.suptitle("Does a cache get slow, or fat, when its entries are many?")
    hits, overheads = figure.subplots(1, 2)
    caches, sizes = report["caches"], report["sizes"]
    ns = {name: {int(size): one[0] for size, one in cache["hit_ns"].items()} for name, cache in caches.items()}
    nbytes = {
        name: {int(size): one["overhead"] for size, one in cache["filled"].items()} for name, cache in caches.items()
    }
    slopes = {name: slope(last(cache["growth"])[0], max(ns[name]) / sizes[0]) for name, cache in caches.items()}
    plot_lines(hits, ns, slopes)
    plot_lines(overheads, nbytes, {name: f"{of_size[max(of_size)]:,.0f} bytes" for name, of_size in nbytes.items()})
    hits.set(
        title=f"time, as a multiple of that at {sizes[0]:,}, and slope",
        xlabel="entries",
        ylabel="nanoseconds per hit in random order (lower is better)",
    )
    overheads.set(title="memory", xlabel="entries", ylabel="bytes per entry beside value and path (lower is better)")


def slope(times: float, entries: float) -> str:
    """How many times as long it takes with so many times the entries, and what slope that is on logarithmic axes."""
    return f"×{times:.1f}, slope {log10(times) / log10(entries):.2f}" if entries > 1 else ""


if __name__ == "__main__":
    main(__doc__, add_arguments, measure, tables, PACKAGES)
