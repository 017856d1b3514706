"""Both decorators in memory against a model of a few lines, under random calls."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

from hypothesis import settings, strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

import bytecache

LIMIT = st.none() | st.integers(1, 6)


class Model:
    """The value sizes that a cache of `maxsize` entries and `maxbytes` bytes should have, in the order of last use."""

    def __init__(self, evicts: bool, maxsize: int | None, maxbytes: int | None) -> None:
        self.evicts, self.maxsize, self.maxbytes = evicts, maxsize or 10**9, maxbytes or 10**9
        self.sizes: OrderedDict[int, int] = OrderedDict()
        self.counts = dict.fromkeys(("hits", "misses", "errors", "stored", "rejected", "evicted"), 0)

    def call(self, key: int, size: int | None) -> None:
        if key in self.sizes:
            self.sizes.move_to_end(key)
            self.counts["hits"] += 1
            return
        self.counts["misses"] += 1
        if size is None:
            self.counts["errors"] += 1
        elif size > self.maxbytes or not self.evicts and not self._fits({**self.sizes, key: size}):
            self.counts["rejected"] += 1
        else:
            self.sizes[key] = size
            self.counts["stored"] += 1
            while not self._fits(self.sizes):
                self.sizes.popitem(last=False)
                self.counts["evicted"] += 1

    def discard(self, key: int) -> bool:
        self.counts["evicted"] += key in self.sizes
        return self.sizes.pop(key, None) is not None

    def _fits(self, sizes: dict[int, int]) -> bool:
        return len(sizes) <= self.maxsize and sum(sizes.values()) <= self.maxbytes


class CacheMachine(RuleBasedStateMachine):
    @initialize(evicts=st.booleans(), maxsize=LIMIT, maxbytes=LIMIT.map(lambda limit: limit and limit * 4))
    def decorate(self, evicts: bool, maxsize: int | None, maxbytes: int | None) -> None:
        self.model = Model(evicts, maxsize, maxbytes)
        self.size: int | None = 0
        make = bytecache.lru_cache if evicts else bytecache.fill_once
        self.read = make(maxsize, maxbytes=maxbytes, sizeof=lambda value: value[1])(self._read)

    def _read(self, key: int) -> Any:
        if self.size is None:
            raise LookupError(key)
        return [key, self.size]

    def _call(self, read: Any, key: int, size: int | None) -> None:
        self.size = size
        expected = [key, self.model.sizes.get(key, size)]
        try:
            value = read(key)
        except LookupError:
            value = [key, None]
        assert value == expected
        self.model.call(key, size)

    @rule(key=st.integers(0, 7), size=st.integers(0, 9))
    def call(self, key: int, size: int) -> None:
        self._call(self.read, key, size)

    @rule(key=st.integers(0, 7))
    def call_that_raises(self, key: int) -> None:
        self._call(self.read, key, None)

    @rule(key=st.integers(0, 7), size=st.integers(0, 9))
    def map_one(self, key: int, size: int) -> None:
        self._call(lambda key: self.read.map([key], threads=1)[0], key, size)

    @rule(key=st.integers(0, 7))
    def discard(self, key: int) -> None:
        assert self.read.cache_contains(key) is (key in self.model.sizes)
        assert self.read.cache_discard(key) is self.model.discard(key)

    @rule()
    @precondition(lambda self: self.model.sizes)
    def clear(self) -> None:
        self.read.cache_clear()
        self.model = Model(self.model.evicts, self.model.maxsize, self.model.maxbytes)

    @invariant()
    def counters_agree(self) -> None:
        stats = self.read.cache_stats()
        assert {name: getattr(stats, name) for name in self.model.counts} == self.model.counts
        assert sorted(self.read.cache_keys()) == sorted(self.model.sizes)
        assert (stats.currsize, stats.currbytes) == (len(self.model.sizes), sum(self.model.sizes.values()))


CacheMachine.TestCase.settings = settings(max_examples=300, stateful_step_count=40, deadline=None)
TestAgainstModel = CacheMachine.TestCase
TestAgainstModel.__doc__ = "Values, sizes and counters are the model's after every step."
