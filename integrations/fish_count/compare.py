"""``compare``: runs over the same data side by side."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from statistics import mean
from typing import Any

from .problem import Problem
from .report import draw_hit_rates

COLUMNS = "{:<12} {:>9} {:>9} {:>8} {:>10} {:>9} {:>9} {:>10}"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options of ``compare`` to its parser."""
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="folders that train wrote")
    parser.add_argument("--out", type=Path, metavar="FILE", help="draw the hit rates into this PNG file")


def run(args: argparse.Namespace) -> None:
    """Prints a table of the runs, a line each, and draws their hit rates."""
    runs = {str(path): load(path) for path in args.runs}
    print("Training reads after the first epoch, means over epochs:")
    print(COLUMNS.format("cache", "hit rate", "predicted", "reads", "reading s", "images/s", "test MAE", "median MAE"))
    for summary in runs.values():
        print(line(summary))
    delays = {summary["options"]["storage_ms"] for summary in runs.values()} - {"0", "0.0"}
    if delays:
        print(f"Each read from storage was delayed by {', '.join(sorted(delays))} ms, to stand for remote storage.")
    if args.out:
        draw(args.out, {f"{s['options']['cache']} ({path})": s for path, s in runs.items()})
        print(f"written: {args.out}")


def load(path: Path) -> dict[str, Any]:
    """A run's summary."""
    try:
        summary = json.loads((path / "summary.json").read_text(encoding="utf-8"))
        line(summary)
        return summary
    except (OSError, ValueError, KeyError, TypeError, IndexError) as error:
        raise Problem(f"{path} must be a folder that train has finished writing: {error!r}") from None


def line(summary: dict[str, Any]) -> str:
    """One row of the table. The first epoch, in which every cache is empty, is left out."""
    later = summary["history"][1:] or summary["history"]
    means = {name: mean(row[name] for row in later) for name in ("hit_rate", "reads", "read_s", "images_per_s")}
    return COLUMNS.format(
        summary["options"]["cache"], f"{means['hit_rate']:.3f}", f"{summary['predicted_hit_rate']:.3f}",
        f"{means['reads']:.0f}", f"{means['read_s']:.1f}", f"{means['images_per_s']:.0f}",
        f"{summary['test_mae']:.3f}", f"{summary['median_mae']:.3f}",
    )  # fmt: skip


def draw(out: Path, runs: dict[str, dict[str, Any]]) -> None:
    """The hit rates of all runs in one picture."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(8, 5), layout="constrained")
    draw_hit_rates(axes, runs)
    figure.savefig(out, dpi=110)
    pyplot.close(figure)
