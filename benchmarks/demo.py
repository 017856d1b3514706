"""What did the runs of `make demo` do, the fish-count trainer without a cache, and through each kind of cache?

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

PACKAGES = ("tensorflow-cpu", "keras", "simplejpeg", "pycurl")
RUNS = ("demo/none", "demo/lru", "demo/fill_once", "demo/auto")
NAMES = {"none": "none", "lru": "LRU", "fill_once": "`fill_once`", "auto": "`maxbytes=`"}
PER_EPOCH = ("hit_rate", "misses", "epoch_s", "reading_s", "decoding_s", "model_s")
PER_RUN = ("predicted_hit_rate", "test_mae", "median_mae")
OPTIONS = ("cache", "maxbytes", "latency_ms", "parallel")
COLUMNS = (
    "cache for half the data", "hit rate", "predicted", "reads per epoch", "seconds per epoch", "of LRU's", "reading",
    "decoding", "model", "test MAE", "MAE of the median",
)  # fmt: skip


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
    runs = report["runs"]
    [lru_s] = [run["epoch_s"] for run in runs if run["cache"] == "lru"]
    rows = [
        (
            NAMES[run["cache"]],
            *("-" if run[name] is None else f"{run[name]:.3f}" for name in ("hit_rate", "predicted_hit_rate")),
            f"{run['misses']:.0f}",
            f"{run['epoch_s']:.1f}",
            f"{run['epoch_s'] / lru_s:.2f}",
            *(f"{run[f'{part}_s']:.1f}" for part in ("reading", "decoding", "model")),
            *(f"{run[name]:.3f}" for name in ("test_mae", "median_mae")),
        )
        for run in runs
    ]
    latency_ms, parallel = float(runs[0]["latency_ms"]), int(runs[0]["parallel"])
    storage = f"storage that answers {parallel} requests at a time, each in {latency_ms:g} ms"
    title = (
        f"Means over epochs 2 to {runs[0]['epochs']}, with {storage}: at most {1000 * parallel / latency_ms:g} a second"
    )
    yield Table("runs", title, COLUMNS, rows)


if __name__ == "__main__":
    main(__doc__, add_arguments, measure, tables, PACKAGES)
