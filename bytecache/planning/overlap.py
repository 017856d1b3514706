"""The best packing of a budget if processors and waiting work at the same time."""

from __future__ import annotations

import math
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from .knapsack import (
    Floats,
    Packing,
    Stages,
    at_stage,
    check_items,
    check_number,
    check_seconds,
    check_table,
    fill,
    relax,
)
from .steps import hull, in_order

# How close the search comes to the shortest epoch, as a part of one without a cache (the shortest may take no time at
# all), and after how many weights it ends at the latest.
_TOLERANCE = 1e-8
_MAX_WEIGHTS = 60


class OverlapPacking(NamedTuple):
    """Where each item is kept so that an epoch is short, and how long it is then.

    weight: what a second of CPU time counts; one of waiting counts 1 - weight. packing: its seconds are weighted so,
    and :func:`stage_at` decides by its `price` and savings that are weighted so.
    epoch_s: the seconds of an epoch with this packing. bound_s: no packing of this budget has a shorter one.
    """

    weight: float
    packing: Packing
    epoch_s: float
    bound_s: float

    @property
    def limit(self) -> Literal["cpu", "waiting", "both"]:
        """What would shorten the epoch if there were less of it: one of the two only if the weight is 0.0 or 1.0."""
        return "waiting" if self.weight == 0 else "cpu" if self.weight == 1 else "both"


def pack_overlap(
    sizes: ArrayLike, cpu: ArrayLike, wait: ArrayLike, budget: float, *, processors: float, reads_in_flight: float
) -> OverlapPacking:
    """Return the packing of a budget in bytes with which an epoch is shortest, but for a few steps of single items.

    sizes: as in :func:`pack`, (items, stages). cpu, wait: the seconds of CPU time that each stage takes, and those of
    its wall time in which it waits, of the same shape; an item kept after a stage saves those of all stages up to it.
    What is not saved is spread over the `processors`, or over the `reads_in_flight` at a time, and the epoch takes the
    longer of both, so that what is saved of the other is worth nothing.

    If parts of items could be kept, the shortest epoch would be the optimum of a linear program, `bound_s`. Its dual
    has one number beside the price: the weight w of CPU time. For each w, packing with seconds that count w and 1 - w
    gives a bound on the epoch. With a mean of both times instead of w, this bound is concave, and its slope is the
    difference of the two times. So either one resource limits even if all of the budget is spent on it, or the best w
    lies where the slope changes its sign. Between two weights the next one tried is where the lines along their slopes
    meet, which takes fewer than bisection (Eisner and Severance, "Mathematical techniques for efficient record
    segmentation in large shared databases", Journal of the ACM 23, 1976). At the best w two packings are equally good,
    and one of them saves more CPU time: some items are packed as in one, the rest as in the other, so that both
    resources end together.

    Takes the time of a dozen calls of :func:`pack`, or of three if one resource limits. Raises as it does, also
    ValueError for seconds that are negative or not finite, and for processors or reads_in_flight that are not positive
    and finite.

    >>> case = pack_overlap([[10], [10]], [[8.0], [0.0]], [[0.0], [4.0]], 10, processors=2, reads_in_flight=2)
    >>> case.limit, case.packing.stage, case.epoch_s
    ('both', array([ 0, -1]), 2.0)
    """
    epoch = _epoch(sizes, cpu, wait, processors, reads_in_flight)
    check_number(budget, "budget", "bytes")
    low, high = _best_for(0.0, epoch, budget), _best_for(1.0, epoch, budget)
    if low.wait_s > low.cpu_s:
        return _result(low, low.stage, epoch, budget)
    if high.cpu_s > high.wait_s:
        return _result(high, high.stage, epoch, budget)
    close_s = _TOLERANCE * max(epoch.ends(0.0, 0.0))
    for _ in range(_MAX_WEIGHTS):
        share, line_s = _meeting(low, high)
        best = _best_for(share, epoch, budget)
        if line_s - best.bound_s <= close_s:
            break
        low, high = (best, high) if best.cpu_s > best.wait_s else (low, best)
    return _result(best, _between(low.stage, high.stage, epoch), epoch, budget)


class _Epoch(NamedTuple):
    """An epoch without a cache, in seconds of CPU time and of waiting, and what is saved by each item at each stage."""

    sizes: Floats
    cpu_saved: Floats
    wait_saved: Floats
    cpu_total: float
    wait_total: float
    processors: float
    reads: float

    def ends(self, cpu_saved: Any, wait_saved: Any) -> tuple[Any, Any]:
        """Return the seconds after which the processors and the reads end, for totals saved: numbers or arrays."""
        return (self.cpu_total - cpu_saved) / self.processors, (self.wait_total - wait_saved) / self.reads

    def saved(self, stage: Stages) -> tuple[float, float]:
        """Return the seconds of CPU time and of waiting that a packing saves."""
        return float(at_stage(self.cpu_saved, stage).sum()), float(at_stage(self.wait_saved, stage).sum())

    def weighted(self, weight: float) -> Floats:
        """Return the seconds that are saved by each item at each stage, (items, stages)."""
        return weight * self.cpu_saved + (1 - weight) * self.wait_saved


def _epoch(sizes: ArrayLike, cpu: ArrayLike, wait: ArrayLike, processors: float, reads: float) -> _Epoch:
    for number, name in ((processors, "processors"), (reads, "reads_in_flight")):
        check_number(number, name, "what works at a time")
        if not 0 < number < math.inf:
            raise ValueError(f"{name} must be finite and more than 0, got {number!r}")
    cpu, wait = check_table(cpu, "cpu", "seconds"), check_table(wait, "wait", "seconds")
    check_seconds(cpu, "cpu")
    check_seconds(wait, "wait")
    bytes_kept, cpu_saved = check_items(sizes, cpu.cumsum(axis=1), "cpu")
    _, wait_saved = check_items(sizes, wait.cumsum(axis=1), "wait")
    return _Epoch(bytes_kept, cpu_saved, wait_saved, float(cpu.sum()), float(wait.sum()), processors, reads)


class _Best(NamedTuple):
    """The best packing for a mean of both times that counts the processors' by `share` and the reads' by the rest.

    weight: what a second of CPU time counts then. cpu_s, wait_s: when processors and reads end if the last step is
    taken in part. stage: the packing with whole steps. price, bound: as of the relaxation.
    """

    share: float
    weight: float
    cpu_s: float
    wait_s: float
    stage: Stages
    price: float
    bound: float

    @property
    def bound_s(self) -> float:
        """What no epoch is shorter than: the longer of two times is at least their mean, and this is the least."""
        return self.share * self.cpu_s + (1 - self.share) * self.wait_s


def _best_for(share: float, epoch: _Epoch, budget: float) -> _Best:
    """Return the best packing for a mean of both times."""
    on_cpu, on_wait = share / epoch.processors, (1 - share) / epoch.reads
    weight = on_cpu / (on_cpu + on_wait)
    steps = in_order(hull(epoch.sizes, epoch.weighted(weight)))
    relaxed = relax(steps, len(epoch.sizes), budget)
    saved = np.array(epoch.saved(relaxed.stage))
    if relaxed.share > 0:
        above = relaxed.stage.copy()
        above[steps.item[relaxed.whole]] = steps.after[relaxed.whole]
        saved += relaxed.share * (epoch.saved(above) - saved)
    cpu_s, wait_s = epoch.ends(*saved.tolist())
    return _Best(share, weight, cpu_s, wait_s, relaxed.stage, relaxed.price, relaxed.bound)


def _meeting(low: _Best, high: _Best) -> tuple[float, float]:
    """Return the share at which both packings are equally good, and the mean of their times there."""
    rise, fall = low.cpu_s - low.wait_s, high.wait_s - high.cpu_s
    share = (high.wait_s - low.wait_s) / (rise + fall) if rise + fall > 0 else low.share
    share = min(max(share, low.share), high.share)  # rounding may take it out of them
    return share, low.wait_s + share * rise


def _between(low: Stages, high: Stages, epoch: _Epoch) -> Stages:
    """Return the packing with the shortest epoch on a way from one to another, item by item.

    Items that shrink alternate with those that grow, in proportion, and each goes before what it pays for: so no more
    is used on the way than at one of its ends.
    """
    moved = np.flatnonzero(low != high)
    cpu, wait, growth = (
        at_stage(values[moved], high[moved]) - at_stage(values[moved], low[moved])
        for values in (epoch.cpu_saved, epoch.wait_saved, epoch.sizes)
    )
    grown, shrunk = np.maximum(growth, 0).cumsum(), np.maximum(-growth, 0).cumsum()
    progress = np.where(growth > 0, grown / max(grown[-1:].sum(), 1), (shrunk + growth) / max(shrunk[-1:].sum(), 1))
    order = np.argsort(progress, kind="stable")
    way = [np.concatenate(([0.0], values[order].cumsum())) for values in (cpu, wait)]
    start = epoch.saved(low)
    epochs = np.maximum(*epoch.ends(start[0] + way[0], start[1] + way[1]))
    stage: Stages = low.copy()
    changed = moved[order[: int(epochs.argmin())]]
    stage[changed] = high[changed]
    return stage


def _result(best: _Best, stage: Stages, epoch: _Epoch, budget: float) -> OverlapPacking:
    """Return the result of a packing, after what is left of the budget went to the steps that still fit."""
    savings = epoch.weighted(best.weight)
    left = budget - float(at_stage(epoch.sizes, stage).sum())
    stage = fill(in_order(hull(epoch.sizes, savings)), stage, left)
    used, saved = at_stage(epoch.sizes, stage).sum(), at_stage(savings, stage).sum()
    packing = Packing(stage, best.price, best.bound, float(saved), int(used))
    epoch_s = max(0.0, *epoch.ends(*epoch.saved(stage)))  # of nothing, rounding may leave less
    return OverlapPacking(best.weight, packing, epoch_s, max(0.0, best.bound_s))
