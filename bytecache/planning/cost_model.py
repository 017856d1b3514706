"""What each stage of a pipeline costs, as straight lines over bytes: fitted to measurements, or given."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats: TypeAlias = NDArray[np.float64]

_GROUPS, _WIDEST = 8, 2  # of measurements, whose medians stand for them; how many times as large the last one may be
_OUTLIERS = 0.05  # of the measurements: the first of a kind, pauses of a machine
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
    again the median, in which those count more that are further apart and stand for more (Sievers, "Weighted rank
    statistics for simple linear regression", Journal of the American Statistical Association 73, 1978). nbytes,
    seconds: of each measurement, float (n,), n > 0.
    """
    x, y = np.asarray(nbytes, np.float64), np.asarray(seconds, np.float64)
    groups = _groups(x)
    points = [(float(np.median(x[group])), float(np.median(y[group])), len(group)) for group in groups]
    pairs = [(one, other) for one, other in itertools.combinations(points, 2) if other[0] > one[0]]
    slopes = [(y1 - y0) / (x1 - x0) for (x0, y0, _), (x1, y1, _) in pairs]
    slope = max(0.0, _median(slopes, [(x1 - x0) * min(n0, n1) for (x0, _, n0), (x1, _, n1) in pairs]))
    counts = [count for *_, count in points]
    at_zero = _median([y0 - slope * x0 for x0, y0, _ in points], counts)
    if at_zero >= 0:
        return Line(at_zero, slope)
    return Line(0.0, _median([y0 / max(x0, 1.0) for x0, y0, _ in points], counts))


def _groups(nbytes: Floats) -> list[Any]:
    """Return the positions of measurements in groups, in the order of their bytes: an eighth of all, or those of up to
    twice as many bytes.
    """
    order = np.argsort(nbytes, kind="stable")
    most, groups, start = max(min(2, len(order) - 1), -(-len(order) // _GROUPS)), [], 0
    for end in range(1, len(order) + 1):
        is_last = end == len(order)
        if is_last or end - start == most or nbytes[order[end]] > _WIDEST * nbytes[order[start]]:
            groups.append(order[start:end])
            start = end
    return groups


def _median(values: Sequence[float], weights: Sequence[float]) -> float:
    """Return the weighted median, 0.0 of nothing."""
    if not values:
        return 0.0
    order = np.argsort(values, kind="stable")
    reached = np.cumsum(np.asarray(weights, np.float64)[order])
    return float(values[order[int(np.searchsorted(reached, reached[-1] / 2))]])


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
    return [StageCost(_fit(x[:, k], cpu[:, k]), _fit(x[:, k], wait[:, k])) for k in range(sizes.shape[1])]


def _fit(nbytes: Floats, seconds: Floats) -> Line:
    """Return a line whose sum is that of the measurements: most are below their mean."""
    line = fit_line(nbytes, seconds)
    if np.median(line.at(nbytes)) < _SHORTEST_S:
        return Line(float(_without_outliers(np.ones_like(seconds), seconds).mean()), 0.0)
    return line.times(_ratio(line.at(nbytes), seconds))


def _ratio(expected: Floats, measured: Floats) -> float:
    """Return how many times as long as expected the measurements took together."""
    expected = np.maximum(expected, _SHORTEST_S)
    return float(_without_outliers(expected, measured).sum() / expected.sum())


def _without_outliers(expected: Floats, measured: Floats) -> Floats:
    """Return the measurements, of which those that took longest by what was expected count as the longest others."""
    ratio: Floats = measured / expected
    most = np.quantile(ratio, 1 - _OUTLIERS, method="lower")
    limited: Floats = np.minimum(ratio, most) * expected
    return limited


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
        return Line(float(_without_outliers(np.ones_like(measured), measured).mean()), 0.0)
    factor = _ratio(expected, measured)
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
    functions = tuple(_as_function(one) for one in cost)
    if not any(callable(one) or one for one in cost):
        raise ValueError(f"cost must be more than 0 for one stage at least, or nothing is worth keeping, got {cost!r}")
    return functions


def _as_function(cost: Any) -> Callable[[float], float]:
    if callable(cost):
        function: Callable[[float], float] = cost
        return function
    if isinstance(cost, bool) or not isinstance(cost, (int, float)) or not 0 <= cost < float("inf"):
        raise TypeError(f"a stage's cost must be seconds, 0 or more, or a function, got {cost!r}")
    seconds = float(cost)
    return lambda nbytes: seconds
