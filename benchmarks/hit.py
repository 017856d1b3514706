"""What does a hit cost with fill_once and lru_cache, compared with functools.lru_cache and other caches?

    python -m benchmarks.hit [--rounds N] [--json FILE]

One str argument, caches large enough for all keys, the cost of the loop subtracted. If a cache is not installed, the
table says so.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from benchmarks.harness.measure import Absent, interleave, per_call_us, speed, summary
from benchmarks.harness.plot import plot_ranking
from benchmarks.harness.report import Report, Table, main, spread
from benchmarks.peers.decorators import BASELINE, DECORATORS, PACKAGES, Read, decorated
from benchmarks.workloads.files import scratch

KEYS = [f"/data/train/{i:06d}.jpg" for i in range(100)]
PASSES = 50


def readers(folder: Path) -> tuple[dict[str, Read], list[str]]:
    """Return the decorated functions, every key read once, and the caches that are absent."""

    def read(path: str) -> str:
        return path

    functions: dict[str, Read] = {}
    absent: list[str] = []
    for name in DECORATORS:
        try:
            function = decorated(name, read, folder)
        except Absent:
            absent.append(name)
        else:
            functions[name] = function
            if [function(key) for key in KEYS] != KEYS:
                raise RuntimeError(f"{name} gave a value that differs from the function's")
    return functions, absent


def loop(function: Read) -> Callable[[], None]:
    """Return a loop of hits."""

    def run() -> None:
        for _ in range(PASSES):
            for key in KEYS:
                function(key)

    return run


def bare_loop() -> None:
    """Run the same loop without a call."""
    for _ in range(PASSES):
        for _key in KEYS:
            pass


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the number of rounds."""
    parser.add_argument("--rounds", type=int, default=41, metavar="N", help="(default: %(default)s)")


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Return nanoseconds per hit, [median, low, high], and the ratio to functools."""
    with scratch() as folder:
        functions, absent = readers(folder)
        loops = {name: loop(function) for name, function in functions.items()}
        seconds = interleave({"": bare_loop} | loops, options.rounds)
    ns = {name: [1000 * us for us in times] for name, times in per_call_us(seconds, PASSES * len(KEYS)).items()}
    hits = {name: {"ns": summary(times), "times_functools": speed(ns, BASELINE, name)} for name, times in ns.items()}
    return {"hits": hits, "absent": absent}


def tables(report: Report) -> Iterator[Table]:
    """Make a table of the caches, the fastest first."""
    ordered = sorted(report["hits"].items(), key=lambda item: item[1]["ns"])
    rows = [(name, spread(hit["ns"]), spread(hit["times_functools"])) for name, hit in ordered]
    rows += [(name, "not installed", "") for name in report["absent"]]
    columns = ("cache", "ns: median (10th to 90th percentile)", "relative to functools")
    yield Table("hits", "Time per hit, one str argument, without the cost of the loop", columns, rows)


def plot(report: Report, figure: Any) -> None:
    """Draw the caches, the fastest on top."""
    medians = {name: hit["ns"][0] for name, hit in sorted(report["hits"].items(), key=lambda item: item[1]["ns"])}
    axes = figure.subplots()
    plot_ranking(axes, medians, "nanoseconds per hit, one str argument (left is better)", "{:,.0f} ns".format)
    axes.set_title("What does a hit in memory cost?")


if __name__ == "__main__":
    main(__doc__, add_arguments, measure, tables, PACKAGES)
