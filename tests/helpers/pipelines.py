"""Pipelines whose stages take a known time and return known bytes, and how much of it a cache saves."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

import bytecache
from bytecache.planning.knapsack import pack

Floats = NDArray[np.float64]


def log_normal(items: int, mean: float, sigma: float = 0.6, seed: int = 0) -> NDArray[np.int64]:
    """Return sizes of this mean whose logarithms are normal, int64 (items,)."""
    sizes = np.random.default_rng(seed).lognormal(0.0, sigma, items)
    return np.maximum(1, sizes * mean / sizes.mean()).astype(np.int64)


class Work:
    """Stages of known cost: the first takes a number and waits, the others compute.

    nbytes: of what each stage returns for each item, int (items, stages); the first returns bytes, the others arrays.
    seconds: what each takes, float (items, stages). slower: by how many times the first stage waits longer by now.
    """

    def __init__(self, nbytes: Any, seconds: Any) -> None:
        self.nbytes, self.seconds = np.asarray(nbytes, np.int64), np.array(seconds, np.float64)
        self.items, self.count = self.nbytes.shape
        self.runs = np.zeros((self.items, self.count), np.int64)

    def stages(self) -> list[Callable[[Any], Any]]:
        return [self.read, *(self._stage(k) for k in range(1, self.count))]

    def read(self, item: int) -> bytes:
        self.runs[item, 0] += 1
        time.sleep(self.seconds[item, 0])
        return item.to_bytes(4, "big") + bytes(int(self.nbytes[item, 0]) - 4)

    def _stage(self, k: int) -> Callable[[Any], Any]:
        def compute(value: Any) -> Any:
            item = int.from_bytes(bytes(value[:4]), "big")
            self.runs[item, k] += 1
            spin(self.seconds[item, k])
            array = np.zeros(self.nbytes[item, k], np.uint8)
            array[:4] = np.frombuffer(item.to_bytes(4, "big"), np.uint8)
            return array

        compute.__name__ = f"stage{k}"
        return compute

    # What a budget can save, and what is saved

    def sizes(self) -> Floats:
        """Return what each item takes in memory after each stage, (items, stages)."""
        headers = [bytecache.sizeof(b"")] + [bytecache.sizeof(np.zeros(0, np.uint8))] * (self.count - 1)
        return self.nbytes + np.array(headers, np.float64)

    def bound(self, budget: float) -> float:
        """Return the seconds per epoch that no cache of this budget exceeds."""
        return pack(self.sizes(), self.seconds.cumsum(axis=1), budget).bound

    def plain(self, budget: float) -> float:
        """Return the seconds per epoch that the best choice of one stage saves, if what comes first is kept."""
        savings, whole = self.seconds.cumsum(axis=1).sum(axis=0), self.sizes().sum(axis=0)
        return float((np.minimum(1.0, budget / whole) * savings).max())

    def saved(self, runs: Any) -> float:
        """Return the seconds that were saved in an epoch in which each stage ran so often for each item."""
        return float(((1 - runs) * self.seconds).sum())

    def epoch(self, ask: Callable[[list[int]], Any], seed: int) -> float:
        """Ask for each item once, in a new order; return the seconds that were saved."""
        before = self.runs.copy()
        ask(np.random.default_rng(seed).permutation(self.items).tolist())
        return self.saved(self.runs - before)


def spin(seconds: float) -> None:
    """Compute for so many seconds of CPU time."""
    until = time.thread_time() + seconds
    while time.thread_time() < until:
        pass


def one_by_one(load: Callable[[int], Any]) -> Callable[[Sequence[int]], None]:
    """Return what asks for one item after the other."""

    def ask(items: Sequence[int]) -> None:
        for item in items:
            load(item)

    return ask
