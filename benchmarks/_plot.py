"""What pictures have in common. Each says by itself what was measured, in what unit, and which way is better."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

OURS, PEER, BOUND = "#d1495b", "#7a8ba3", "#1b1b1e"
GRID = {"color": "#dddddd", "linewidth": 0.8}


def is_ours(name: str) -> bool:
    """Whether a row is bytecache's."""
    return name.startswith(("bytecache", "fill_once", "lru_cache", "decode_jpeg", "decode_batch", "SharedStore"))


def color_of(name: str) -> str:
    """Ours stand out; the rest is grey."""
    return OURS if is_ours(name) else PEER


def ranking(axes: Any, figures: Mapping[str, float], label: str, text: Callable[[float], str]) -> None:
    """A dot per contender on a logarithmic axis, the first on top, each with its figure beside it."""
    places = range(len(figures), 0, -1)
    for place, (name, figure) in zip(places, figures.items(), strict=True):
        axes.plot(figure, place, "o", color=color_of(name), markersize=9)
        axes.annotate(text(figure), (figure, place), (10, 0), textcoords="offset points", va="center")
    axes.set_yticks(places, list(figures))
    for tick, name in zip(axes.get_yticklabels(), figures, strict=True):
        tick.set_color(OURS if is_ours(name) else BOUND)
    axes.set(xscale="log", xlabel=label)
    axes.grid(axis="both", **GRID)
    axes.set_axisbelow(True)
    axes.margins(x=0.12)
    axes.spines[["top", "right"]].set_visible(False)
