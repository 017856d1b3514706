"""An epoch over a data set, as far as a sample of its items tells: what it costs, and what keeping items saves."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .cost_model import Floats
from .knapsack import Stages, at_stage, pack, price_of
from .overlap import pack_overlap

_SPREAD, _GOLDEN = 0.1, (5**0.5 - 1) / 2
# What does not limit counts too: it is hidden behind the other only while that many reads are under way, which few
# misses are not enough for, and it must not come to limit instead.
_LEAST_SHARE = 0.25


def apart(lot: Any) -> Any:
    """Return by what to multiply the savings of an item, to tell it apart from others that are like it.

    lot: of each item, at random from 0 to 1, a number or an array. Of equal items none would be worth the price, or
    all; so those go first that draw more.
    """
    return 1.0 + _SPREAD * (lot - 0.5)


class Concurrency(NamedTuple):
    """How much of an epoch's work is done at a time.

    processors: how many stages compute at a time, reads: how many read. overlapped: whether they do so at the same
    time, so that the epoch takes the longer of both; else it takes their sum.
    """

    processors: float = 1.0
    reads: float = 1.0
    overlapped: bool = False


class Prices(NamedTuple):
    """What decides where an item is kept: what a second of CPU time and one of waiting count, and what a byte costs.

    price: in such seconds per byte, see :func:`bytecache.planning.knapsack.stage_at`.
    """

    cpu: float
    wait: float
    price: float


class Best(NamedTuple):
    """The best packing of a budget: the stage of each item of the sample, -1 for none; what it is decided by; what an
    epoch takes at the least; and what limits that: "cpu", "waiting" or "both".
    """

    stage: Stages
    prices: Prices
    bound_s: float
    limit: str


class Workload:
    """An epoch over `items` items, of which some were measured.

    sizes: bytes after each stage; cpu, wait: seconds of CPU time and of waiting of each stage; float (n, stages), of
    the n items that were measured. No state: safe for threads.
    """

    def __init__(self, sizes: Floats, cpu: Floats, wait: Floats, items: int, concurrency: Concurrency) -> None:
        self.sizes, self.cpu, self.wait, self.items, self.concurrency = sizes, cpu, wait, items, concurrency
        self.scale = items / len(sizes)
        self._cpu_saved, self._wait_saved = cpu.cumsum(axis=1), wait.cumsum(axis=1)

    def epoch_s(self, stage: Stages | None = None) -> float:
        """Return the seconds of an epoch in which each item of the sample is kept at a stage; None: nothing is."""
        cpu, wait = float(self.cpu.sum()), float(self.wait.sum())
        if stage is not None:
            cpu -= float(at_stage(self._cpu_saved, stage).sum())
            wait -= float(at_stage(self._wait_saved, stage).sum())
        return self._seconds(cpu, wait)

    def fill_once_s(self, stage: int, budget: float) -> float:
        """Return the seconds of an epoch if what comes first is kept after one stage, as much as fits."""
        share = min(1.0, budget / max(self.bytes_after(stage), 1.0))
        cpu = float(self.cpu.sum() - share * self._cpu_saved[:, stage].sum())
        return self._seconds(cpu, float(self.wait.sum() - share * self._wait_saved[:, stage].sum()))

    def saved_s(self, cpu: float, wait: float) -> float:
        """Return the seconds of an epoch that is saved so many of CPU time and of waiting."""
        left = (total.sum() - saved / self.scale for total, saved in ((self.cpu, cpu), (self.wait, wait)))
        return self._seconds(*(max(0.0, float(seconds)) for seconds in left))

    def kept_s(self, kept: Sequence[tuple[int, float]], best: Stages) -> float:
        """Return the seconds of an epoch with so many items, of so many bytes, kept after each stage.

        best: the stage of each item of the sample in the best packing. Those that are kept are taken to be like these,
        and like the others if there are more; if their mean size is another, what they save is corrected along a line
        over bytes, as in a regression estimator (Cochran, "Sampling Techniques", Wiley 1977, chapter 7).
        """
        cpu, wait = float(self.cpu.sum()), float(self.wait.sum())
        for stage, (items, nbytes) in enumerate(kept):
            if items:
                of_sample = items / self.scale
                weights = _like(best == stage, of_sample)
                cpu -= of_sample * self._saving(self._cpu_saved[:, stage], stage, weights, nbytes / items)
                wait -= of_sample * self._saving(self._wait_saved[:, stage], stage, weights, nbytes / items)
        return self._seconds(max(0.0, cpu), max(0.0, wait))

    def _saving(self, saved: Floats, stage: int, weights: Floats, mean_bytes: float) -> float:
        """Return what an item of so many bytes after a stage saves, if it is one of the sample by these weights."""
        sizes = self.sizes[:, stage]
        spread = sizes - sizes.mean()
        varies = float(spread @ spread)
        slope = max(0.0, float(spread @ saved) / varies) if varies > 0 else 0.0
        return max(0.0, float(weights @ saved) + slope * (mean_bytes - float(weights @ sizes)))

    def epoch_price(self, prices: Prices) -> float:
        """Return a price in seconds of an epoch per byte: what a byte more of the budget saves."""
        processors, reads, overlapped = self.concurrency
        return prices.price / (prices.cpu * processors + prices.wait * reads) if overlapped else prices.price

    def bytes_after(self, stage: int) -> float:
        """Return the bytes of all items after a stage."""
        return float(self.sizes[:, stage].sum()) * self.scale

    def prices(self, budget: float) -> Prices:
        """Return by what is decided where an item is kept, if so many bytes are there for all items, told apart."""
        sizes = self._sizes_up_to(budget)
        cpu, wait = self._weights(sizes, budget / self.scale)
        lots = np.arange(len(sizes)) * _GOLDEN % 1.0  # spread evenly
        savings = (cpu * self._cpu_saved + wait * self._wait_saved) * apart(lots)[:, None]
        return Prices(cpu, wait, price_of(sizes, savings, budget / self.scale))

    def best(self, budget: float) -> Best:
        """Return the best packing of a budget in bytes."""
        share, sizes = budget / self.scale, self._sizes_up_to(budget)
        processors, reads, overlapped = self.concurrency
        if overlapped:
            cpu, wait = np.maximum(self.cpu, 0.0), np.maximum(self.wait, 0.0)
            packed = pack_overlap(sizes, cpu, wait, share, processors=processors, reads_in_flight=reads)
            prices = Prices(packed.weight, 1 - packed.weight, packed.packing.price)
            return Best(packed.packing.stage, prices, packed.bound_s * self.scale, packed.limit)
        weights = self._weights(sizes, share)
        packing = pack(sizes, weights[0] * self._cpu_saved + weights[1] * self._wait_saved, share)
        return Best(packing.stage, Prices(*weights, packing.price), self.epoch_s() - packing.bound * self.scale, "both")

    def _sizes_up_to(self, budget: float) -> Floats:
        """Return the bytes after each stage, inf where an item alone exceeds the budget."""
        return np.where(self.sizes <= budget, self.sizes, np.inf)

    def _weights(self, sizes: Floats, share: float) -> tuple[float, float]:
        processors, reads, overlapped = self.concurrency
        if not overlapped:
            return 1 / processors, 1 / reads
        packed = pack_overlap(sizes, self.cpu, self.wait, share, processors=processors, reads_in_flight=reads)
        cpu_s, wait_s = packed.weight * processors, (1 - packed.weight) * reads
        share = min(max(cpu_s / (cpu_s + wait_s), _LEAST_SHARE), 1 - _LEAST_SHARE)
        return share / processors, (1 - share) / reads

    def _seconds(self, cpu: float, wait: float) -> float:
        cpu, wait = cpu / self.concurrency.processors, wait / self.concurrency.reads
        return self.scale * (max(cpu, wait) if self.concurrency.overlapped else cpu + wait)


def _like(chosen: NDArray[np.bool_], items: float) -> Floats:
    """Return how often each item of the sample stands for one of so many, of which the chosen ones come first."""
    first = int(chosen.sum())
    share = 0.0 if not first else 1.0 if first == len(chosen) else min(1.0, first / items)
    return np.where(chosen, share / max(first, 1), (1 - share) / max(len(chosen) - first, 1))


def saved_seconds(seconds: Floats, stage: Stages) -> float:
    """Return the sum of what items save that are kept at a stage. seconds: of each stage, (items, stages)."""
    return float(at_stage(seconds.cumsum(axis=1), stage).sum())
