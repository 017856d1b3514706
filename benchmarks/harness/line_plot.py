"""A picture of how figures go with a size: a line per contender, named at its end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.harness.plot import GRID, REFERENCE_COLOR, color_of

MARKS = "osDv^Xp*"
LINE_HEIGHT = 0.05  # of a label, as a share of the axes


def plot_lines(
    axes: Any, figures: Mapping[str, Mapping[int, float]], labels: Mapping[str, str], scale: str = "log"
) -> None:
    """Figures by size, on axes that are logarithmic or ("linear") begin at 0; beside the last, its name and label."""
    from matplotlib.ticker import EngFormatter, LogLocator, NullLocator

    marks = dict(zip(figures, MARKS, strict=False))
    for name, of_size in figures.items():
        look = {"marker": marks[name], "color": line_color(name), "markersize": 5, "linewidth": 1.5}
        axes.plot(list(of_size), list(of_size.values()), **look)
    axes.set(xscale=scale, yscale=scale)
    if scale == "linear":
        axes.set(xlim=0, ylim=(0, 1.1 * axes.get_ylim()[1]))
    else:
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(EngFormatter(sep=""))  # 10k, 1M
    axes.yaxis.set_major_formatter("{x:,.0f}")
    axes.grid(**GRID)
    axes.spines[["top", "right"]].set_visible(False)
    ends = {name: of_size[max(of_size)] for name, of_size in figures.items()}
    names = sorted(ends, key=ends.__getitem__)
    for name, place in zip(names, apart([height(axes, ends[name]) for name in names]), strict=True):
        text = f"{name}\N{EN SPACE}{labels[name]}"
        axes.plot(
            1.03, place, marks[name], color=line_color(name), markersize=5, transform=axes.transAxes, clip_on=False
        )
        axes.text(1.05, place, text, color=line_color(name), va="center", fontsize=9, transform=axes.transAxes)


def height(axes: Any, figure: float) -> float:
    """Where a figure is on an axis, from 0 to 1."""
    _, place = axes.transAxes.inverted().transform(axes.transData.transform((1, figure)))
    return float(place)


def apart(places: Sequence[float]) -> list[float]:
    """The places of labels, from the lowest on, moved so that none is upon another, nor above the axes."""
    moved: list[float] = []
    for place in places:
        moved.append(max(place, moved[-1] + LINE_HEIGHT if moved else place))
    for index in reversed(range(len(moved))):
        moved[index] = min(moved[index], 1.0 - LINE_HEIGHT * (len(moved) - 1 - index))
    return moved


def line_color(name: str) -> str:
    """Ours stand out, and so does what is no contender but shows what the machine gives."""
    return REFERENCE_COLOR if name == "dict" or "bare threads" in name else color_of(name)
