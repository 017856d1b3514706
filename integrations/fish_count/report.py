"""What a run leaves behind for people: summary.json and report.png."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from .data import storage_note


def write_report(out: Path, summary: dict[str, Any], predictions: np.ndarray, counts: np.ndarray) -> None:
    """Write summary.json, and report.png: the losses, predictions (n,) over true counts (n,), and the hit rates."""
    (out / "summary.json").write_text(json.dumps(summary, indent=2) + "\n", encoding="utf-8")
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, (losses, scatter, hits) = pyplot.subplots(1, 3, figsize=(15, 5.4), layout="constrained")
    figure.suptitle(title(summary))
    draw_losses(losses, summary["history"])
    draw_predictions(scatter, predictions, counts, summary)
    draw_hit_rates(hits, {"measured": summary})
    figure.savefig(out / "report.png", dpi=110)
    pyplot.close(figure)


def title(summary: dict[str, Any]) -> str:
    """Describe the run in two lines: what was read through which cache, and what that held at the end."""
    training_bytes, maxbytes = summary["training_bytes"], summary["maxbytes"]
    held, policy = summary["history"][-1]["currbytes"], summary["options"]["cache"]
    cache = f"{policy} with a budget of {maxbytes / 1e6:.3g} MB" if policy != "none" else "no cache"
    if summary["tier_hits"]:
        cache += " on each host, over servers that the hosts share"
    second = f"the cache held {held / 1e6:.3g} MB at the end, {held_share(summary):.0%} of the bytes"
    if policy == "auto":
        second = f"the cache held {held / 1e6:.3g} MB at the end, {kept_at_stages(summary)}"
    note = storage_of(summary)
    return (
        f"Counting fish: {training_bytes / 1e6:.3g} MB of training images, read through {cache}\n"
        f"{second if policy != 'none' else 'every epoch reads all of them'}{', ' if note else ''}{note}"
    )


def draw_losses(axes: Any, history: list[dict[str, float]]) -> None:
    """Draw the losses of training and validation over the epochs."""
    epochs = [row["epoch"] + 1 for row in history]
    axes.plot(epochs, [row["loss"] for row in history], "o-", label="training images")
    axes.plot(epochs, [row["val_loss"] for row in history], "o-", label="validation images")
    axes.axhline(0, color="#cccccc", linewidth=0.8)
    axes.set(title="Loss", xlabel="epoch", ylabel="Huber loss")
    axes.xaxis.get_major_locator().set_params(integer=True)
    legend_below(axes)


def draw_predictions(axes: Any, predictions: np.ndarray, counts: np.ndarray, summary: dict[str, Any]) -> None:
    """Draw a point per test image; on the diagonal the prediction is right."""
    top = max(counts.max(), predictions.max()) + 1
    axes.plot([0, top], [0, top], color="gray", linewidth=1, label="as many as there are")
    errors = f"{summary['test_mae']:.2f}, of the training median {summary['median_mae']:.2f}"
    axes.scatter(counts, predictions, s=14, alpha=0.6, label=f"a test image; mean absolute error {errors}")
    axes.set(
        title="Predictions for the test images",
        xlabel="true number of fish",
        ylabel="predicted number of fish",
    )
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.yaxis.get_major_locator().set_params(integer=True)
    legend_below(axes)


def draw_hit_rates(axes: Any, runs: dict[str, dict[str, Any]]) -> None:
    """Draw a line per run, and what its policy's formula, if any, predicts for the epochs after the first, dashed."""
    last = max(row["epoch"] + 1 for summary in runs.values() for row in summary["history"])
    for name, summary in runs.items():
        history, predicted = summary["history"], summary["predicted_hit_rate"]
        epochs = [row["epoch"] + 1 for row in history]
        rates = [row["hit_rate"] for row in history]
        (line,) = axes.plot(epochs, rates, "o-", label=f"{name}: {describe(summary)}", alpha=0.5)
        if epochs[-1] > 1 and predicted is not None:
            style = {"color": line.get_color(), "linestyle": "--", "linewidth": 1.5}
            axes.plot([2, epochs[-1]], [predicted] * 2, label=f"predicted for that budget: {predicted:.3f}", **style)
    axes.set(
        title="Hit rate of the training reads", xlabel="epoch (the first one fills the cache)", ylabel="hits per read",
        xlim=(0.9, max(2, last) + 0.1), ylim=(-0.03, 1.03),
    )  # fmt: skip
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.grid(color="#eeeeee")
    legend_below(axes)


def describe(summary: dict[str, Any]) -> str:
    """Say what cache a run had, and what that held."""
    policy = summary["options"]["cache"]
    if policy == "auto":
        return f"auto, held {kept_at_stages(summary)}"
    return "no cache" if policy == "none" else f"{policy}, held {held_share(summary):.0%} of the bytes"


def kept_at_stages(summary: dict[str, Any]) -> str:
    """Say how many files, and how many images as pixels, an automatic cache held at the end."""
    files, images = (stage["currsize"] for stage in summary["cache_stats"]["stages"])
    return f"{files:,} files and {images:,} images as pixels"


def storage_of(summary: dict[str, Any]) -> str:
    """Say what storage a run read from, if not from a folder."""
    return storage_note(float(summary["options"]["latency_ms"]), int(summary["options"]["parallel"]))


def held_share(summary: dict[str, Any]) -> float:
    """Return the share of the training bytes that the cache held at the end, 0 to 1; its own overhead apart."""
    return min(1.0, summary["history"][-1]["currbytes"] / summary["training_bytes"])


def legend_below(axes: Any) -> None:
    """Put the legend where it covers no line."""
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.14), fontsize="small", frameon=False)
