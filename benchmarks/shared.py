"""What do a hit and a store cost in a cache that processes share?

    python -m benchmarks.shared [--values N] [--rounds N] [--stores N] [--json FILE]

Values of 8 KB, each from a file of its own, read in a new random order in each round, by one process; the cost of the
loop is subtracted. All caches are in /dev/shm, the files in the temporary directory. If a cache is not installed, the
tables say so.
"""

from __future__ import annotations

import argparse
import importlib.util
import itertools
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

import bytecache
from benchmarks.harness.measure import Absent, OtherLoad, interleave, per_call_us, speed, summary
from benchmarks.harness.plot import plot_ranking
from benchmarks.harness.report import Report, Table, main, number, spread
from benchmarks.peers.lmdb_cache import Lmdb, hashed
from benchmarks.peers.shared_caches import CONTENDERS, FILE, OURS, PACKAGES, Read, check, open_filled
from benchmarks.workloads.files import MEMORY, VALUE_BYTES, make_files, scratch

ORDERS = 5  # different ones, used in rotation
STORING = "fill_once(shared=True), a miss"
SHORT = (FILE, OURS, "stocaching, a tensor by its number", "diskcache, get", "py-lmdb, bytes, hashed key")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the numbers of values, rounds and stores."""
    parser.add_argument("--values", type=int, default=10_000, metavar="N", help="of 8 KB (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=21, metavar="N", help="(default: %(default)s)")
    parser.add_argument("--stores", type=int, default=500, metavar="N", help="in each round (default: %(default)s)")


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Return microseconds per hit and per store, [median, low, high], and the ratios to a file and to ours."""
    others = OtherLoad()
    with scratch() as data, scratch(MEMORY) as folder:
        paths = make_files(data, options.values)
        reads, absent = contenders(folder, paths)
        hits = measure_hits(reads, paths, options.rounds)
        stores = measure_stores(folder, options.stores, options.rounds)
    return {"hits": hits, "stores": stores, "absent": absent, "others_busy_cores": others.busy_cores()}


def contenders(folder: Path, paths: list[str]) -> tuple[dict[str, Read], list[str]]:
    """Return the caches that are installed, filled and checked, and those that are absent."""
    reads: dict[str, Read] = {}
    absent: list[str] = []
    for name in CONTENDERS:
        try:
            reads[name] = open_filled(name, folder, paths)
        except Absent:
            absent.append(name)
        else:
            check(name, reads[name], paths[:: max(1, len(paths) // 100)])
    return reads, absent


def loop(read: Read | None, orders: Iterable[list[str]]) -> Callable[[], None]:
    """Return a pass over all paths in the next order; without a function, the bare loop."""
    order = itertools.cycle(orders)

    def run() -> None:
        for path in next(order):
            read(path)  # type: ignore[misc]

    def bare() -> None:
        for _path in next(order):
            pass

    return run if read else bare


def measure_hits(reads: dict[str, Read], paths: list[str], rounds: int) -> dict[str, Any]:
    """Return microseconds per hit, and the ratio to reading a file."""
    rng = np.random.default_rng(1)
    orders = [[paths[i] for i in rng.permutation(len(paths))] for _ in range(ORDERS)]
    us = timed(reads, orders, rounds)
    return {name: {"us": summary(us[name]), "times_file": speed(us, FILE, name)} for name in us}


def timed(reads: dict[str, Read], orders: list[list[str]], rounds: int) -> dict[str, list[float]]:
    """Return microseconds per call, without the cost of the loop."""
    loops = {"": loop(None, orders)} | {name: loop(read, orders) for name, read in reads.items()}
    return per_call_us(interleave(loops, rounds), len(orders[0]))


def measure_stores(folder: Path, count: int, rounds: int) -> dict[str, Any]:
    """Return microseconds to store a value from memory: a whole miss for ours, a put for the others."""
    value, budget = np.random.default_rng(2).bytes(VALUE_BYTES), 2 * VALUE_BYTES * count * (rounds + 1)

    def give(path: str) -> bytes:
        return value

    stores: dict[str, Read] = {
        STORING: bytecache.fill_once(shared=True, maxbytes=budget)(give),
        "fill_once, in one process, a miss": bytecache.fill_once(maxbytes=budget)(give),
    }
    if importlib.util.find_spec("lmdb"):
        lmdb = Lmdb(folder / "put")
        stores["py-lmdb, put and commit"] = lambda path: lmdb.put(hashed(path), value)
    if importlib.util.find_spec("diskcache"):
        import diskcache

        disk = diskcache.Cache(str(folder / "set"), size_limit=2**33)
        stores["diskcache, set"] = lambda path: disk.set(path, value)
    batches = [[f"/data/train/{i:09d}.jpg" for i in range(n * count, (n + 1) * count)] for n in range(rounds + 1)]
    us = timed(stores, batches, rounds)
    return {name: {"us": summary(us[name]), "times_ours": speed(us, STORING, name)} for name in us}


def tables(report: Report) -> Iterator[Table]:
    """Make the tables of hits and stores, the fastest first, and a summary of the hits for the README."""
    values = f"{report['options']['values']:,} values of 8 KB"
    load = f"other processes kept {number(report['others_busy_cores'], 2)} cores busy"
    columns = ("cache", "µs: median (10th to 90th percentile)", "relative to the file")
    absent = [(name, "not installed", "") for name in report["absent"]]
    hits = [*ordered(report["hits"], "times_file"), *absent]
    yield Table("hits", f"Time per hit, {values} ({load})", columns, hits)
    columns = ("cache", "µs: median (10th to 90th percentile)", "relative to ours")
    yield Table("stores", "Time to store 8 KB", columns, ordered(report["stores"], "times_ours"))
    rows = {row[0]: row for row in (*absent, *ordered(report["hits"], "times_file"))}
    columns = ("cache", "µs", "relative to the file")
    yield Table("short", "Time per hit on 8 KB in a shared cache", columns, [rows[name] for name in SHORT])


def ordered(results: dict[str, Any], ratio: str) -> list[tuple[str, str, str]]:
    """Return rows, the fastest first."""
    names = sorted(results, key=lambda name: results[name]["us"])
    return [(name, spread(results[name]["us"]), spread(results[name][ratio])) for name in names]


def plot(report: Report, figure: Any) -> None:
    """Draw the time per hit, the fastest on top."""
    medians = {name: hit["us"][0] for name, hit in sorted(report["hits"].items(), key=lambda item: item[1]["us"])}
    axes = figure.subplots()
    plot_ranking(axes, medians, "microseconds per hit on 8 KB (left is better)", "{:,.2f} µs".format)
    axes.set_title("What does a hit cost in a cache that processes share?")


if __name__ == "__main__":
    main(__doc__, add_arguments, measure, tables, PACKAGES)
