"""How much memory does a shared cache use, on tmpfs and in the processes?

    python -m benchmarks.shared_memory [--values N] [--json FILE]

Values of 8 KB, each from a file of its own. Four workers read all of them twice with a cache that stays empty, and then
with one that stores everything; the sum of their proportional set sizes (PSS) grows by what the cache uses.
"""

from __future__ import annotations

import argparse
import importlib.util
import multiprocessing
from collections.abc import Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np

import bytecache
from benchmarks.harness.disk import disk_bytes
from benchmarks.harness.measure import pss_bytes
from benchmarks.harness.plot import plot_bars
from benchmarks.harness.report import Report, Table, main
from benchmarks.peers.lmdb_cache import Lmdb, hashed
from benchmarks.workloads.files import BUDGET, MEMORY, VALUE_BYTES, make_files, read_file, scratch

PACKAGES = ("numpy", "lmdb", "diskcache")
PEERS = {"py-lmdb": "lmdb", "diskcache": "diskcache"}  # row: package
WORKERS = 4
PATIENCE_S = 600
START_METHODS = ("fork", "spawn")
SHARED = "fill_once(shared=True)"
OWN = "fill_once, a cache in each process"


def disk_ratios(folder: Path, paths: list[str]) -> dict[str, float]:
    """Return the size of the folder of each cache with all values in it, over the payload."""
    store = bytecache.SharedStore(maxbytes=BUDGET)
    read = bytecache.fill_once(store=store)(read_file)
    for path in paths:
        read(path)
    nbytes = {"SharedStore": disk_bytes(store.path)}
    store.close()
    if importlib.util.find_spec("lmdb"):
        lmdb = Lmdb(folder / "lmdb")
        for path in paths:
            lmdb.put(hashed(path), read_file(path))
        nbytes["py-lmdb"] = disk_bytes(folder / "lmdb")
    if importlib.util.find_spec("diskcache"):
        import diskcache

        with diskcache.Cache(str(folder / "diskcache"), size_limit=2**31) as cache:
            for path in paths:
                cache[path] = read_file(path)
            nbytes["diskcache"] = disk_bytes(folder / "diskcache")
    return {name: used / (VALUE_BYTES * len(paths)) for name, used in nbytes.items()}


def work(kind: str, run: str, paths: list[str], ends: Connection) -> None:
    """Run a worker: read everything with a cache that stays empty, then with one that fills; wait after each."""
    options: dict[str, Any] = {"shared": True, "version": run} if kind == SHARED else {}
    empty = bytecache.fill_once(maxsize=0, maxbytes=BUDGET, **options)(read_file)
    filling = bytecache.fill_once(maxbytes=BUDGET, **options)(read_file_again)
    for read in (empty, filling):
        for epoch in range(2):
            for i in np.random.default_rng(epoch).permutation(len(paths)):
                read(paths[i])
        ends.send(read.cache_info().currsize)
        ends.recv()


def read_file_again(path: str) -> bytes:
    """Do the same as read_file, as another function: its values are stored separately."""
    return read_file(path)


def measure_memory(kind: str, start_method: str, paths: list[str]) -> dict[str, Any]:
    """Return the growth of the workers' total PSS from an empty cache to a full one, over the payload."""
    context: Any = multiprocessing.get_context(start_method)
    pipes = [context.Pipe() for _ in range(WORKERS)]
    args = (kind, f"memory, {start_method}", paths)
    workers = [context.Process(target=work, args=(*args, theirs), daemon=True) for _, theirs in pipes]
    for worker in workers:
        worker.start()
    sums, entries = [], []
    for _ in range(2):
        if not all(ours.poll(PATIENCE_S) for ours, _ in pipes):
            raise RuntimeError(f"a worker did not answer within {PATIENCE_S} s")
        entries = [ours.recv() for ours, _ in pipes]
        sums.append(sum(pss_bytes(worker.pid) for worker in workers))
        for ours, _ in pipes:
            ours.send(None)
    for worker in workers:
        worker.join()
    if entries != [len(paths)] * WORKERS:
        raise RuntimeError(f"each of the {WORKERS} workers must see {len(paths)} values, they see {entries}")
    empty, full = sums
    growth = (full - empty) / (VALUE_BYTES * len(paths))
    return {"kind": kind, "start_method": start_method, "empty_bytes": empty, "full_bytes": full, "growth": growth}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the number of values."""
    parser.add_argument("--values", type=int, default=10_000, metavar="N", help="of 8 KB (default: %(default)s)")


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Return what the files and the processes use, over the payload."""
    with scratch() as data, scratch(MEMORY) as folder:
        paths = make_files(data, options.values)
        # Before the other caches are loaded: what a forked worker inherits from its parent counts for both.
        memory = [measure_memory(kind, method, paths) for kind in (SHARED, OWN) for method in START_METHODS]
        disk = disk_ratios(folder, paths)
    return {"processes": memory, "disk": disk, "absent": [name for name in PEERS if name not in disk]}


def tables(report: Report) -> Iterator[Table]:
    """Make the tables of files and of processes, over the payload."""
    values = f"{report['options']['values']:,} values of 8 KB"
    ordered = sorted(report["disk"].items(), key=lambda item: item[1])
    rows = [(name, f"{ratio:.3f}") for name, ratio in ordered]
    rows += [(name, "not installed") for name in report["absent"]]
    columns = ("cache", "size of its folder / payload")
    yield Table("disk", f"Files of a cache with {values}", columns, rows)
    columns = ("cache", "start method", "MiB, cache empty", "MiB, cache full", "growth / payload")
    rows = [
        (
            one["kind"],
            one["start_method"],
            *(f"{one[name] / 2**20:.1f}" for name in ("empty_bytes", "full_bytes")),
            f"{one['growth']:.3f}",
        )
        for one in report["processes"]
    ]
    yield Table("processes", f"Total PSS of {WORKERS} workers, {values}", columns, rows)


def plot(report: Report, figure: Any) -> None:
    """Draw what the processes and the files use, over the payload."""
    upper, lower = figure.subplots(2, 1, height_ratios=(len(report["processes"]), len(report["disk"])))
    processes = {f"{one['kind']}, {one['start_method']}": one["growth"] for one in report["processes"]}
    plot_bars(upper, processes)
    upper.set_title(f"How much memory do {WORKERS} processes use for values that all of them read?")
    plot_bars(lower, dict(sorted(report["disk"].items(), key=lambda item: item[1])))
    lower.set_title("How large is the folder of a shared cache?")
    for axes in (upper, lower):
        axes.set_xlabel("bytes / bytes of the values (left is better)")


if __name__ == "__main__":
    main(__doc__, add_arguments, measure, tables, PACKAGES)
