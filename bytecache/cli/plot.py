"""A plot of a simulation: hit rate over cache size, a curve for each policy."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..planning.folder import Curves, FolderReport
from ..system.text import format_bytes, plural

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_FORMATS = (".png", ".svg", ".pdf")
_LABELS = {
    "belady_bypass": "belady_bypass, which knows the future",
    "belady": "belady, which knows the future",
    "dense": "dense, which knows the sizes",
}
# The colours of Okabe and Ito, for colour-blind people. The bounds are wide and at the back: other curves cover them.
_STYLES: dict[str, dict[str, Any]] = {
    "belady_bypass": {"color": "#cccccc", "linewidth": 9, "zorder": 1},
    "belady": {"color": "#888888", "linewidth": 6, "linestyle": ":", "zorder": 1},
    "dense": {"color": "#56b4e9", "linewidth": 2.5},
    "fill_once": {"color": "#0072b2", "linewidth": 2.5},
    "lfu": {"color": "#cc79a7"},
    "random": {"color": "#009e73"},
    "fifo": {"color": "#e69f00"},
    "lru": {"color": "#d55e00"},
    "none": {"color": "#000000"},
}


def check_path(text: str) -> Path:
    """Return the path of a plot; raise ValueError if it cannot be one, ImportError if matplotlib is not installed."""
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        raise ImportError("plotting needs the matplotlib package: pip install 'bytecache[plot]'") from None
    path = Path(text)
    if path.suffix.lower() not in _FORMATS:
        raise ValueError(f"expected a file that ends in {', '.join(_FORMATS)}, got {text!r}")
    if not path.parent.is_dir():
        raise ValueError(f"expected a file in a folder that exists, got {text!r}")
    return path


def save_plot(path: Path, report: FolderReport, curves: Curves) -> None:
    """Write the plot to a file."""
    make_figure(report, curves).savefig(path, dpi=120)


def make_figure(report: FolderReport, curves: Curves) -> Figure:
    """Return a figure of the curves and the budget; its legend has the hit rates at the budget, the highest first."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11.5, 6), layout="constrained")
    axes = figure.add_subplot()
    at_budget = {policy["policy"]: policy["hit_rate"] for policy in report["policies"]}
    percents = [100 * fraction for fraction in curves.fractions]
    for name in sorted(at_budget, key=at_budget.__getitem__, reverse=True):
        label = f"{_LABELS.get(name, name)}: {at_budget[name]:.3f}"
        axes.plot(percents, curves.hit_rates[name], label=label, solid_capstyle="butt", **_STYLES[name])
    _mark_budget(axes, report, at_budget)
    _label(axes, report, curves)
    return figure


def _mark_budget(axes: Axes, report: FolderReport, at_budget: dict[str, float]) -> None:
    percent = min(100.0, 100 * report["fraction"])
    axes.axvline(percent, color="#555555", linewidth=1, linestyle=(0, (4, 3)), zorder=0.5)
    for name, rate in at_budget.items():
        axes.plot(percent, rate, "o", color=_STYLES[name]["color"], markersize=6, clip_on=False)
    all_of_it = ", all of it" if report["fraction"] >= 1 else ""
    axes.legend(
        title=f"hit rate at the budget of {format_bytes(report['maxbytes'])}{all_of_it}\n(dashed line)",
        loc="upper left",
        bbox_to_anchor=(1.01, 1),  # beside the curves, which are everywhere
    )


def _label(axes: Axes, report: FolderReport, curves: Curves) -> None:
    total = report["bytes"]
    sampled = "" if curves.files == report["files"] else f"\ncurves: {curves.files:,} of them, chosen at random"
    axes.set_title(
        f"Hit rate by cache size and policy\n{plural(report['files'], 'file')}, {format_bytes(total)}, "
        f"each read once per epoch in a new random order{sampled}",
        fontsize="medium",
    )
    axes.set(xlim=(0, 100), ylim=(0, 1), ylabel="hit rate after the first epoch (hits / reads)")
    axes.set_xticks(range(0, 101, 10))
    axes.set_xlabel("cache size (% of the bytes of all files)")
    above = axes.secondary_xaxis("top")
    above.set_xticks(range(0, 101, 25), [format_bytes(total * percent / 100) for percent in range(0, 101, 25)])
    axes.grid(color="#eeeeee")
    axes.set_axisbelow(True)
