"""An epoch over a data set, as far as a sample of its items tells: what it costs, and what keeping items saves."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .cost_model import Floats
from .knapsack import Stages, at_stage, pack, price_of
from .overlap import OverlapPacking, pack_overlap

_SPREAD, _GOLDEN = 0.1, (5**0.5 - 1) / 2
_LEAST_SHARE = 0.25  # of what does not limit: it must not come to limit, if fewer reads are under way at a time


def apart(lot: Any) -> Any:
    """Return by what to multiply the savings of an item, to tell it apart from others that are like it.

    lot: of each item, at random from 0 to 1, a number or an array. Of equal items none would be worth the price, or
    all; so those go first that draw more.
    """
    return 1.0 + _SPREAD * (lot - 0.5)


class Concurrency(NamedTuple):
    """How much of an epoch's work is done at a time.

    reads: how many first stages run at a time; processors: how many of the later ones. overlapped: how much of the
    shorter of both the longer one hides, 0 to 1: at 1 an epoch takes the longer one, at 0 their sum. beside_s: seconds
    per item beside that, in which nothing runs: what also an item costs that is kept.
    """

    processors: float = 1.0
    reads: float = 1.0
    overlapped: float = 0.0
    beside_s: float = 0.0


class Prices(NamedTuple):
    """What decides where an item is kept: what a second of computing and one of reading count, and what a byte costs.

    price: in such seconds per byte, see :func:`bytecache.planning.knapsack.stage_at`.
    """

    computing: float
    reading: float
    price: float


class Below(NamedTuple):
    """A tier below others. above: the bytes of room in these; get_s: the seconds in which a byte of it is got."""

    above: float
    get_s: float


class Best(NamedTuple):
    """The best packing of a budget: the stage of each item of the sample, -1 for none; the seconds of an epoch that
    another byte saves; what an epoch takes at the least; and what limits that: "cpu", "waiting" or "both".
    """

    stage: Stages
    price: float
    bound_s: float
    limit: str


class Workload:
    """An epoch over `items` items, of which some were measured.

    sizes: bytes after each stage; cpu, wait: seconds of CPU time and of waiting of each stage; float (n, stages), of
    the n items that were measured. Reading is what the first stage takes. What a later one waits for counts as
    computing, since it holds its place meanwhile. No state: safe for threads.
    """

    def __init__(self, sizes: Floats, cpu: Floats, wait: Floats, items: int, concurrency: Concurrency) -> None:
        self.sizes, self.cpu, self.wait, self.items, self.concurrency = sizes, cpu, wait, items, concurrency
        self.scale = items / len(sizes)
        self._computing, self._reading = split(cpu, wait)
        self._computing_saved, self._reading_saved = self._computing.cumsum(axis=1), self._reading.cumsum(axis=1)

    def epoch_s(self, stage: Stages | None = None) -> float:
        """Return the seconds of an epoch in which each item of the sample is kept at a stage; None: nothing is."""
        computing, reading = float(self._computing.sum()), float(self._reading.sum())
        if stage is not None:
            computing -= float(at_stage(self._computing_saved, stage).sum())
            reading -= float(at_stage(self._reading_saved, stage).sum())
        return self._seconds(computing, reading)

    def fill_once_s(self, stage: int, budget: float) -> float:
        """Return the seconds of an epoch if what comes first is kept after one stage, as much as fits."""
        share = min(1.0, budget / max(self.bytes_after(stage), 1.0))
        computing = float(self._computing.sum() - share * self._computing_saved[:, stage].sum())
        return self._seconds(computing, float(self._reading.sum() - share * self._reading_saved[:, stage].sum()))

    def saved_s(self, computing: float, reading: float) -> float:
        """Return the seconds of an epoch that is saved so many of computing and of reading."""
        pairs = (self._computing, computing), (self._reading, reading)
        left = (total.sum() - saved / self.scale for total, saved in pairs)
        return self._seconds(*(max(0.0, float(seconds)) for seconds in left))

    def kept_s(self, kept: Sequence[tuple[int, float]], best: Stages) -> float:
        """Return the seconds of an epoch with so many items, of so many bytes, kept after each stage.

        best: the stage of each item of the sample in the best packing. Those that are kept are taken to be like these,
        and like the others if there are more; if their mean size is another, what they save is corrected along a line
        over bytes, as in a regression estimator (Cochran, "Sampling Techniques", Wiley 1977, chapter 7).
        """
        computing, reading = float(self._computing.sum()), float(self._reading.sum())
        for stage, (items, nbytes) in enumerate(kept):
            if items:
                of_sample = items / self.scale
                weights = _like(best == stage, of_sample)
                computing -= of_sample * self._saving(self._computing_saved[:, stage], stage, weights, nbytes / items)
                reading -= of_sample * self._saving(self._reading_saved[:, stage], stage, weights, nbytes / items)
        return self._seconds(max(0.0, computing), max(0.0, reading))

    def _saving(self, saved: Floats, stage: int, weights: Floats, mean_bytes: float) -> float:
        """Return what an item of so many bytes after a stage saves, if it is one of the sample by these weights."""
        sizes = self.sizes[:, stage]
        spread = sizes - sizes.mean()
        varies = float(spread @ spread)
        slope = max(0.0, float(spread @ saved) / varies) if varies > 0 else 0.0
        return max(0.0, float(weights @ saved) + slope * (mean_bytes - float(weights @ sizes)))

    def bytes_after(self, stage: int) -> float:
        """Return the bytes of all items after a stage."""
        return float(self.sizes[:, stage].sum()) * self.scale

    def prices(self, budget: float, below: Sequence[Below] = ()) -> Prices:
        """Return by what is decided where an item is kept, if so many bytes are there for all items, told apart.

        below: the tiers under the first, which are slower from one to the next. What is kept takes the fastest bytes
        first, whichever items have them, so only the bytes of all count, and one price is right for all tiers: that
        at which what is worth keeping meets room that is worth using, a supply whose cost rises from tier to tier.
        """
        sizes = self._sizes_up_to(budget)
        computing, reading = self._weights(sizes, budget / self.scale)
        lots = np.arange(len(sizes)) * _GOLDEN % 1.0  # spread evenly
        savings = (computing * self._computing_saved + reading * self._reading_saved) * apart(lots)[:, None]
        prices = [price_of(sizes, savings, budget / self.scale)]
        prices += [min(tier.get_s, price_of(sizes, savings, tier.above / self.scale)) for tier in below if tier.get_s]
        return Prices(computing, reading, max(prices))

    def best(self, budget: float) -> Best:
        """Return the best packing of a budget in bytes.

        If a part of the shorter time is hidden, its seconds lie between those of a sum and of the longer one, and so
        does the bound; the packing is that by the weights in between.
        """
        share, sizes = budget / self.scale, self._sizes_up_to(budget)
        processors, reads, overlapped, beside_s = self.concurrency
        serial = self._computing_saved / processors + self._reading_saved / reads
        packing, price, limit = pack(sizes, serial, share), 0.0, "both"
        total = self._computing.sum() / processors + self._reading.sum() / reads
        stage, bound_s = packing.stage, (1 - overlapped) * (float(total) - packing.bound)
        if overlapped:
            packed = self._pack_overlap(sizes, share)
            limit, bound_s = packed.limit, bound_s + overlapped * packed.bound_s
            scale = packed.weight * processors + (1 - packed.weight) * reads
            price = overlapped * packed.packing.price / scale
            stage = min(stage, packed.packing.stage, key=lambda stage: self.epoch_s(stage))
        bound_s = bound_s * self.scale + beside_s * self.items
        return Best(stage, (1 - overlapped) * packing.price + price, bound_s, limit)

    def _sizes_up_to(self, budget: float) -> Floats:
        """Return the bytes after each stage, inf where an item alone exceeds the budget."""
        return np.where(self.sizes <= budget, self.sizes, np.inf)

    def _weights(self, sizes: Floats, share: float) -> tuple[float, float]:
        """Return what a second of computing and one of reading count: as seconds of an epoch, up to a factor."""
        processors, reads, overlapped, _ = self.concurrency
        if not overlapped:
            return 1 / processors, 1 / reads
        packed = self._pack_overlap(sizes, share)
        computing, reading = packed.weight * processors, (1 - packed.weight) * reads
        least = max(_LEAST_SHARE, (1 - overlapped) / (2 - overlapped))  # the shorter time counts as far as it shows
        part = min(max(computing / (computing + reading), least), 1 - least)
        return part / processors, (1 - part) / reads

    def _pack_overlap(self, sizes: Floats, share: float) -> OverlapPacking:
        processors, reads, *_ = self.concurrency
        times = self._computing, self._reading
        return pack_overlap(sizes, *times, share, processors=processors, reads_in_flight=reads)

    def _seconds(self, computing: float, reading: float) -> float:
        processors, reads, overlapped, beside_s = self.concurrency
        shorter, longer = sorted((computing / processors, reading / reads))
        return self.scale * (longer + (1 - overlapped) * shorter) + self.items * beside_s


def split(cpu: Floats, wait: Floats) -> tuple[Floats, Floats]:
    """Return the seconds of computing and of reading of each stage, as Workload counts them, float (items, stages)."""
    reads = np.arange(cpu.shape[1]) == 0
    return np.where(reads, 0.0, cpu + wait), np.where(reads, cpu + wait, 0.0)


def _like(chosen: NDArray[np.bool_], items: float) -> Floats:
    """Return how often each item of the sample stands for one of so many, of which the chosen ones come first."""
    first = int(chosen.sum())
    share = 0.0 if not first else 1.0 if first == len(chosen) else min(1.0, first / items)
    return np.where(chosen, share / max(first, 1), (1 - share) / max(len(chosen) - first, 1))


def saved_seconds(seconds: Floats, stage: Stages) -> float:
    """Return the sum of what items save that are kept at a stage. seconds: of each stage, (items, stages)."""
    return float(at_stage(seconds.cumsum(axis=1), stage).sum())
