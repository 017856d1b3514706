"""What pictures have in common. Each says by itself what was measured, in what unit, and which way is better."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

OUR_COLOR, PEER_COLOR, REFERENCE_COLOR = "#d1495b", "#7a8ba3", "#1b1b1e"
GRID = {"color": "#dddddd", "linewidth": 0.8}


def is_ours(name: str) -> bool:
    """Whether a row is bytecache's."""
    return name.startswith(("bytecache", "fill_once", "lru_cache", "decode_jpeg", "decode_batch", "SharedStore"))


def color_of(name: str) -> str:
    """Ours stand out; the rest is grey."""
    return OUR_COLOR if is_ours(name) else PEER_COLOR


def plot_ranking(axes: Any, figures: Mapping[str, float], label: str, text: Callable[[float], str]) -> None:
    """A dot per contender on a logarithmic axis, the first on top, each with its figure beside it."""
    places = range(len(figures), 0, -1)
    for place, (name, figure) in zip(places, figures.items(), strict=True):
        axes.plot(figure, place, "o", color=color_of(name), markersize=9)
        axes.annotate(text(figure), (figure, place), (10, 0), textcoords="offset points", va="center")
    axes.set_yticks(places, list(figures))
    for tick, name in zip(axes.get_yticklabels(), figures, strict=True):
        tick.set_color(OUR_COLOR if is_ours(name) else REFERENCE_COLOR)
    axes.set(xscale="log", xlabel=label)
    axes.xaxis.set_major_formatter("{x:,g}")
    axes.grid(axis="both", **GRID)
    axes.set_axisbelow(True)
    axes.margins(x=0.16)
    axes.spines[["top", "right"]].set_visible(False)


CASE_MARKS = {"o": "#2a6f97", "s": "#e09f3e", "D": "#588157", "^": "#7b5ea7", "v": "#9a3b26"}


def plot_ratios(axes: Any, cases: Mapping[str, Mapping[str, float]], names: Sequence[str]) -> None:
    """Ratios to a contender at 1: a row per name, from the bottom up, a mark and a height per case."""
    for number, ((case, ratios), (mark, color)) in enumerate(zip(cases.items(), CASE_MARKS.items(), strict=False)):
        here = [name for name in names if name in ratios]
        places = [names.index(name) + 0.3 - 0.6 * number / max(1, len(cases) - 1) for name in here]
        axes.plot([ratios[name] for name in here], places, mark, color=color, markersize=6.5, label=case)
    axes.axvline(1, color=REFERENCE_COLOR, linewidth=1)
    for place in range(0, len(names), 2):
        axes.axhspan(place - 0.5, place + 0.5, color="#f3f3f3", zorder=0)
    axes.set(xlim=(0, None), ylim=(-0.5, len(names) - 0.5), yticks=range(len(names)), yticklabels=names)
    for tick, name in zip(axes.get_yticklabels(), names, strict=False):  # panels that share an axis show them once
        tick.set_color(OUR_COLOR if is_ours(name) else REFERENCE_COLOR)
    axes.grid(axis="x", **GRID)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def plot_bars(axes: Any, shares: Mapping[str, float]) -> None:
    """A bar per name, from the top down, of what it takes over what it holds; nothing can be left of 1."""
    names = list(shares)[::-1]
    bars = axes.barh(names, [shares[name] for name in names], 0.6, color=list(map(color_of, names)))
    axes.bar_label(bars, fmt="{:.3f}", padding=4)
    axes.axvline(1, color=REFERENCE_COLOR, linewidth=1)
    axes.margins(x=0.1)
    axes.spines[["top", "right"]].set_visible(False)
