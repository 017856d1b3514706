"""What the plots have in common. Each plot states what was measured, in which unit, and which direction is better."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

OUR_COLOR, PEER_COLOR, REFERENCE_COLOR = "#d1495b", "#7a8ba3", "#1b1b1e"
GRID = {"color": "#dddddd", "linewidth": 0.8}
CASE_MARKS = {"o": "#2a6f97", "s": "#e09f3e", "D": "#588157", "^": "#7b5ea7", "v": "#9a3b26"}


def is_ours(name: str) -> bool:
    """Return whether a contender is part of bytecache."""
    return name.startswith(("bytecache", "fill_once", "lru_cache", "decode_jpeg", "decode_batch", "SharedStore"))


def color_of(name: str) -> str:
    """Return the color of a contender: red for ours, grey for the others."""
    return OUR_COLOR if is_ours(name) else PEER_COLOR


def plot_ranking(axes: Any, values: Mapping[str, float], label: str, text: Callable[[float], str]) -> None:
    """Draw a dot per contender on a logarithmic axis, the first one on top, annotated with its value."""
    heights = range(len(values), 0, -1)
    for y, (name, value) in zip(heights, values.items(), strict=True):
        axes.plot(value, y, "o", color=color_of(name), markersize=9)
        axes.annotate(text(value), (value, y), (10, 0), textcoords="offset points", va="center")
    axes.set_yticks(heights, list(values))
    _color_labels(axes, list(values))
    axes.set(xscale="log", xlabel=label)
    axes.xaxis.set_major_formatter("{x:,g}")
    axes.xaxis.set_minor_formatter("")  # they would overlap, and each dot has its value
    axes.grid(axis="both", **GRID)
    axes.set_axisbelow(True)
    axes.margins(x=0.16)
    axes.spines[["top", "right"]].set_visible(False)


def plot_ratios(axes: Any, cases: Mapping[str, Mapping[str, float]], names: Sequence[str]) -> None:
    """Draw ratios to a contender at 1: a line per name, from the bottom up, with a mark and an offset per case."""
    for number, ((case, ratios), (mark, color)) in enumerate(zip(cases.items(), CASE_MARKS.items(), strict=False)):
        here = [name for name in names if name in ratios]
        heights = [names.index(name) + 0.3 - 0.6 * number / max(1, len(cases) - 1) for name in here]
        axes.plot([ratios[name] for name in here], heights, mark, color=color, markersize=6.5, label=case)
    axes.axvline(1, color=REFERENCE_COLOR, linewidth=1)
    for y in range(0, len(names), 2):
        axes.axhspan(y - 0.5, y + 0.5, color="#f3f3f3", zorder=0)
    axes.set(xlim=(0, None), ylim=(-0.5, len(names) - 0.5), yticks=range(len(names)), yticklabels=names)
    _color_labels(axes, names)
    axes.grid(axis="x", **GRID)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def plot_bars(axes: Any, ratios: Mapping[str, float]) -> None:
    """Draw a bar per name, from the top down: what it uses over its payload, which cannot be below 1."""
    names = list(ratios)[::-1]
    bars = axes.barh(names, [ratios[name] for name in names], 0.6, color=list(map(color_of, names)))
    axes.bar_label(bars, fmt="{:.3f}", padding=4)
    axes.axvline(1, color=REFERENCE_COLOR, linewidth=1)
    axes.margins(x=0.1)
    axes.spines[["top", "right"]].set_visible(False)


def _color_labels(axes: Any, names: Sequence[str]) -> None:
    for tick, name in zip(axes.get_yticklabels(), names, strict=False):  # only one of panels that share an axis has any
        tick.set_color(OUR_COLOR if is_ours(name) else REFERENCE_COLOR)
