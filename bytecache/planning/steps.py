"""The steps by which items move from stage to stage if a byte becomes cheaper."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray


class Steps(NamedTuple):
    """Steps up the hulls of items: of all items in order of density, (steps,), or (items, stages) by item.

    A step takes the item from the stage `before` to the stage `after`, which takes `growth` more bytes and saves `gain`
    more seconds; `density` is seconds per byte. By item, a density of -inf stands for no step.
    """

    item: NDArray[Any]
    before: NDArray[Any]
    after: NDArray[Any]
    growth: NDArray[Any]
    gain: NDArray[Any]
    density: NDArray[Any]

    def since(self, first: int) -> Steps:
        """Return the steps from a position in the order on; it shares the arrays."""
        return Steps(*(field[first:] for field in self))


def hull(sizes: NDArray[np.float64], savings: NDArray[np.float64]) -> Steps:
    """Return the steps along the upper convex hull of (0, 0) and each item's stages, (items, stages).

    From each vertex, the next is the stage in the steepest direction that saves more (Jarvis, "On the identification
    of the convex hull of a finite set of points in the plane", Information Processing Letters 2, 1973): for all items
    at once, and as many times as there are stages.
    """
    items, stages = sizes.shape
    rows = np.arange(items)
    order = np.argsort(sizes, axis=1, kind="stable")  # the first of equally steep stages is then the nearest
    sizes, savings = np.take_along_axis(sizes, order, axis=1), np.take_along_axis(savings, order, axis=1)
    at, used, saved = np.full(items, -1, np.intp), np.zeros(items), np.zeros(items)
    columns = []
    for _ in range(stages):
        with np.errstate(divide="ignore", invalid="ignore"):  # what costs no bytes has an infinite density
            slope = (savings - saved[:, None]) / (sizes - used[:, None])
        slope[savings <= saved[:, None]] = -np.inf
        best = slope.argmax(axis=1)
        density = slope[rows, best]
        found = density > -np.inf
        after = np.where(found, order[rows, best], at)
        next_used = np.where(found, sizes[rows, best], used)
        next_saved = np.where(found, savings[rows, best], saved)
        columns.append((rows, at, after, next_used - used, next_saved - saved, density))
        at, used, saved = after, next_used, next_saved
    steps = Steps(*(np.stack(column, axis=1) for column in zip(*columns, strict=True)))
    # Rounding may make the second of two steps in one line the steeper one; it must not be taken before the first.
    return steps._replace(density=np.minimum.accumulate(steps.density, axis=1))


def in_order(steps: Steps) -> Steps:
    """Return the steps of all items, (steps,), the densest first; of equal ones the first item's, in its order."""
    density = steps.density.ravel()
    order = np.argsort(-density, kind="stable")[: np.count_nonzero(density > -np.inf)]
    return Steps(*(field.ravel()[order] for field in steps))
