"""``compare``: runs over the same data, side by side."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from statistics import mean
from typing import Any

from .errors import UserError
from .report import draw_hit_rates
from .requirements import require

COLUMNS = ("cache", "delay ms", "hit rate", "predicted", "misses", "load s", "images/s", "test MAE", "median MAE")


def run(args: argparse.Namespace) -> None:
    """Print a table with a line per run, and draw the hit rates."""
    if args.out:
        check_plot(args.out)
    runs = {str(path): load_summary(path) for path in args.runs}
    width = max(len("run"), *map(len, runs))
    print("Training reads, means over the epochs after the first; delay: added to each read from storage")
    print(format_line("run", COLUMNS, width))
    for name, summary in runs.items():
        print(format_line(name, cells(summary), width))
    if args.out:
        draw(args.out, runs)
        print(f"Hit rates drawn into {args.out}")


def check_plot(path: Path) -> None:
    """Raise UserError if a plot cannot be drawn into this file."""
    require("matplotlib")
    if path.suffix.lower() != ".png" or not path.parent.is_dir():
        raise UserError(f"--out must be a .png file in a folder that exists, got {path}")


def load_summary(path: Path) -> dict[str, Any]:
    """Return a run's summary. Raises UserError if it is missing or does not have what the table needs."""
    try:
        summary = json.loads((path / "summary.json").read_text(encoding="utf-8"))
        cells(summary)
        return summary
    except (OSError, ValueError, KeyError, TypeError, IndexError) as error:
        problem = f"{type(error).__name__}: {error}"
        raise UserError(f"{path} must be the folder of a finished run of train or train_torch ({problem})") from None


def cells(summary: dict[str, Any]) -> list[str]:
    """Return a run's cells of the table, without the first epoch, which fills the cache; "-" if there is no other."""
    options, later = summary["options"], summary["history"][1:]
    means = {
        name: mean(row[name] for row in later) for name in ("hit_rate", "misses", "load_s", "images_per_s") if later
    }
    measured = [
        f"{means['hit_rate']:.3f}", f"{summary['predicted_hit_rate']:.3f}", f"{means['misses']:.0f}",
        f"{means['load_s']:.1f}", f"{means['images_per_s']:.0f}",
    ] if later else ["-"] * 5  # fmt: skip
    errors = [f"{summary['test_mae']:.3f}", f"{summary['median_mae']:.3f}"]
    return [options["cache"], f"{float(options['storage_ms']):g}", *measured, *errors]


def format_line(name: str, cells: Sequence[str], width: int) -> str:
    """Return a line of the table; `width` is that of the names."""
    cache, *numbers = cells
    return "  ".join([f"{name:<{width}}", f"{cache:<9}", *(f"{number:>9}" for number in numbers)])


def draw(out: Path, runs: dict[str, dict[str, Any]]) -> None:
    """Draw the hit rates of all runs into one PNG file."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(9, 5.5), layout="constrained")
    draw_hit_rates(axes, runs)
    figure.savefig(out, dpi=110)
    pyplot.close(figure)
