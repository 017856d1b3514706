"""The facts of a function that ``fill_once(store=...)`` caches in a store."""

from __future__ import annotations

import pytest

from ..decorators import fill_once
from ..stores.base import Store
from .running import together
from .store_tests import SharingTests, StoreBase, ValueTests


class FunctionTests(StoreBase):
    """Calls, map and warm run the function once per key, and the counters say so."""

    def test_a_cached_function(self, store: Store) -> None:
        """Each key is read once; warm ends when the store is full; a clear empties it."""
        ran: list[int] = []

        @fill_once(store=store)
        def f(n: int) -> bytes:
            ran.append(n)
            return self.value_of(n)

        assert [f(1), f(1)] == [self.value_of(1)] * 2
        assert f.map([1, 2, 2, 3], threads=2) == [self.value_of(n) for n in (1, 2, 2, 3)]
        assert [bytes(value) for value in f.map([3, 4], copy=False)] == [self.value_of(3), self.value_of(4)]
        assert sorted(ran) == [1, 2, 3, 4]
        stats = f.warm(range(100), threads=1)
        assert len(ran) == len(set(ran)) == self.capacity == stats.currsize == stats.stored == stats.misses
        assert f.cache_info() == (stats.hits, stats.misses, None, self.capacity)
        assert stats.currbytes == store.currbytes and stats.maxbytes == store.maxbytes
        f.cache_clear()
        assert f.cache_info() == (0, 0, None, 0) and f(1) == self.value_of(1)

    def test_a_batched_function(self, store: Store) -> None:
        """Map runs it once for all keys that are missing, and never for those that are stored."""
        ran: list[list[int]] = []

        @fill_once(store=store, batched=True)
        def f(numbers: list[int]) -> list[bytes]:
            ran.append(numbers)
            return [self.value_of(n) for n in numbers]

        assert f.map([1, 2, 1]) == [self.value_of(1), self.value_of(2), self.value_of(1)]
        assert f.map([2, 3]) == [self.value_of(2), self.value_of(3)] and f(3) == self.value_of(3)
        assert ran == [[1, 2], [3]] and f.cache_info()[:2] == (3, 3)

    def test_one_call_may_be_looked_at_and_removed(self, store: Store) -> None:
        """cache_contains and cache_discard find the value of a call; the keys of all calls are not known."""
        f = fill_once(store=store)(self.value_of)
        f(1)
        assert f.cache_contains(1) and not f.cache_contains(2)
        assert f.cache_discard(1) and not f.cache_discard(1) and not f.cache_contains(1)
        assert f(1) == self.value_of(1) and f.cache_info()[:2] == (0, 2)
        with pytest.raises(TypeError, match="cache_contains"):
            f.cache_keys()

    def test_simultaneous_calls_run_the_function_once(self, store: Store) -> None:
        """The others get its value, and count as hits."""
        ran: list[int] = []

        @fill_once(store=store)
        def f(n: int) -> bytes:
            ran.append(n)
            return self.value_of(n)

        for n in range(self.capacity):
            assert together(*[lambda n=n: f(n)] * 4) == [self.value_of(n)] * 4
        assert ran == list(range(self.capacity))
        assert f.cache_info()[:2] == (3 * self.capacity, self.capacity)

    def test_an_exception_is_not_stored(self, store: Store) -> None:
        """It is a miss and an error, and the next call runs the function again."""
        f = fill_once(store=store)(lambda n: self.value_of(10 // n))
        for _ in range(2):
            with pytest.raises(ZeroDivisionError):
                f(0)
        stats = f.cache_stats()
        assert (stats.hits, stats.misses, stats.errors, stats.stored) == (0, 2, 2, 0)

    def test_a_store_that_is_closed_opens_again(self, store: Store) -> None:
        """After close a call works as before."""
        f = fill_once(store=store)(self.value_of)
        f(1)
        store.close()
        assert f(1) == self.value_of(1)


class StoreTests(SharingTests, ValueTests, FunctionTests):
    """What a store must pass; see :mod:`bytecache.testing`."""
