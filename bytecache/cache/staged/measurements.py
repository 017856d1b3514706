"""What the runs of a pipeline have cost so far, as this process has seen it or was told by others."""

from __future__ import annotations

import random
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from time import perf_counter, thread_time
from typing import Any

import numpy as np

from ...planning.cost_model import Floats, StageCost, fit_costs, pace, touched
from ...planning.workload import Concurrency
from ...system.collection import no_collection
from .activity import Activity

_SAMPLE = 4096  # items whose sizes are kept
_FITTED = 512  # items whose seconds are, to fit the costs to: the first ones, as later only some kinds are still read
_RECENT = 64  # runs of a stage that tell how fast it is now
_FEWEST = 8  # of these; one alone may be cold
_SHORTEST_S = 1e-6
_TOLD = 256  # items that other processes are told of
_SUMMED_UP = 128  # runs, that are added to the sums together


class Measurements:
    """Sizes and seconds of items that ran through all stages, and of the last runs of each stage.

    costs: what each stage costs by the bytes it returns, if that is given and not to be measured. Safe for threads.
    """

    def __init__(self, stages: int, costs: Sequence[Any] | None) -> None:
        self.stages, self._given = stages, costs
        self.items = 0  # that the sample was taken from
        self.sampling = True  # whether it is: once items are kept, those that are still read are of some kinds only
        self._sizes = np.empty((_SAMPLE, stages))
        self._sampled = 0
        self._seconds: list[tuple[Sequence[float], Sequence[float], Sequence[float]]] = []
        self._fitted: tuple[int, list[StageCost]] = 0, []  # to so many of these
        self._random = random.Random(0)
        self._recent: list[deque[tuple[float, float, float]]] = [deque(maxlen=_RECENT) for _ in range(stages)]
        self._lock = threading.RLock()  # guards the sums, the activity and the items
        self._cpu_s, self._wait_s = [0.0] * stages, [0.0] * stages
        # Stage, began, ended and CPU time of runs that are not in the sums. What adds one is a single call in C, which
        # needs no lock: threads that wait for one lose more time than it takes to measure.
        self._runs: deque[tuple[int, float, float, float]] = deque()
        self._cold = [True] * stages  # whether a stage has not run yet: its first run opens connections, imports, ...
        self._activity = Activity()

    @contextmanager
    def during_call(self, keys: int) -> Iterator[None]:
        """Take note of a call for so many keys; if costs are given, its time says nothing of them."""
        if self._given is not None:
            yield
            return
        began = perf_counter()
        try:
            yield
        finally:
            with self._lock:
                self._activity.add_call(keys, began, perf_counter())

    def call(self, stage: int, function: Callable[[Any], Any], argument: Any) -> tuple[Any, float, float]:
        """Return what ``function(argument)`` returns, and the seconds of CPU time and of waiting that it took.

        It is a run of the stage, for one item or several.
        """
        cpu_s, began = thread_time(), perf_counter()
        try:
            value = function(argument)
        finally:
            ended, cpu_s = perf_counter(), thread_time() - cpu_s
            self._runs.append((stage, began, ended, cpu_s))
            if len(self._runs) >= _SUMMED_UP:
                self._sum_up()
        return value, cpu_s, _waited(began, ended, cpu_s)

    def seconds(self) -> tuple[list[float], list[float]]:
        """Return the seconds of CPU time, and those of waiting, that all runs of each stage have taken."""
        self._sum_up()
        with self._lock:
            return self._cpu_s.copy(), self._wait_s.copy()

    def _sum_up(self) -> None:
        with no_collection, self._lock:  # a signal's handler may still come here a second time
            while self._runs:
                try:
                    stage, began, ended, cpu_s = self._runs.popleft()
                except IndexError:
                    return
                wait_s = _waited(began, ended, cpu_s)
                self._cpu_s[stage] += cpu_s
                self._wait_s[stage] += wait_s
                self._activity.add_run(stage, began, ended)

    def waiting_share(self) -> float:
        """Return how long most reads wait, as a multiple of what else an item takes; 0.0 if that is not known yet."""
        if len(self._recent[0]) < _FEWEST:
            return 0.0
        seconds = [np.median(list(runs), axis=0) for runs in self._recent if runs]
        wait_s, others_s = seconds[0][2], seconds[0][1] + sum(cpu + wait for _, cpu, wait in seconds[1:])
        return float(wait_s / max(others_s, _SHORTEST_S))

    def note(self, at: int, sizes: Sequence[float], cpu_s: Sequence[float], wait_s: Sequence[float]) -> None:
        """Take note of an item that has run through all stages after `at`, or from the first one if that is -1.

        sizes: the bytes after `at` and each later stage; cpu_s, wait_s: the seconds of each stage that ran.
        """
        before, after = (0.0, sizes) if at < 0 else (sizes[0], sizes[1:])
        for stage, (size, cpu, wait) in enumerate(zip(after, cpu_s, wait_s, strict=True), at + 1):
            if self._cold[stage]:
                self._cold[stage] = False
            else:
                self._recent[stage].append((before + size, cpu, wait))
            before = size
        if at < 0 and (self.sampling or not self.items):
            with self._lock:
                self._add_item_locked(tuple(sizes), tuple(cpu_s), tuple(wait_s))

    def _add_item_locked(self, sizes: Sequence[float], cpu_s: Sequence[float], wait_s: Sequence[float]) -> None:
        self.items += 1
        if self.items == 2:  # the first one was as cold as its stages
            self._seconds.clear()
        if len(self._seconds) < _FITTED:
            self._seconds.append((sizes, cpu_s, wait_s))
        if self._sampled < _SAMPLE:
            self._sizes[self._sampled] = sizes
            self._sampled += 1
        else:  # each item is as likely to be among them (Vitter, "Random sampling with a reservoir", ACM TOMS 11, 1985)
            place = self._random.randrange(self.items)
            if place < _SAMPLE:
                self._sizes[place] = sizes

    def sizes(self, most: int = _SAMPLE) -> Floats:
        """Return the bytes after each stage of a sample of the items, float (n, stages).

        Fewer are spread evenly over those in the order of their sizes, and stand for them better than a random choice.
        """
        with self._lock:
            sizes: Floats = self._sizes[: self._sampled].copy()
        if len(sizes) > most:
            places = (np.arange(most) + 0.5) * len(sizes) / most
            sizes = sizes[np.lexsort(sizes.T[::-1])[places.astype(np.intp)]]
        return sizes

    def costs(self) -> Costs:
        """Return what each stage costs now; call it once there is an item."""
        if self._given is not None:
            return Costs(given=self._given)
        with self._lock:
            seconds = self._seconds.copy()
        fitted_to, fitted = self._fitted
        if fitted_to != len(seconds) or len(seconds) < _FEWEST:
            sizes, cpu, wait = (np.array(column, np.float64) for column in zip(*seconds, strict=True))
            fitted = fit_costs(sizes, cpu, wait)
            self._fitted = len(seconds), fitted
        recent = [list(runs) for runs in self._recent]
        return Costs(
            [pace(cost, runs) if len(runs) >= _FEWEST else cost for cost, runs in zip(fitted, recent, strict=True)]
        )

    def concurrency(self) -> Concurrency:
        """Return how much is done at a time."""
        self._sum_up()
        with self._lock:
            return self._activity.concurrency()

    # What other processes are told: an array, and the number of items that it stands for.

    def export(self) -> Floats:
        """Return what others are to know, float (n, 3, stages)."""
        with self._lock:
            seconds = self._seconds[:_TOLD]  # the first ones, which are of all kinds
        return np.array(seconds, np.float64).reshape(-1, 3, self.stages)

    def adopt(self, told: Floats, items: int) -> None:
        """Take over what another process has exported, which has seen `items` items."""
        with self._lock:
            self._seconds[:0] = [(sizes, cpu_s, wait_s) for sizes, cpu_s, wait_s in told.tolist()]
            added = told[: _SAMPLE - self._sampled, 0]
            self._sizes[self._sampled : self._sampled + len(added)] = added
            self._sampled += len(added)
            self.items += items

    def after_fork_in_child(self) -> None:
        """Take a lock that no thread has; those that ran a stage are not here."""
        self._lock = threading.RLock()
        self._sum_up()
        self._activity = Activity()


def _waited(began: float, ended: float, cpu_s: float) -> float:
    return max(0.0, ended - began - cpu_s)


class Costs:
    """What each stage costs: as it was measured, or as it is given."""

    def __init__(self, measured: Sequence[StageCost] = (), given: Sequence[Any] | None = None) -> None:
        self._measured, self._given = measured, given

    def of_sample(self, sizes: Floats) -> tuple[Floats, Floats]:
        """Return the seconds of CPU time and of waiting that items take in each stage, float (n, stages)."""
        if self._given is not None:
            columns = [[cost(nbytes) for nbytes in sizes[:, k].tolist()] for k, cost in enumerate(self._given)]
            seconds = np.array(columns, np.float64).T.reshape(sizes.shape)
            waits = np.arange(sizes.shape[1]) == 0  # reading waits, the others compute
            return np.where(waits, 0.0, seconds), np.where(waits, seconds, 0.0)
        x = touched(sizes)
        cpu = np.stack([cost.cpu.at(x[:, k]) for k, cost in enumerate(self._measured)], axis=1)
        wait = np.stack([cost.wait.at(x[:, k]) for k, cost in enumerate(self._measured)], axis=1)
        return cpu, wait

    def of_run(self, stage: int, before: float, after: float) -> tuple[float, float]:
        """Return the seconds of one run of a stage that takes in and returns so many bytes."""
        if self._given is not None:
            seconds = self._given[stage](after)
            return (0.0, seconds) if stage == 0 else (seconds, 0.0)
        cost = self._measured[stage]
        return cost.cpu.at(before + after), cost.wait.at(before + after)
