"""By what is decided after which stage an item is kept: what stages cost, and the price of a byte."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from ...planning.cost_model import Floats
from ...planning.knapsack import Stages, at_stage, stage_at
from ...planning.steps import hull
from ...planning.workload import Prices, apart, split
from .measurements import Costs

_EPOCHS = 8  # after which it must have paid that an item has made room
HasRoom = Callable[[float, float, float, "Rule"], bool]


class Rule:
    """Costs and prices at one moment. prices: None while the number of items is not known.

    Then an item is kept after the stage that saves most per byte, which is right for most as long as memory is scarce.
    sure: the price for more than the stage that saves most per byte, for an item that was not kept; at least that of
    `prices`.
    """

    __slots__ = ("_costs", "_prices", "_sure")

    def __init__(self, costs: Costs, prices: Prices | None, sure: float = 0.0) -> None:
        self._costs, self._prices, self._sure = costs, prices, sure

    def choose(self, sizes: Sequence[float], at: int, lot: int, has_room: HasRoom) -> int:
        """Return the stage after which an item is to be kept; `at` if it stays where it is, -1 if it is not kept.

        sizes: bytes after each stage from `at` on, or from the first one. lot: see lot_of. has_room: whether a value of
        so many bytes fits if so many become free, and if what saves less than so many seconds per byte makes room.
        """
        factor = apart((lot & 0xFFFF) / 0x10000)
        savings = [factor * saved for saved in self._savings(sizes, at)]
        if at < 0:
            first, taken, growth = 0, 0.0, list(sizes)
        else:  # what a later stage takes more, and saves more
            first, taken = at + 1, sizes[0]
            growth, sizes = [max(0.0, size - taken) for size in sizes[1:]], sizes[1:]
        step = self._wanted(growth, savings, at)
        while step >= 0 and not has_room(sizes[step], taken, self._density(growth, savings, step), self):
            step -= 1
        return at if step < 0 else first + step

    def _wanted(self, growth: Sequence[float], savings: Sequence[float], at: int) -> int:
        """Return the stage at which an item is worth the price, if there is room; -1 if at none."""
        price = 0.0 if self._prices is None else self._prices.price
        wanted = -1 if self._prices is None else stage_at(growth, savings, price)
        if at >= 0 or (self._prices is not None and (wanted < 0 or self._sure <= price)):
            return wanted
        densest = max(range(len(growth)), key=lambda k: savings[k] / max(growth[k], 1.0))
        return densest if self._prices is None else max(densest, stage_at(growth, savings, self._sure))

    def _density(self, growth: Sequence[float], savings: Sequence[float], step: int) -> float:
        """Return the seconds per byte of the last step to a stage, the least of those from any stage before it."""
        before = [(0.0, 0.0), *zip(growth[:step], savings[:step], strict=True)]
        return min(max(0.0, savings[step] - saved) / max(growth[step] - taken, 1.0) for taken, saved in before)

    def _savings(self, sizes: Sequence[float], at: int) -> list[float]:
        """Return the weighted seconds that each stage after `at` saves, with those before it."""
        computing, reading = (1.0, 1.0) if self._prices is None else self._prices[:2]
        before, after, first = (0.0, sizes, 0) if at < 0 else (sizes[0], sizes[1:], at + 1)
        saved, savings = 0.0, []
        for stage, size in enumerate(after, first):
            saved += (computing if stage else reading) * sum(self._costs.of_run(stage, before, size))
            savings.append(saved)
            before = size
        return savings

    def worth(self, sizes: Floats, stage: Stages) -> Floats:
        """Return the seconds per byte that each kept item saves by the last step that it has taken, float (items,).

        sizes: bytes after each stage, (items, stages). stage: after which each is kept, (items,).
        """
        if self._prices is None:
            return np.full(len(sizes), np.inf)
        steps = hull(sizes, self._saved(sizes, self._prices))
        reached = (steps.after == stage[:, None]) & (steps.density > -np.inf)
        density: Floats = np.where(reached, steps.density, 0.0).max(axis=1)  # what no step leads to saves nothing
        return density

    def asked_for_room(self, sizes: Floats, stage: Stages) -> Floats:
        """Return the seconds per byte that what takes the room of each kept item must save, float (items,).

        More than the last step saves: an item that makes room is gone as a whole, and has to be read again once.
        """
        worth = self.worth(sizes, stage)
        if self._prices is None:
            return worth
        once = at_stage(self._saved(sizes, self._prices), stage) / np.maximum(at_stage(sizes, stage), 1.0)
        return worth + once / _EPOCHS

    def _saved(self, sizes: Floats, prices: Prices) -> Floats:
        """Return the weighted seconds that items save if they are kept after each stage, (items, stages)."""
        computing, reading = split(*self._costs.of_sample(sizes))
        saved: Floats = (prices.computing * computing + prices.reading * reading).cumsum(axis=1)
        return saved
