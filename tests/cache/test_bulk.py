"""map and warm of a cache in memory: their contract, and what only a cache in memory does."""

from __future__ import annotations

import os
import threading
from typing import Any

import numpy as np
import pytest
from contracts.bulk import BulkContract
from helpers.counting import counting
from helpers.processes import in_child
from helpers.threads import PATIENCE_S, start

import bytecache


@pytest.fixture
def decorate(in_memory: Any) -> Any:
    """What the contract is run over."""
    return in_memory


class TestBulk(BulkContract):
    """fill_once and lru_cache in memory."""

    @pytest.mark.parametrize("options", [{}, {"maxsize": 2}, {"maxsize": 0}, {"maxbytes": 1}])
    def test_map_runs_duplicates_once(self, in_memory: Any, threads: Any, options: dict[str, int]) -> None:
        """A key that comes again gets the same object and counts as a hit, even if nothing fits."""
        f, ran = counting(in_memory(**options), lambda x: [x])
        keys = [1, 2, 1, 3, 4, 3, 1]
        values = f.map(keys, threads)
        assert values == [[key] for key in keys]
        assert values[0] is values[2] is values[6]
        assert sorted(ran) == [1, 2, 3, 4]
        assert f.cache_info()[:2] == (3, 4)


def test_an_unhashable_key_reads_nothing(in_memory: Any) -> None:
    """A list among the keys is a TypeError before any read."""
    f, ran = counting(in_memory())
    with pytest.raises(TypeError, match="unhashable"):
        f.map([1, [2]])
    assert ran == []


def test_arrays_from_map_are_read_only(in_memory: Any) -> None:
    """map returns what the cache stores, arrays read-only."""
    f, _ = counting(in_memory(), lambda x: np.full(3, x))
    for array in f.map([1, 2]):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 9


def test_lru_map_of_more_than_fits() -> None:
    """lru_cache keeps the last keys of a map that is larger than the cache."""
    f, ran = counting(bytecache.lru_cache(maxsize=2), lambda x: [x])
    assert f.map([1, 2, 3, 1], threads=1) == [[1], [2], [3], [1]]
    assert (ran, f.cache_info()) == ([1, 2, 3], (1, 3, 2, 2))


@pytest.mark.parametrize("options", [{"maxsize": 3}, {"maxbytes": 35, "sizeof": lambda value: 10}])
def test_warm_stops_when_the_cache_is_full(in_memory: Any, options: Any) -> None:
    """No key is read once another value of the mean size would not fit; the remaining keys are not even drawn."""
    f, ran = counting(in_memory(**options), lambda x: [x])
    keys = iter(range(100))
    assert f.warm(keys, threads=1).currsize == 3
    assert ran == [0, 1, 2]
    assert next(keys) == 4
    assert f.warm(range(50, 60)).misses == 3


def test_the_pool_survives_a_fork(in_memory: Any) -> None:
    """A forked child has helpers of its own, even if it is forked in the middle of a bulk read."""
    inside = threading.Barrier(3)

    @in_memory()
    def f(key: Any) -> Any:
        if key in ("b", "c"):
            inside.wait(PATIENCE_S)
        return os.getpid(), threading.get_ident()

    def map_in_child() -> Any:
        inside_child = threading.Barrier(4)
        g = in_memory()(lambda key: (inside_child.wait(PATIENCE_S), os.getpid())[1])
        return set(g.map(range(4), threads=4)) == {os.getpid()}

    f.map(["a", "d"], threads=2)
    assert in_child(map_in_child) is True
    read = start(lambda: f.map(["b", "c"], threads=2))
    assert in_child(map_in_child) is True
    inside.wait(PATIENCE_S)
    assert {one for one, _ in read()} == {os.getpid()}
