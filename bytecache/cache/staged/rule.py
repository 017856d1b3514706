"""By what is decided after which stage an item is kept: what stages cost, and the price of a byte."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from ...planning.cost_model import Floats
from ...planning.knapsack import Stages, stage_at
from ...planning.steps import hull
from ...planning.workload import Prices
from .measurements import Costs

_HYSTERESIS = 0.9  # what is kept makes room only if it saves less than this share of the price
HasRoom = Callable[[float, float, "Rule"], bool]


class Rule:
    """Costs and prices at one moment. prices: None while the number of items is not known.

    Then an item is kept after the stage that saves most per byte, which is right for most as long as memory is scarce.
    """

    __slots__ = ("_costs", "_prices")

    def __init__(self, costs: Costs, prices: Prices | None) -> None:
        self._costs, self._prices = costs, prices

    def choose(self, sizes: Sequence[float], at: int, has_room: HasRoom) -> int:
        """Return the stage after which an item is to be kept; `at` if it stays where it is, -1 if it is not kept.

        sizes: bytes after each stage from `at` on, or from the first one. has_room: whether a value of so many bytes
        fits if so many others become free.
        """
        savings = self._savings(sizes, at)
        if at < 0:
            first, taken, growth = 0, 0.0, sizes
        else:  # what a later stage takes more, and saves more
            first, taken = at + 1, sizes[0]
            growth, sizes = [max(0.0, size - taken) for size in sizes[1:]], sizes[1:]
        if self._prices is not None:
            step = stage_at(growth, savings, self._prices.price)
        else:
            step = -1 if at >= 0 else max(range(len(sizes)), key=lambda k: savings[k] / max(sizes[k], 1.0))
        while step >= 0 and not has_room(sizes[step], taken, self):
            step -= 1
        return at if step < 0 else first + step

    def _savings(self, sizes: Sequence[float], at: int) -> list[float]:
        """Return the weighted seconds that each stage after `at` saves, with those before it."""
        cpu, wait = (1.0, 1.0) if self._prices is None else self._prices[:2]
        before, after, first = (0.0, sizes, 0) if at < 0 else (sizes[0], sizes[1:], at + 1)
        saved, savings = 0.0, []
        for stage, size in enumerate(after, first):
            cpu_s, wait_s = self._costs.of_run(stage, before, size)
            saved += cpu * cpu_s + wait * wait_s
            savings.append(saved)
            before = size
        return savings

    def worth_least(self, sizes: Floats, stage: Stages) -> list[int]:
        """Return the positions of the kept items that make room for others, those that are worth least at the end.

        sizes: bytes after each stage, (items, stages). stage: after which each is kept, (items,).
        """
        if self._prices is None:
            return []
        cpu, wait = self._costs.of_sample(sizes)
        steps = hull(sizes, (self._prices.cpu * cpu + self._prices.wait * wait).cumsum(axis=1))
        reached = (steps.after == stage[:, None]) & (steps.density > -np.inf)
        density = np.where(reached, steps.density, 0.0).max(axis=1)  # what no step leads to saves nothing
        order = np.argsort(-density, kind="stable")
        found: list[int] = order[density[order] < _HYSTERESIS * self._prices.price].tolist()
        return found
