"""An epoch over a data set, as far as a sample of its items tells: what it costs, and what keeping items saves."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from .cost_model import Floats
from .knapsack import Stages, at_stage, pack, price_of
from .overlap import pack_overlap

_SPREAD, _GOLDEN = 0.1, (5**0.5 - 1) / 2
_LEAST_WEIGHT = 0.01  # of what does not limit: if there is room, it is worth saving too


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

    def kept_s(self, items: Sequence[int], best: Stages) -> float:
        """Return the seconds of an epoch with so many items kept after each stage.

        best: the stage of each item of the sample in the best packing: those that are kept are taken to be like these.
        """
        cpu, wait = float(self.cpu.sum()), float(self.wait.sum())
        for stage, count in enumerate(items):
            like = best == stage
            like = like if like.any() else np.ones(len(best), bool)
            cpu -= float(self._cpu_saved[like, stage].mean()) * count / self.scale
            wait -= float(self._wait_saved[like, stage].mean()) * count / self.scale
        return self._seconds(max(0.0, cpu), max(0.0, wait))

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
        weight = min(max(packed.weight, _LEAST_WEIGHT), 1 - _LEAST_WEIGHT)
        return weight, 1 - weight

    def _seconds(self, cpu: float, wait: float) -> float:
        cpu, wait = cpu / self.concurrency.processors, wait / self.concurrency.reads
        return self.scale * (max(cpu, wait) if self.concurrency.overlapped else cpu + wait)
