"""How many runs of a pipeline's stages are under way at a time."""

from __future__ import annotations

import math
from typing import Any, TypeAlias

import numpy as np

from ...planning.workload import Concurrency

_LAST = 512  # runs, and calls, that tell what is usual now
_SHORTEST_S = 1e-9
_Floats: TypeAlias = "np.ndarray[Any, np.dtype[np.float64]]"


class Activity:
    """When the last runs of stages began and ended, and the calls that run them. Its user has a lock.

    The mean number of runs at a time is the sum of their seconds divided by the seconds during which there was any
    (Little, "A proof for the queuing formula L = λW", Operations Research 9, 1961). Seconds of calls in which no stage
    runs are what the keys take beside their stages.
    """

    def __init__(self) -> None:
        self._runs, self._calls = np.empty((_LAST, 3)), np.empty((_LAST, 3))  # stage or keys, began, ended
        self._n_runs = self._n_calls = 0  # the last one is at this number less 1, modulo _LAST
        self._is_first = True  # call

    def add_run(self, stage: int, began: float, ended: float) -> None:
        """Take note of a run. began, ended: seconds of a clock."""
        self._runs[self._n_runs % _LAST] = stage, began, ended
        self._n_runs += 1

    def add_call(self, keys: int, began: float, ended: float) -> None:
        """Take note of a call for so many keys; of none if it is a part of another one."""
        if not keys:
            return
        if self._is_first:  # it starts threads, and what else is made on use
            self._is_first = False
        else:
            self._calls[self._n_calls % _LAST] = keys, began, ended
            self._n_calls += 1

    def concurrency(self) -> Concurrency:
        """Return how much is done at a time, and what a key takes beside that."""
        stages, runs = _columns(self._runs[: self._n_runs])
        known_from = runs[:, 1].min() if len(runs) == _LAST else -math.inf  # earlier runs may be forgotten
        runs = np.maximum(runs, known_from)
        reading, computing = runs[stages == 0], runs[stages > 0]
        either_s = _covered(runs)
        shorter, longer = sorted((_covered(reading), _covered(computing)))
        hidden = (shorter + longer - either_s) / shorter if shorter else 0.0
        keys, calls = _columns(self._calls[: self._n_calls])
        keys, calls = keys[calls[:, 1] > known_from], calls[calls[:, 1] > known_from]
        known = np.maximum(calls, known_from)
        keys = (keys * _lengths(known) / np.maximum(_lengths(calls), _SHORTEST_S)).sum()
        beside = (_covered(np.concatenate([runs, known])) - either_s) / keys if keys else 0.0
        return Concurrency(
            _at_a_time(computing), _at_a_time(reading), min(1.0, max(0.0, hidden)), max(0.0, float(beside))
        )


def _columns(noted: _Floats) -> tuple[_Floats, _Floats]:
    """Return the numbers in front, (n,), and from when to when, (n, 2)."""
    return noted[:, 0], noted[:, 1:]


def _lengths(intervals: _Floats) -> _Floats:
    lengths: _Floats = intervals[:, 1] - intervals[:, 0]
    return lengths


def _at_a_time(intervals: _Floats) -> float:
    covered = _covered(intervals)
    return float(_lengths(intervals).sum()) / covered if covered else 1.0


def _covered(intervals: _Floats) -> float:
    """Return the length of what the intervals, from and to, (n, 2), cover together."""
    if not len(intervals):
        return 0.0
    began, ended = intervals[np.argsort(intervals[:, 0])].T
    until = np.maximum.accumulate(ended)
    pauses = np.maximum(0.0, began[1:] - until[:-1]).sum()
    return float(until[-1] - began[0] - pauses)
