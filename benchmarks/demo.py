"""What did the two runs of `make demo` do, the fish-count trainer with an LRU cache and with a fill-once cache?

    python -m benchmarks.demo [--runs DIR ...] [--json FILE]

Reads the output of `make demo`; measures nothing itself.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from statistics import mean
from typing import Any

from benchmarks.harness.report import Report, Table, main

PACKAGES = ("tensorflow-cpu", "keras", "simplejpeg")
RUNS = ("demo/lru", "demo/fill_once")
NAMES = {"lru": "LRU", "fill_once": "`fill_once`"}
PER_EPOCH = ("hit_rate", "misses", "load_s")
PER_RUN = ("predicted_hit_rate", "test_mae", "median_mae")
OPTIONS = ("cache", "maxbytes", "storage_ms")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the folders of the runs."""
    parser.add_argument(
        "--runs", nargs="+", default=RUNS, metavar="DIR", help="folders of the runs (default: %(default)s)"
    )


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Return the results of each run."""
    return {"runs": [results(Path(run) / "summary.json") for run in options.runs]}


def results(path: Path) -> dict[str, Any]:
    """Return one run's results, as means over the epochs after the first, in which every cache is empty."""
    summary = json.loads(path.read_text(encoding="utf-8"))
    later = summary["history"][1:]
    means = {name: mean(epoch[name] for epoch in later) for name in PER_EPOCH}
    options = {name: summary["options"][name] for name in OPTIONS}
    return {**options, "epochs": len(summary["history"]), **means, **{name: summary[name] for name in PER_RUN}}


def tables(report: Report) -> Iterator[Table]:
    """Make a table with a row per run."""
    first = report["runs"][0]
    columns = (
        "cache for half the data", "hit rate", "predicted", "reads per epoch", "seconds in reads per epoch", "test MAE",
        "MAE of the median",
    )  # fmt: skip
    rows = [
        (
            NAMES[run["cache"]],
            *(f"{run[name]:.3f}" for name in ("hit_rate", "predicted_hit_rate")),
            f"{run['misses']:.0f}",
            f"{run['load_s']:.1f}",
            *(f"{run[name]:.3f}" for name in ("test_mae", "median_mae")),
        )
        for run in report["runs"]
    ]
    title = f"Means over epochs 2 to {first['epochs']}, with {first['storage_ms']} ms added to each read"
    yield Table("runs", title, columns, rows)


if __name__ == "__main__":
    main(__doc__, add_arguments, measure, tables, PACKAGES)
