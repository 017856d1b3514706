"""What each stage of a pipeline costs, as straight lines over bytes: fitted to measurements, or given."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from statistics import median
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats: TypeAlias = NDArray[np.float64]
# Seconds of one stage by the bytes of what it returns, or the same for every item.
Cost: TypeAlias = float | Callable[[float], float]

_GROUPS = 8  # of equally many measurements, whose medians stand for them
_SHORTEST_S = 1e-6  # below that nothing is measured


class Line(NamedTuple):
    """Seconds as a straight line over bytes."""

    at_zero: float
    per_byte: float

    def at(self, nbytes: Any) -> Any:
        """Return the seconds for so many bytes, a number or an array."""
        return self.at_zero + self.per_byte * nbytes

    def times(self, factor: float) -> Line:
        """Return the line whose seconds are so many times as long."""
        return Line(self.at_zero * factor, self.per_byte * factor)


def fit_line(nbytes: ArrayLike, seconds: ArrayLike) -> Line:
    """Return a line through most of the measurements, whatever a few of them say; it never falls, nor below zero.

    Of groups of measurements of about as many bytes the medians count, and of the slopes between any two of these
    again the median (Sen, "Estimates of the regression coefficient based on Kendall's tau", Journal of the American
    Statistical Association 63, 1968). nbytes, seconds: of each measurement, float (n,), n > 0.
    """
    x, y = np.asarray(nbytes, np.float64), np.asarray(seconds, np.float64)
    order = np.argsort(x, kind="stable")
    groups = np.array_split(order, max(1, min(_GROUPS, len(x) // 2)))
    xs, ys = [float(np.median(x[group])) for group in groups], [float(np.median(y[group])) for group in groups]
    points = list(zip(xs, ys, strict=True))
    slopes = [(y1 - y0) / (x1 - x0) for (x0, y0), (x1, y1) in itertools.combinations(points, 2) if x1 > x0]
    slope = max(0.0, median(slopes)) if slopes else 0.0
    at_zero = median([y0 - slope * x0 for x0, y0 in points])
    if at_zero >= 0:
        return Line(at_zero, slope)
    return Line(0.0, median([y0 / x0 for x0, y0 in points if x0 > 0]))


class StageCost(NamedTuple):
    """What one stage costs: seconds of CPU time, and of waiting, by the bytes that go in and come out together."""

    cpu: Line
    wait: Line


def touched(sizes: Floats) -> Floats:
    """Return the bytes that each stage takes in and returns, (items, stages); the first one takes in none.

    sizes: of what each stage returns, in bytes, (items, stages).
    """
    both: Floats = sizes.copy()
    both[:, 1:] += sizes[:, :-1]
    return both


def fit_costs(sizes: Floats, cpu: Floats, wait: Floats) -> list[StageCost]:
    """Return what each stage costs, from measured items: bytes and seconds, float (items, stages)."""
    x = touched(sizes)
    return [StageCost(fit_line(x[:, k], cpu[:, k]), fit_line(x[:, k], wait[:, k])) for k in range(sizes.shape[1])]


def pace(cost: StageCost, recent: Sequence[tuple[float, float, float]]) -> StageCost:
    """Return the cost of a stage as it is now: the same lines, at the pace of its last runs.

    recent: (bytes, CPU seconds, seconds of waiting) of each. Their items may be of one kind, such as the large ones,
    which are all that is still read, so nothing but a factor can be learnt from them.
    """
    nbytes, cpu, wait = (np.array(column) for column in zip(*recent, strict=True))
    return StageCost(_paced(cost.cpu, nbytes, cpu), _paced(cost.wait, nbytes, wait))


def _paced(line: Line, nbytes: Floats, measured: Floats) -> Line:
    expected = line.at(nbytes)
    if np.median(expected) < _SHORTEST_S:
        return Line(float(np.median(measured)), 0.0)
    factor = float(np.median(measured / np.maximum(expected, _SHORTEST_S)))
    return line if 0.8 < factor < 1.25 else line.times(factor)  # near 1 it is noise


def check_costs(cost: Any, stages: int) -> tuple[Callable[[float], float], ...] | None:
    """Return a function from bytes to seconds for each stage, or None; raise TypeError or ValueError for others.

    cost: for each stage seconds, or a function from the bytes of what it returns to seconds.
    """
    if cost is None:
        return None
    if isinstance(cost, (str, bytes)) or not isinstance(cost, Sequence) or len(cost) != stages:
        raise ValueError(
            f"cost must have one entry for each of the {stages} stages, seconds or a function from the bytes of what "
            f"it returns to seconds, got {cost!r:.80}"
        )
    return tuple(_as_function(one) for one in cost)


def _as_function(cost: Any) -> Callable[[float], float]:
    if callable(cost):
        function: Callable[[float], float] = cost
        return function
    if isinstance(cost, bool) or not isinstance(cost, (int, float)) or not 0 <= cost < float("inf"):
        raise TypeError(f"a stage's cost must be seconds, 0 or more, or a function, got {cost!r}")
    seconds = float(cost)
    return lambda nbytes: seconds
