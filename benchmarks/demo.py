"""What did the two runs of `make demo` do: the fish-count trainer through an LRU cache and through a fill-once cache?

    python -m benchmarks.demo [--runs DIR ...] [--json FILE]

Reads what `make demo` has written; measures nothing itself.
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
FIGURES = ("hit_rate", "reads", "read_s")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Which runs."""
    parser.add_argument("--runs", nargs="+", default=RUNS, metavar="DIR", help="(default: %(default)s)")


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Means over the epochs after the first, in which every cache is empty."""
    return {"runs": [figures(Path(run) / "summary.json") for run in options.runs]}


def figures(path: Path) -> dict[str, Any]:
    """Of one run."""
    summary = json.loads(path.read_text(encoding="utf-8"))
    later = summary["history"][1:]
    means = {name: mean(epoch[name] for epoch in later) for name in FIGURES}
    kept = ("predicted_hit_rate", "test_mae", "median_mae")
    asked = {name: summary["options"][name] for name in ("cache", "maxbytes", "storage_ms")}
    return {**asked, "epochs": len(summary["history"]), **means, **{name: summary[name] for name in kept}}


def tables(report: Report) -> Iterator[Table]:
    """The runs side by side."""
    first = report["runs"][0]
    columns = (
        "cache of half the data", "hit rate", "predicted", "reads per epoch", "seconds in reads per epoch", "test MAE",
        "MAE of the median",
    )  # fmt: skip
    rows = [
        (
            NAMES[run["cache"]],
            *(f"{run[name]:.3f}" for name in ("hit_rate", "predicted_hit_rate")),
            f"{run['reads']:.0f}",
            f"{run['read_s']:.1f}",
            *(f"{run[name]:.3f}" for name in ("test_mae", "median_mae")),
        )
        for run in report["runs"]
    ]
    title = f"Means over epochs 2 to {first['epochs']}, storage slowed down by {first['storage_ms']} ms per read"
    yield Table("runs", title, columns, rows)


if __name__ == "__main__":
    main(__doc__, add_arguments, measure, tables, PACKAGES)
