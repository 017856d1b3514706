"""Many threads and one cache in memory: every call is counted once, every key is read once."""

from __future__ import annotations

import random
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from helpers.threads import together

import bytecache

THREADS, CALLS, KEYS = 8, 200_000, 10_000


@pytest.fixture(params=[None, 1e-6], ids=["usual switching", "switching all the time"])
def switching(request: pytest.FixtureRequest) -> Iterator[None]:
    """Threads that switch as usual, or all the time."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(request.param or before)
    yield
    sys.setswitchinterval(before)


def hammer(cached: Any, calls: int = CALLS) -> None:
    """Make `calls` calls in random order from each of THREADS threads, and check the answers."""
    names = [f"/data/{key}.jpg" for key in range(KEYS)]

    def call(seed: int) -> None:
        for name in random.Random(seed).choices(names, k=calls):
            if cached(name) != name:
                raise AssertionError(name)

    assert together(*[lambda seed=seed: call(seed) for seed in range(THREADS)]) == [None] * THREADS


def test_every_call_is_counted_and_every_key_read_once(in_memory: Any, switching: None) -> None:
    """hits + misses == calls, exactly, and if everything fits the function runs once per key."""
    ran: list[str] = []

    @in_memory()
    def read(name: str) -> str:
        ran.append(name)
        return name

    hammer(read)
    assert len(ran) == len(set(ran)) == KEYS
    assert read.cache_info()[:2] == (THREADS * CALLS - KEYS, KEYS)
    stats = read.cache_stats()
    assert (stats.stored, stats.currsize, stats.errors, stats.rejected, stats.evicted) == (KEYS, KEYS, 0, 0, 0)


@pytest.mark.parametrize("decorate", [bytecache.fill_once, bytecache.lru_cache])
def test_counts_stay_exact_if_not_everything_fits(decorate: Any) -> None:
    """If half the keys fit each run is one miss, and what was stored, evicted and rejected adds up."""
    ran: list[str] = []

    @decorate(maxsize=KEYS // 2, maxbytes=10**9)
    def read(name: str) -> str:
        ran.append(name)
        return name

    hammer(read, CALLS // 10)
    stats = read.cache_stats()
    assert stats.misses == len(ran) > KEYS
    assert stats.hits + stats.misses == THREADS * CALLS // 10
    assert stats.stored + stats.rejected == stats.misses
    assert stats.currsize == stats.stored - stats.evicted == KEYS // 2
