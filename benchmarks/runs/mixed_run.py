"""Epochs over files of mixed sizes, read over HTTP, with `staged` or with a `fill_once` after one of the stages."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import reduce
from typing import Any

import numpy as np

import bytecache
from benchmarks.workloads.mixed_files import decode, resize
from bytecache.http import HttpReader

BATCH = 32
STAGED, NOTHING = "staged", "no cache"
NAMES = ("read", "decode", "resize")
Load = Callable[[Sequence[str]], Any]  # a batch


class Ways:
    """Ways to load batches from a server, each with a cache of so many bytes, to run epochs with.

    loads: functions of the paths of a batch. staged: the function behind one of them.
    """

    def __init__(self, url: str, count: int, budget: int, pool: ThreadPoolExecutor) -> None:
        reader = HttpReader(url)

        def read(path: str) -> bytes:
            (result,) = reader([path])
            if isinstance(result, Exception):
                raise result
            return result

        stages = (read, decode, resize)
        self.staged: Any = bytecache.staged(*stages, maxbytes=budget, items=count)
        self.loads: dict[str, Load] = {STAGED: self.staged.map, NOTHING: _fill_once(stages, 0, None, pool)}
        for number, name in enumerate(NAMES):
            self.loads[f"fill_once after {name}"] = _fill_once(stages, number, budget, pool)


def _fill_once(stages: Sequence[Callable[[Any], Any]], last: int, budget: int | None, pool: ThreadPoolExecutor) -> Load:
    """Keep what comes first after one stage; the stages after it run on one thread per processor."""

    def first(path: str) -> Any:
        return reduce(lambda value, stage: stage(value), stages[: last + 1], path)

    def rest(value: Any) -> Any:
        return reduce(lambda value, stage: stage(value), stages[last + 1 :], value)

    cached: Any = bytecache.fill_once(0 if budget is None else None, maxbytes=budget)(first)
    return lambda paths: list(pool.map(rest, cached.map(paths)))


def epochs(load: Load, paths: Sequence[str], seed: int) -> Callable[[], None]:
    """Return a function that loads the next epoch, in a new shuffle."""
    rng = np.random.default_rng(seed)

    def run() -> None:
        order = [paths[n] for n in rng.permutation(len(paths))]
        for start in range(0, len(order), BATCH):
            load(order[start : start + BATCH])

    return run
