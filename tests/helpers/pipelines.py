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


def two_stages(items: int, seed: int = 0) -> Work:
    """Return a read and a decode that makes eight times as many bytes."""
    nbytes = log_normal(items, 4000, seed=seed)
    return Work(np.stack([nbytes, 8 * nbytes], 1), np.stack([5e-4 + 2e-8 * nbytes, 8e-8 * nbytes], 1))


def three_stages(items: int, seed: int = 0) -> Work:
    """Return the same, and a stage that makes all of one size."""
    work = two_stages(items, seed)
    nbytes = work.nbytes[:, 0]
    sizes, seconds = np.full(items, 6000), 6e-8 * nbytes
    return Work(np.column_stack([work.nbytes, sizes]), np.column_stack([work.seconds, seconds]))


def equal_items(items: int, seed: int = 0) -> Work:
    """Return items between which there is nothing to choose."""
    sizes, seconds = np.full(items, 3000), np.full(items, 5e-4)
    return Work(np.stack([sizes, 4 * sizes], 1), np.stack([seconds, seconds / 2], 1))


def few_huge(items: int, seed: int = 0) -> Work:
    """Return items of one size but for a few, which are a hundred times as large."""
    nbytes = np.full(items, 2000)
    nbytes[:: items // 5] *= 100
    return Work(np.stack([nbytes, 4 * nbytes], 1), np.stack([5e-4 + 1e-8 * nbytes, 4e-8 * nbytes], 1))


def free_stage(items: int, seed: int = 0) -> Work:
    """Return a read and a stage that takes next to no time."""
    work = two_stages(items, seed)
    work.seconds[:, 1] = 0.0
    return work


def steep_read(items: int, seed: int = 0) -> Work:
    """Return a read whose time grows with the bytes, and a stage that makes all of one size."""
    nbytes = log_normal(items, 4000, seed=seed)
    sizes, seconds = np.full(items, 6000), 5e-4 + 2.5e-7 * nbytes
    return Work(np.stack([nbytes, sizes], 1), np.stack([seconds, 1e-7 * nbytes], 1))
