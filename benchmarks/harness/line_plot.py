"""A plot of values over sizes: a line per contender, labelled at its end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.harness.plot import GRID, REFERENCE_COLOR, color_of

MARKS = "osDv^Xp*"
LINE_HEIGHT = 0.05  # of a label, as a fraction of the axes


def plot_lines(
    axes: Any, values: Mapping[str, Mapping[int, float]], labels: Mapping[str, str], scale: str = "log"
) -> None:
    """Draw each name's values by size, and its name and label at the end of its line.

    scale: "log", or "linear" for axes that start at 0.
    """
    from matplotlib.ticker import EngFormatter, LogLocator, NullLocator

    marks = dict(zip(values, MARKS, strict=False))
    for name, by_size in values.items():
        style = {"marker": marks[name], "color": line_color(name), "markersize": 5, "linewidth": 1.5}
        axes.plot(list(by_size), list(by_size.values()), **style)
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
    ends = {name: by_size[max(by_size)] for name, by_size in values.items()}
    names = sorted(ends, key=ends.__getitem__)
    for name, y in zip(names, spread_out([height(axes, ends[name]) for name in names]), strict=True):
        text, color = f"{name}\N{EN SPACE}{labels[name]}", line_color(name)
        axes.plot(1.03, y, marks[name], color=color, markersize=5, transform=axes.transAxes, clip_on=False)
        axes.text(1.05, y, text, color=color, va="center", fontsize=9, transform=axes.transAxes)


def height(axes: Any, value: float) -> float:
    """Return the position of a value on the vertical axis, from 0 to 1."""
    _, y = axes.transAxes.inverted().transform(axes.transData.transform((1, value)))
    return float(y)


def spread_out(heights: Sequence[float]) -> list[float]:
    """Return the heights of labels, in ascending order, moved so that none overlaps another or leaves the axes."""
    moved: list[float] = []
    for y in heights:
        moved.append(max(y, moved[-1] + LINE_HEIGHT if moved else y))
    for index in reversed(range(len(moved))):
        moved[index] = min(moved[index], 1.0 - LINE_HEIGHT * (len(moved) - 1 - index))
    return moved


def line_color(name: str) -> str:
    """Return the color of a line: as elsewhere, but black for a reference that shows what the machine can do."""
    return REFERENCE_COLOR if name == "dict" or "bare threads" in name else color_of(name)
