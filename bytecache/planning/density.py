"""Which of many items to keep if some are larger than others: those that bring most per byte."""

from __future__ import annotations

import sys

import numpy as np
from numpy.typing import ArrayLike


def largest_admitted(sizes: ArrayLike, budget: int) -> int:
    """Return the size in bytes up to which items are admitted, so that those admitted fit in `budget` bytes.

    sizes: of each item, int (items,). If a read costs the same whatever its size, each hit saves as much, and the
    smallest items are the most that fit. If it costs a + b * size seconds, one byte saves a / size + b of them: the
    smallest come first again. So one threshold decides (Dantzig, "Discrete-variable extremum problems", Operations
    Research 5(2), 1957), and at most one item more would fit. sys.maxsize if all do, -1 if none does; of items of that
    very size some may not fit.

    >>> largest_admitted([50, 10, 30, 20], budget=65)
    30
    """
    ordered = np.sort(np.asarray(sizes, dtype=np.int64))
    fitting = int(np.searchsorted(np.cumsum(ordered), budget, side="right"))
    if fitting == len(ordered):
        return sys.maxsize
    return int(ordered[fitting - 1]) if fitting else -1
