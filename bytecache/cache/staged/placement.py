"""After which stage each item of a pipeline is kept: decided item by item, by a rule that follows the measurements."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Sequence
from statistics import NormalDist
from time import perf_counter

import numpy as np

from ...planning.cost_model import Floats
from ...planning.workload import Below, Workload
from .measurements import Costs, Measurements
from .partition import StagedPartition, Usage
from .rule import HasRoom, Rule
from .seen import Seen

# After so many runs the rule is made anew, or after this share of the items in the first epoch, and in later ones;
# before, each time there are twice as many.
_MOST_RUNS, _SHARE_FILLING, _SHARE_LATER = 16, 1 / 64, 1 / 16
# How many times as long as it took to make a rule none is made, after so many runs.
_PAUSE_FILLING, _PAUSE_LATER, _FIRST_RUNS = 10, 50, 64
_PRICED = 256  # items by which the price is set, in a few milliseconds
_LEFT_OVER = 0.005  # of the budget: less than that is not worth a lower price
_FEWEST_TO_COME, _SHARE_TO_COME = 16, 1 / 64  # items: for fewer the price would be an accident
_LEAST, _SUREST = 0.1, 0.98  # shares: of a budget that is counted on, and of the cases in which that must be right
_FEWEST_AGAIN, _SHARE_AGAIN = 8, 1 / 64  # calls for known items that show that an epoch has ended, and their share


class Placement:
    """Decides after which stage an item is kept. Safe for threads.

    An item moves to the last stage whose step on its hull saves at least the price (see planning.knapsack). While items
    come for the first time, the price is that at which those that are still to come take what is left of the budget;
    later that of the whole budget. If what is worth less makes room, it is the lower one of both in the first epoch, as
    too much is no harm. But more than the densest stage of an item is kept only if the others surely need no room for
    theirs, since what makes room is missing until it comes again.

    Several tiers have one price, see Workload.prices; until it is known what the lower ones take, each item is kept
    after its densest stage.

    items: how many there are; None: as many as have come when some come again. partition: what the cache has done, and
    whether what is worth less makes room. seen: the items that were read, if all are by this process. exchange: tells
    other processes what was measured, and asks what they have.
    """

    def __init__(
        self,
        measured: Measurements,
        items: int | None,
        partition: StagedPartition,
        seen: Seen | None = None,
        exchange: Callable[[Measurements], None] | None = None,
    ) -> None:
        self._measured, self._partition, self._seen, self._exchange = measured, partition, seen, exchange
        self.items, self._is_given = items, items is not None
        self.rule: Rule | None = None
        self._runs, self._next = 0, 1
        self._pause, self._pause_until = _PAUSE_FILLING, 0.0
        self._looking = threading.Lock()  # one thread makes the rule at a time, and none waits for it
        self._extra, self._epoch = 0.0, 0  # bytes that prices left unused in epochs before; epochs that ended

    def choose(self, sizes: Sequence[float], at: int, lot: int, has_room: HasRoom) -> int:
        """Return the stage after which an item is to be kept; see :meth:`Rule.choose`."""
        self._runs += 1  # one that is lost changes nothing
        if self._runs >= self._next and perf_counter() >= self._pause_until and self._looking.acquire(blocking=False):
            began = perf_counter()
            try:
                self._make_rule()
            finally:
                if self._runs > _FIRST_RUNS:
                    self._pause_until = perf_counter() + self._pause * (perf_counter() - began)
                self._looking.release()
        rule = self.rule
        if rule is None and self._measured.items:  # another thread makes the first one
            rule = Rule(self._measured.costs(), None)
        return at if rule is None else rule.choose(sizes, at, lot, has_room)

    def ask_others(self) -> None:
        """Take over what other processes have measured, if that is more, and tell them what this one has."""
        if self._exchange is not None:
            self._exchange(self._measured)

    def after_fork_in_child(self) -> None:
        """Take locks that no thread has."""
        self._looking = threading.Lock()
        self._measured.after_fork_in_child()

    def _make_rule(self) -> None:
        self.ask_others()
        if not self._measured.items:  # all that this process was asked for had been kept
            self._next = 2 * self._runs
            return
        costs, usage = self._measured.costs(), self._partition.usage()
        if not self._is_given:
            self.items = self._items_seen(usage)
        filling = self.items is None or usage.calls < self.items
        most = max(_MOST_RUNS, (self.items or self._measured.items) * (_SHARE_FILLING if filling else _SHARE_LATER))
        self._next = self._runs + int(min(self._runs, most))
        self._pause = _PAUSE_FILLING if filling else _PAUSE_LATER
        self._measured.sampling = self.items is None or usage.stored + usage.rejected < self.items
        if self.items is None or usage.below is None:
            self.rule = Rule(costs, None)
            return
        workload = self.workload(costs, self.items, _PRICED)
        budget, sure, there = self._budgets(workload, usage)
        prices = workload.prices(budget, _tiers_within(there, usage, usage.below))
        self._partition.use_price(prices.price)
        self.rule = Rule(costs, prices, workload.prices(sure).price if sure < budget else 0.0)

    def _budgets(self, workload: Workload, usage: Usage) -> tuple[float, float, float]:
        """Return the bytes by which to set the price, as if they were there for all items, those to count on, and how
        many of the first are there: what earlier prices have left unused is not.
        """
        items, whole = workload.items, usage.used + usage.left
        to_come = max(1, items - usage.reads)
        rest, is_filling = usage.left / to_come * items, usage.calls < items
        if to_come < max(_FEWEST_TO_COME, items * _SHARE_TO_COME):
            rest = 0.0
        if is_filling and self._partition.makes_room:
            error = _caution(workload) * _error(workload.sizes[:, 0], to_come)
            sure = max(whole * max(_LEAST, 1 - error / items), rest * max(_LEAST, 1 - error / to_come))
            return max(whole, rest), sure, max(whole, rest)
        if is_filling and rest:
            return rest, rest, rest
        budget = whole + self._unused(items, usage)
        return budget, budget, whole

    def _unused(self, items: int, usage: Usage) -> float:
        """Return how many bytes of the budget prices have left unused, in all epochs since the last clear."""
        epoch, whole = usage.calls // items, usage.used + usage.left
        if epoch < self._epoch:
            self._extra = 0.0
        elif epoch > max(self._epoch, 1) and usage.left > _LEFT_OVER * whole:
            self._extra += usage.left
        self._epoch = epoch
        return self._extra

    def _items_seen(self, usage: Usage) -> int | None:
        """Return the number of items of an epoch if some have come again, or that was known before; None if not."""
        if self._seen is None:
            return self.items or _items_estimated(usage)
        seen = self._seen.count()
        return seen if usage.calls - seen >= max(_FEWEST_AGAIN, seen * _SHARE_AGAIN) else self.items

    def workload(self, costs: Costs, items: int, *most: int) -> Workload:
        """Return an epoch over so many items, like those that were measured, or like `most` of these."""
        sizes = self._measured.sizes(*most)
        return Workload(sizes, *costs.of_sample(sizes), items, self._measured.concurrency())


def _tiers_within(budget: float, usage: Usage, below: Sequence[Below]) -> list[Below]:
    """Return tiers as they are if all together are so many bytes."""
    whole = usage.used + usage.left
    factor = budget / whole if 0 < whole < math.inf else 1.0
    return [tier._replace(above=factor * tier.above) for tier in below]


def _caution(workload: Workload) -> float:
    """Return how many standard errors to be on the safe side before more than an item's densest stage is kept.

    If there is room after all, that costs once what the later stages save; if there is none, what makes room costs once
    what the densest stage saves. So be right as often as the second is of both (the newsvendor's critical ratio: Arrow,
    Harris and Marschak, "Optimal inventory policy", Econometrica 19, 1951).
    """
    saved = (workload.cpu + workload.wait).mean(axis=0).cumsum()
    densest = saved[int(np.argmax(saved / np.maximum(workload.sizes.mean(axis=0), 1.0)))]
    if saved[-1] <= 0:
        return 0.0
    return max(0.0, NormalDist().inv_cdf(min(max(densest / saved[-1], 0.5), _SUREST)))


def _error(sizes: Floats, to_come: int) -> float:
    """Return the standard error of the bytes of so many items, by a sample of others: in items of mean size."""
    mean = float(sizes.mean())
    spread = float(sizes.std()) / mean if len(sizes) > 1 and mean > 0 else 1.0
    return spread * math.sqrt(to_come + to_come**2 / len(sizes))


def _items_estimated(usage: Usage) -> int | None:
    """Return the number of items of an epoch if some have come again; None if not.

    Of those that came again, some were read again, since they were not kept: they count once.
    """
    if usage.again < max(_FEWEST_AGAIN, usage.reads * _SHARE_AGAIN):
        return None
    return max(1, round(usage.reads - usage.again * usage.rejected / max(usage.stored, 1)))
