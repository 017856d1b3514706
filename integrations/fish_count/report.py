"""What a run leaves behind for people: summary.json and report.png."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from .data import delay_note


def write_report(out: Path, summary: dict[str, Any], predictions: np.ndarray, counts: np.ndarray) -> None:
    """Write summary.json, and report.png: the losses, predictions (n,) over true counts (n,), and the hit rates."""
    (out / "summary.json").write_text(json.dumps(summary, indent=2) + "\n", encoding="utf-8")
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, (losses, scatter, hits) = pyplot.subplots(1, 3, figsize=(15, 4.6), layout="constrained")
    figure.suptitle(title(summary))
    draw_losses(losses, summary["history"])
    draw_predictions(scatter, predictions, counts, summary)
    draw_hit_rates(hits, {"measured": summary})
    figure.savefig(out / "report.png", dpi=110)
    pyplot.close(figure)


def title(summary: dict[str, Any]) -> str:
    """Describe the run in one line."""
    options = summary["options"]
    fraction = summary["maxbytes"] / summary["training_bytes"]
    cache = f"cache {options['cache']}, budget {fraction:.2f} of {summary['training_bytes'] / 1e6:.1f} MB"
    return ", ".join(filter(None, (cache, delay_note(float(options["storage_ms"])))))


def draw_losses(axes: Any, history: list[dict[str, float]]) -> None:
    """Draw the losses of training and validation over the epochs."""
    epochs = [row["epoch"] + 1 for row in history]
    axes.plot(epochs, [row["loss"] for row in history], "o-", label="training")
    axes.plot(epochs, [row["val_loss"] for row in history], "o-", label="validation")
    axes.set(title="Loss", xlabel="epoch", ylabel="Huber loss", ylim=(0, None))
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.legend()


def draw_predictions(axes: Any, predictions: np.ndarray, counts: np.ndarray, summary: dict[str, Any]) -> None:
    """Draw a point per test image; on the diagonal the prediction is right."""
    top = max(counts.max(), predictions.max()) + 1
    axes.plot([0, top], [0, top], color="gray", linewidth=1)
    axes.scatter(counts, predictions, s=14, alpha=0.6)
    axes.set(
        title=f"Test images: MAE {summary['test_mae']:.2f} (training median: {summary['median_mae']:.2f})",
        xlabel="true number of fish",
        ylabel="predicted",
    )


def draw_hit_rates(axes: Any, runs: dict[str, dict[str, Any]]) -> None:
    """Draw a measured line per run, and the prediction for its policy as a dashed line."""
    for name, summary in runs.items():
        epochs = [row["epoch"] + 1 for row in summary["history"]]
        (line,) = axes.plot(epochs, [row["hit_rate"] for row in summary["history"]], "o-", label=name)
        predicted = summary["predicted_hit_rate"]
        axes.axhline(predicted, color=line.get_color(), linestyle="--", linewidth=1, label=f"predicted {predicted:.3f}")
    axes.set(title="Hit rate of the training reads", xlabel="epoch", ylabel="hits per read", ylim=(-0.03, 1.03))
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.legend()
