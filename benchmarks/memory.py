"""Does maxbytes bound memory?

    python -m benchmarks.memory [--values N] [--maxbytes SIZE] [--json FILE]

Each cache fills with values of 8 KB from a file, in a process of its own, and is read for three more epochs.
"""

from __future__ import annotations

import argparse
import gc
import multiprocessing
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

import bytecache
from benchmarks.harness.plot import GRID, OUR_COLOR, REFERENCE_COLOR
from benchmarks.harness.report import Report, Table, main

PACKAGES = ("numpy",)
POLICIES = ("fill_once", "lru_cache")
VALUE_BYTES = 8192
EPOCHS = 4


def resident_bytes() -> int:
    """Return the resident memory of this process, shared pages included (Linux)."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def growth(policy: str, values: int, maxbytes: str) -> dict[str, Any]:
    """Return the growth of resident memory over the budget, at the end of each epoch."""
    decorate = getattr(bytecache, policy)
    with tempfile.NamedTemporaryFile() as file:
        file.write(os.urandom(VALUE_BYTES))
        file.flush()

        @decorate(maxsize=None, maxbytes=maxbytes)
        def read(key: str) -> bytes:
            with open(file.name, "rb") as f:
                return f.read()

        read("warm")
        read.cache_clear()
        keys = [f"/data/train/{i:08d}.jpg" for i in range(values)]
        orders = [np.random.default_rng(epoch).permutation(values) for epoch in range(EPOCHS)]
        gc.collect()
        before, growth_bytes = resident_bytes(), []
        for order in orders:
            for i in order:
                read(keys[i])
            growth_bytes.append(resident_bytes() - before)
        stats = read.cache_stats()
    if stats.hits + stats.misses != values * EPOCHS:
        raise RuntimeError(
            f"{policy} must count {values * EPOCHS} reads, it counted {stats.hits} hits and {stats.misses} misses"
        )
    ratios = [nbytes / stats.maxbytes for nbytes in growth_bytes]
    return {"growth": ratios, "entries": stats.currsize, "currbytes": stats.currbytes}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the number of values, and the budget."""
    parser.add_argument("--values", type=int, default=100_000, metavar="N", help="of 8 KB (default: %(default)s)")
    parser.add_argument("--maxbytes", default="400 MB", metavar="SIZE", help="the budget (default: %(default)s)")


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Return the growth with each policy, in a process of its own."""
    with multiprocessing.get_context("spawn").Pool(1, maxtasksperchild=1) as pool:
        jobs = [(policy, options.values, options.maxbytes) for policy in POLICIES]
        return {"policies": dict(zip(POLICIES, pool.starmap(growth, jobs, chunksize=1), strict=True))}


def tables(report: Report) -> Iterator[Table]:
    """Make a table of the growth at the end of each epoch."""
    workload = f"{report['options']['values']:,} values of 8 KB, maxbytes={report['options']['maxbytes']}"
    columns = ("cache", "entries", *(f"epoch {epoch + 1}" for epoch in range(EPOCHS)))
    rows = [
        (policy, f"{result['entries']:,}", *(f"{ratio:.3f}" for ratio in result["growth"]))
        for policy, result in report["policies"].items()
    ]
    yield Table("growth", f"Growth of resident memory / maxbytes, {workload}", columns, rows)


def plot(report: Report, figure: Any) -> None:
    """Draw the growth per epoch, and the budget."""
    axes = figure.subplots()
    epochs = range(1, EPOCHS + 1)
    for (policy, result), mark in zip(report["policies"].items(), "os", strict=True):
        axes.plot(epochs, result["growth"], f"{mark}-", color=OUR_COLOR, label=policy, markersize=9)
        axes.annotate(
            f"{policy}: {result['growth'][-1]:.3f}",
            (EPOCHS, result["growth"][-1]),
            (12, -4),
            textcoords="offset points",
        )
    axes.axhline(1, color=REFERENCE_COLOR)
    axes.annotate("maxbytes", (0.75, 1), (0, -14), textcoords="offset points")
    axes.set(xticks=epochs, xlim=(0.7, EPOCHS + 0.9), ylim=(0.9, max(1.1, axes.get_ylim()[1])))
    axes.set(xlabel="epoch", ylabel="growth of the process's memory / maxbytes (nearer to 1 is better)")
    axes.set_title("Does maxbytes bound memory?")
    axes.grid(axis="y", **GRID)
    axes.spines[["top", "right"]].set_visible(False)


if __name__ == "__main__":
    main(__doc__, add_arguments, measure, tables, PACKAGES)
