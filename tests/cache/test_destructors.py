"""Destructors of the user's objects, which the collector runs whenever something is allocated: never under a lock."""

from __future__ import annotations

import gc
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.internals import cache_of
from helpers.threads import start, until

import bytecache


class Garbage:
    """An object in a cycle, which the collector destroys."""

    def __init__(self, destroy: Callable[[], object] = lambda: None) -> None:
        self.me, self.destroy = self, destroy

    def __del__(self) -> None:
        self.destroy()


@pytest.fixture
def collecting() -> Iterator[None]:
    """The collector runs as often as it can."""
    before = gc.get_threshold()
    gc.set_threshold(1)
    yield
    gc.set_threshold(*before)


KEYS = [str, int, lambda n: (n, str(n)), lambda n: Path(str(n)), float, lambda n: np.int64(n)]
DECORATORS = [
    pytest.param(bytecache.fill_once(), id="fill_once"),
    pytest.param(bytecache.fill_once(maxsize=50, maxbytes=20_000), id="fill_once with limits"),
    pytest.param(
        bytecache.fill_once(key=lambda key: bytecache.VersionedKey((hash(key) % 20, key))), id="fill_once of versions"
    ),
    pytest.param(bytecache.lru_cache(maxsize=50, maxbytes=20_000), id="lru_cache"),
    pytest.param(bytecache.lru_cache(maxsize=0), id="size zero"),
]


@pytest.mark.parametrize("decorate", DECORATORS)
def test_no_collection_starts_under_the_lock(decorate: Any, collecting: None) -> None:
    """Whatever is called, with keys of any kind, by several threads."""
    owned = []

    def look(phase: str, info: Any) -> None:
        owned.append(lock._is_owned())

    @decorate
    def f(key: Any) -> Any:
        Garbage()
        if key == 3:
            raise LookupError
        return [np.zeros(3)]

    def work() -> None:
        for key in KEYS:
            for n in range(100):
                try:
                    f(key(n))
                except LookupError:
                    f.cache_stats(), f.cache_info()
            f.map([key(n) for n in range(4, 30)] * 2, threads=2)
            f.warm([key(n) for n in range(4, 40)], threads=2)
            f.cache_clear()

    lock = cache_of(f).partition.lock
    gc.callbacks.append(look)
    try:
        others = [start(work) for _ in range(2)]
        work()
        assert [other() for other in others] == [None, None]
    finally:
        gc.callbacks.remove(look)
    assert len(owned) > 1000 and not any(owned)


@pytest.mark.parametrize("threshold", [None, 1])
def test_a_destructor_may_wait_for_a_thread_that_calls_the_cache(in_memory: Any, threshold: int | None) -> None:
    """A destructor that needs a lock, and a thread that has it and reads and misses: both go on."""
    destroy_while_another_thread_calls(in_memory(), threshold)


@pytest.mark.parametrize("threshold", [None, 1])
def test_a_destructor_may_wait_for_a_thread_that_calls_a_shared_cache(
    stores: Callable[..., bytecache.SharedStore], threshold: int | None
) -> None:
    """The same over a store in files: the collector stands still while a thread writes."""
    destroy_while_another_thread_calls(bytecache.fill_once(store=stores()), threshold)


def destroy_while_another_thread_calls(decorate: Any, threshold: int | None) -> None:
    """Read much whose destructor needs a lock, while another thread has that lock and calls the cached function."""
    lock, destroyed, ended = threading.RLock(), threading.Event(), threading.Event()
    entered, left = [], []

    def destroy() -> None:
        entered.append(1), destroyed.set()
        with lock:
            left.append(1)

    @decorate
    def f(key: Any) -> Any:
        Garbage(destroy)
        return b"value"

    def other() -> None:
        n = 0
        while not ended.is_set():
            with lock:
                destroyed.clear()
                destroyed.wait(0.01)
                f(("other", n)), f(n), f.cache_stats()
                before = len(entered)
            # A lock is not fair: the next to have it may well be who has just released it.
            until(lambda before=before: len(left) >= before)
            n += 1

    before = gc.get_threshold()
    gc.set_threshold(*(before if threshold is None else [threshold]))
    try:
        others = start(other)
        reading = start(lambda: [f((name, n)) for name in "abc" for n in range(1000)])
        assert len(reading()) == 3000
        ended.set()
        assert others() is None
    finally:
        ended.set()
        gc.set_threshold(*before)


def test_evicted_and_cleared_values_die_outside_the_lock(in_memory: Any, plain_gc: None) -> None:
    """The destructor of a value that goes, by whatever way, may wait for another thread that calls the cache."""
    seen = []

    def destroy() -> None:
        seen.append(start(lambda: f.cache_info().maxsize)())

    def make(key: int) -> Garbage:
        value = Garbage(destroy)
        del value.me
        return value

    f = in_memory(maxsize=5)(make)
    for n in range(10):
        f(n)
    f.cache_clear()
    assert seen == [5] * 10
    g = bytecache.fill_once(key=lambda n: bytecache.VersionedKey(("a", n)))(make)
    f = g
    g(1), g(2)
    assert seen[10:] == [None]
