"""``compare``: runs over the same data, side by side."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from statistics import mean
from typing import Any

from .errors import UserError
from .report import draw_hit_rates

COLUMNS = "{:<12} {:>9} {:>9} {:>8} {:>9} {:>9} {:>9} {:>10}"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``compare`` to its parser."""
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="folder that train wrote")
    parser.add_argument("--out", type=Path, metavar="FILE", help="draw the hit rates into this PNG file")


def run(args: argparse.Namespace) -> None:
    """Print a table with a line per run, and draw the hit rates."""
    runs = {str(path): load_summary(path) for path in args.runs}
    print("Training reads, means over the epochs after the first:")
    print(COLUMNS.format("cache", "hit rate", "predicted", "misses", "load s", "images/s", "test MAE", "median MAE"))
    for summary in runs.values():
        print(table_line(summary))
    delays = sorted({float(summary["options"]["storage_ms"]) for summary in runs.values()})
    if any(delays):
        delay = " or ".join(f"{delay:g}" for delay in delays)
        print(f"Each read from storage was delayed by {delay} ms, to simulate remote storage.")
    if args.out:
        draw(args.out, {f"{s['options']['cache']} ({path})": s for path, s in runs.items()})
        print(f"Hit rates drawn into {args.out}")


def load_summary(path: Path) -> dict[str, Any]:
    """Return a run's summary. Raises UserError if it is missing or does not have what the table needs."""
    try:
        summary = json.loads((path / "summary.json").read_text(encoding="utf-8"))
        table_line(summary)
        return summary
    except (OSError, ValueError, KeyError, TypeError, IndexError) as error:
        problem = f"{type(error).__name__}: {error}"
        raise UserError(f"{path} must be the folder of a finished run of train ({problem})") from None


def table_line(summary: dict[str, Any]) -> str:
    """Format one line of the table. The first epoch, in which every cache is empty, is left out."""
    later = summary["history"][1:] or summary["history"]
    means = {name: mean(row[name] for row in later) for name in ("hit_rate", "misses", "load_s", "images_per_s")}
    return COLUMNS.format(
        summary["options"]["cache"], f"{means['hit_rate']:.3f}", f"{summary['predicted_hit_rate']:.3f}",
        f"{means['misses']:.0f}", f"{means['load_s']:.1f}", f"{means['images_per_s']:.0f}",
        f"{summary['test_mae']:.3f}", f"{summary['median_mae']:.3f}",
    )  # fmt: skip


def draw(out: Path, runs: dict[str, dict[str, Any]]) -> None:
    """Draw the hit rates of all runs into one PNG file."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(8, 5), layout="constrained")
    draw_hit_rates(axes, runs)
    figure.savefig(out, dpi=110)
    pyplot.close(figure)
