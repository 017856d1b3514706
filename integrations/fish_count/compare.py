"""``compare``: runs over the same data, side by side."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Sequence
from pathlib import Path
from statistics import mean
from typing import Any

from .errors import UserError
from .report import draw_hit_rates, legend_below, storage_of
from .requirements import require
from .seconds import PARTS

COLUMNS = ("cache", "hit rate", "predicted", "reads", "epoch s", *PARTS, "test MAE", "median MAE")
MEANS = ("hit_rate", "misses", "epoch_s", *(f"{part}_s" for part in PARTS))
PART_COLORS = {"reading": "#d1495b", "decoding": "#edae49", "model": "#66a182"}


def run(args: argparse.Namespace) -> None:
    """Print a table with a line per run, and draw hit rates and seconds."""
    if args.out:
        check_plot(args.out)
    runs = {str(path): load_summary(path) for path in args.runs}
    width = max(len("run"), *map(len, runs))
    print(f"Means over the epochs after the first; training part; {storages(runs)}")
    print(format_line("run", COLUMNS, width))
    for name, summary in runs.items():
        print(format_line(name, cells(summary), width))
    for part, meaning in PARTS.items():
        print(f"  {part}: {meaning}")
    print(f"The losses of all epochs {'are the same in all runs' if same_losses(runs) else 'differ between the runs'}")
    if args.out:
        draw(args.out, runs)
        print(f"Drawn into {args.out}")


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
        storage_of(summary)
        return summary
    except (OSError, ValueError, KeyError, TypeError, IndexError) as error:
        problem = f"{type(error).__name__}: {error}"
        raise UserError(f"{path} must be the folder of a finished run of train or train_torch ({problem})") from None


def means(summary: dict[str, Any]) -> dict[str, float]:
    """Return a run's means over the epochs after the first, which fills the cache; nothing if there is no other."""
    later = summary["history"][1:]
    return {name: mean(row[name] for row in later) for name in MEANS if later}


def cells(summary: dict[str, Any]) -> list[str]:
    """Return a run's cells of the table; "-" for means over no epoch."""
    measured = [f"{value:.3f}" if name == "hit_rate" else f"{value:.1f}" for name, value in means(summary).items()]
    hit_rate, *others = measured or ["-"] * len(MEANS)
    rate = summary["predicted_hit_rate"]
    predicted = f"{rate:.3f}" if measured and rate is not None else "-"
    errors = [f"{summary['test_mae']:.3f}", f"{summary['median_mae']:.3f}"]
    return [summary["options"]["cache"], hit_rate, predicted, *others, *errors]


def format_line(name: str, cells: Sequence[str], width: int) -> str:
    """Return a line of the table; `width` is that of the names."""
    cache, *numbers = cells
    return "  ".join([f"{name:<{width}}", f"{cache:<9}", *(f"{number:>9}" for number in numbers)])


def storages(runs: dict[str, dict[str, Any]]) -> str:
    """Say what storage the runs read from: one, or several."""
    notes = {storage_of(summary) or "from a folder" for summary in runs.values()}
    return f"read {' or '.join(sorted(notes))}"


def same_losses(runs: dict[str, dict[str, Any]]) -> bool:
    """Return whether all runs trained alike, to the last bit."""
    first, *others = ([row["loss"] for row in summary["history"]] for summary in runs.values())
    return all(losses == first for losses in others)


def draw(out: Path, runs: dict[str, dict[str, Any]]) -> None:
    """Draw the epochs' seconds, where they went, and the hit rates of all runs into one PNG file."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, (epochs, parts, hits) = pyplot.subplots(1, 3, figsize=(16, 5.6), layout="constrained")
    figure.suptitle(f"Training on the same images in the same order, {storages(runs)}")
    runs = dict(zip(short_names(list(runs)), runs.values(), strict=True))
    draw_epochs(epochs, runs)
    draw_parts(parts, runs)
    draw_hit_rates(hits, runs)
    figure.savefig(out, dpi=110)
    pyplot.close(figure)


def draw_epochs(axes: Any, runs: dict[str, dict[str, Any]]) -> None:
    """Draw a line per run: the seconds of each epoch's training part."""
    for name, summary in runs.items():
        history = summary["history"]
        axes.plot([row["epoch"] + 1 for row in history], [row["epoch_s"] for row in history], "o-", label=name)
    axes.set(title="Seconds per epoch, validation apart", xlabel="epoch (the first one fills the cache)", ylabel="s")
    axes.set_ylim(bottom=0)
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.grid(color="#eeeeee")
    legend_below(axes)


def draw_parts(axes: Any, runs: dict[str, dict[str, Any]]) -> None:
    """Draw a bar per run, of a mean epoch's reading, decoding and model seconds."""
    seconds = [means(summary) for summary in runs.values()]
    longest = max(each.get("epoch_s", 0.0) for each in seconds)
    left = [0.0] * len(runs)
    for part, color in PART_COLORS.items():
        values = [each.get(f"{part}_s", 0.0) for each in seconds]
        bars = axes.barh(list(runs), values, 0.6, left=left, color=color, label=f"{part}: {PARTS[part]}")
        texts = [f"{value:.1f}" if value > 0.05 * longest else "" for value in values]  # where there is room for it
        axes.bar_label(bars, texts, label_type="center")
        left = [before + value for before, value in zip(left, values, strict=True)]
    axes.bar_label(bars, [f"{total:.1f} s" for total in left], padding=4, fontweight="bold")
    axes.invert_yaxis()
    axes.set(title="Where they went, mean of the epochs after the first", xlabel="s", xlim=(0, 1.2 * longest or 1))
    legend_below(axes)


def short_names(names: list[str]) -> list[str]:
    """Return the names of the runs without the folder that contains them all."""
    paths = [os.path.abspath(name) for name in names]
    folder = os.path.commonpath([os.path.dirname(path) for path in paths])
    return [os.path.relpath(path, folder) for path in paths]
