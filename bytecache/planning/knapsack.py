"""The best packing of a budget of bytes: at which stage to keep each item, and what a byte is worth."""

from __future__ import annotations

import math
from collections.abc import Sequence
from numbers import Real
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .steps import Steps, hull, in_order

Floats = NDArray[np.float64]
Stages = NDArray[np.intp]

_SIZES = "sizes must be of 0 bytes or more, or NaN where an item cannot be kept"
_SECONDS = "must be finite, of 0 seconds or more"


class Packing(NamedTuple):
    """Where each item is kept, and what that saves.

    stage: the stage after which each item is kept, intp (items,); -1 if it is not kept.
    price: what the next byte of budget would save, in seconds per byte; 0.0 if everything worth keeping is kept.
    bound: the seconds that no packing of this budget exceeds. saved: the seconds that this one saves.
    used: the bytes that it takes, at most the budget.
    """

    stage: Stages
    price: float
    bound: float
    saved: float
    used: int


def pack(sizes: ArrayLike, savings: ArrayLike, budget: float) -> Packing:
    """Return the packing of a budget in bytes that saves most, or less than that by at most one step of one item.

    sizes: what an item takes if it is kept after a stage, in bytes, float (items, stages); NaN or inf if it cannot be
    kept there. A part of a byte counts as a whole one, so that sums are exact. savings: the seconds that this saves,
    of the same shape.

    To keep each item at one stage at most is a multiple-choice knapsack (Kellerer, Pferschy and Pisinger, "Knapsack
    Problems", Springer 2004, chapter 11). If parts of items could be kept, it would be solved by steps: those along an
    item's upper convex hull of (size, saving), each with a density in seconds per byte, taken in order of density
    until the budget is spent (Dyer, "An O(n) algorithm for the multiple-choice knapsack linear program", Mathematical
    Programming 29, 1984; Zemel, "An O(n) algorithm for the linear multiple choice knapsack problem and related
    problems", Information Processing Letters 18, 1984; both find by medians what is sorted here). That is the `bound`.
    The first step that does not fit has the density `price`; the bound counts the part of it that does. Without
    that part the packing is at most one step below the bound. Then what is left of the budget goes to later steps that
    still fit, in the same order. Of equal densities the step of the first item comes first. An item larger than all of
    the budget has a part in the bound and may set the price: give NaN for it if there are any.

    A stage that another one beats, with no more bytes and no less saving, is not chosen; of two that are the same, the
    first is. Takes O(n log n) time for n items and holds no state: threads and processes may call it at once. Raises
    ValueError for a negative size, a saving that is negative or not finite, another shape, a negative budget, and
    TypeError for what is not numbers.

    >>> pack([[10, 40], [10, 40]], [[2.0, 3.0], [1.0, 4.0]], budget=50)  # 0.2 and 0.033, 0.1 and 0.1 seconds per byte
    Packing(stage=array([0, 1]), price=0.03333333333333333, bound=6.0, saved=6.0, used=50)
    """
    sizes, savings = check_items(sizes, savings)
    check_number(budget, "budget", "bytes")
    steps = in_order(hull(sizes, savings))
    relaxed = relax(steps, len(sizes), budget)
    stage = fill(steps.since(relaxed.whole), relaxed.stage, relaxed.left)
    used, saved = at_stage(sizes, stage).sum(), at_stage(savings, stage).sum()
    return Packing(stage, relaxed.price, relaxed.bound, float(saved), int(used))


def price_of(sizes: ArrayLike, savings: ArrayLike, budget: float) -> float:
    """Return what the next byte saves if the budget is packed, in seconds per byte: the `price` of :func:`pack`."""
    sizes, savings = check_items(sizes, savings)
    check_number(budget, "budget", "bytes")
    return relax(in_order(hull(sizes, savings)), len(sizes), budget).price


def stage_at(sizes: Sequence[float], savings: Sequence[float], price: float) -> int:
    """Return the last stage of one item whose step saves at least `price` seconds per byte, -1 if no step does.

    sizes and savings are as in :func:`pack`, of one item: (stages,). The rule needs no other item, so a cache can
    follow it item by item until its budget is spent; some microseconds each. At its price :func:`pack` decides the
    same, but for steps of exactly that density, of which only some fit, and for what goes into the rest of the budget.
    Raises as :func:`pack` does, also ValueError for a negative price.

    >>> stage_at([10, 40], [2.0, 3.0], price=0.1), stage_at([10, 40], [2.0, 3.0], price=0.03)
    (0, 1)
    """
    check_number(price, "price", "seconds per byte")
    stages = _stages_by_size(sizes, savings)
    at, used, saved = -1, 0, 0.0
    while True:
        density, after, next_used, next_saved = 0.0, -1, 0, 0.0
        for size, stage, saving in stages:
            if saving > saved:
                slope = (saving - saved) / (size - used) if size > used else math.inf
                if after < 0 or slope > density:  # of equally steep stages the nearest, as in hull
                    density, after, next_used, next_saved = slope, stage, size, saving
        if after < 0 or density < price:
            return at
        at, used, saved = after, next_used, next_saved


def _stages_by_size(sizes: Sequence[float], savings: Sequence[float]) -> list[tuple[int, int, float]]:
    """Return (size, stage, saving) of the stages at which an item can be kept, the smallest first."""
    if len(sizes) != len(savings):
        raise ValueError(f"savings must be of the length of sizes, {len(sizes)}, got {len(savings)}")
    stages = []
    for stage, (size, saving) in enumerate(zip(sizes, savings, strict=True)):
        if size < 0:
            raise ValueError(f"{_SIZES}, got {size} at stage {stage}")
        if size < math.inf:
            if not 0 <= saving < math.inf:
                raise ValueError(f"savings {_SECONDS}, got {saving} at stage {stage}")
            stages.append((math.ceil(size), stage, float(saving)))
    return sorted(stages)


class Relaxation(NamedTuple):
    """The packing if a part of an item could be kept: `whole` steps, and a `share`, 0 to 1, of the next one.

    stage: after the whole steps, which leave `left` bytes. price, bound: as in :class:`Packing`.
    """

    stage: Stages
    whole: int
    left: float
    share: float
    price: float
    bound: float


def relax(steps: Steps, items: int, budget: float) -> Relaxation:
    """Return the best packing of a budget by steps in order of density."""
    ends = np.cumsum(steps.growth)
    whole = int(np.searchsorted(ends, budget, side="right"))
    stage = np.full(items, -1, np.intp)
    stage[steps.item[:whole]] = steps.after[:whole]  # of several steps of an item the last one holds
    left = budget - (float(ends[whole - 1]) if whole else 0.0)
    saved = float(steps.gain[:whole].sum())
    if whole == len(ends):
        return Relaxation(stage, whole, left, 0.0, 0.0, saved)
    share = left / float(steps.growth[whole])
    bound = saved + share * float(steps.gain[whole])
    return Relaxation(stage, whole, left, share, float(steps.density[whole]), bound)


def fill(steps: Steps, stage: Stages, left: float) -> Stages:
    """Return the stages after every step, in order, that begins where its item is and fits in the bytes left."""
    stage = stage.copy()
    fitting = np.flatnonzero(steps.growth <= left)
    smallest = steps.growth[fitting].min(initial=math.inf)
    fields = (field[fitting].tolist() for field in (steps.item, steps.before, steps.after, steps.growth))
    for item, before, after, growth in zip(*fields, strict=True):
        if left < smallest:
            break
        if growth <= left and stage[item] == before:
            stage[item] = after
            left -= growth
    return stage


def at_stage(values: Floats, stage: Stages) -> Floats:
    """Return each item's value at its stage, (items,); 0.0 if it is not kept."""
    kept: Floats = np.where(stage < 0, 0.0, values[np.arange(len(stage)), stage])
    return kept


def check_items(sizes: ArrayLike, savings: ArrayLike, name: str = "savings") -> tuple[Floats, Floats]:
    """Return both as float (items, stages): inf and 0.0 if an item cannot be kept there; raise if they are invalid."""
    sizes, savings = check_table(sizes, "sizes", "bytes"), check_table(savings, name, "seconds")
    if sizes.shape != savings.shape:
        raise ValueError(f"{name} must be of the shape of sizes, {sizes.shape}, got {savings.shape}")
    _refuse(sizes, sizes < 0, _SIZES)
    kept = np.isfinite(sizes)
    savings = np.where(kept, savings, 0.0)
    check_seconds(savings, name)
    return np.where(kept, np.ceil(sizes), np.inf), savings


def check_table(values: ArrayLike, name: str, unit: str) -> Floats:
    """Return values as float (items, stages); raise TypeError for what is not numbers, ValueError for another shape."""
    try:
        table = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError):
        raise TypeError(f"{name} must be an array of {unit}, (items, stages), got {values!r:.80}") from None
    if table.ndim != 2 or not table.shape[1]:
        raise ValueError(f"{name} must be an array of {unit}, (items, stages), got the shape {table.shape}")
    return table


def check_seconds(seconds: Floats, name: str) -> None:
    """Raise ValueError for a time that is negative or not finite."""
    _refuse(seconds, ~((seconds >= 0) & np.isfinite(seconds)), f"{name} {_SECONDS}")


def _refuse(table: Floats, wrong: NDArray[np.bool_], expected: str) -> None:
    if wrong.any():
        item, stage = np.argwhere(wrong)[0].tolist()
        raise ValueError(f"{expected}, got {table[item, stage]} for item {item} at stage {stage}")


def check_number(value: float, name: str, unit: str) -> None:
    """Raise TypeError for what is no number, ValueError for one that is negative or NaN."""
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError(f"{name} must be a number of {unit}, 0 or more, got {value!r}")
    if not value >= 0:
        raise ValueError(f"{name} must be a number of {unit}, 0 or more, got {value!r}")
