"""What the bytes of a lower tier cost: measured on what is stored first, and what that changes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from helpers.dict_store import DictPartition, DictStore
from helpers.internals import cache_of

import bytecache
from bytecache.cache.staged import get_costs, placement
from bytecache.cache.staged.get_costs import GetCosts


class SlowStore(DictStore):
    """One that takes so many seconds per byte of a value that is found."""

    def __init__(self, maxbytes: int, get_s: float, wait: Any) -> None:
        super().__init__(maxbytes)
        self.get_s, self.wait = get_s, wait

    def partition(self, function_id: bytes, name: str, maxsize: int | None = None) -> DictPartition:
        return self.partitions.setdefault(function_id, SlowPartition(self, maxsize))


class SlowPartition(DictPartition):
    store: SlowStore

    def get(self, key: Any, copy: bool = True) -> Any:
        if key in self.values:
            self.store.wait(self.store.get_s * self.values[key].payload.nbytes)
        return super().get(key, copy)


class Clock:
    """A clock that only stands still, and goes on by what is waited for."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def wait(self, seconds: float) -> None:
        self.now += seconds


def keys(numbers: Sequence[int]) -> list[bytes]:
    return [number.to_bytes(16, "big") for number in numbers]


def stored(tier: DictPartition, count: int, nbytes: int) -> list[tuple[bytes, float]]:
    for key in keys(range(count)):
        tier.put(key, bytes(nbytes), tier.generation)
    return [(key, float(nbytes)) for key in keys(range(count))]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(get_costs, "perf_counter", clock)
    return clock


def test_what_a_byte_takes_is_known_after_some_values(clock: Clock) -> None:
    """Each tier but the first is measured, by values of 16 KB together; one without any of them is not known."""
    tiers = [SlowStore(1 << 30, get_s, clock.wait).partition(b"", "") for get_s in (1e-3, 1e-6, 1e-5)]
    costs = GetCosts(3)
    for one in stored(tiers[1], 24, 1 << 12):
        assert costs.is_measuring and costs.per_byte()[1] in (0.0, pytest.approx(1e-6, rel=0.05))
        costs.note(tiers, [one])
    assert costs.per_byte() == [0.0, pytest.approx(1e-6, rel=0.05), pytest.approx(1e-6, rel=0.05)]
    assert costs.is_measuring  # the last tier
    for one in stored(tiers[2], 8, 1 << 12):
        costs.note(tiers, [one])
    assert not costs.is_measuring  # it has given up, as nothing goes there
    assert [tier.counters.snapshot("process").hits for tier in tiers] == [0, 0, 0]  # no call has asked for them


def test_small_values_are_not_measured_for_ever() -> None:
    """After some hundred that are not worth a probe together the tiers are taken to cost nothing."""
    tiers = [DictStore(1 << 20).partition(b"", "") for _ in range(2)]
    costs = GetCosts(2)
    for one in stored(tiers[1], 300, 10):
        costs.note(tiers, [one])
    assert not costs.is_measuring and costs.per_byte() == [0.0, 0.0]


def test_one_store_is_not_measured() -> None:
    """A single store has no tier below it."""
    assert not GetCosts(1).is_measuring and GetCosts(1).per_byte() == [0.0]


READ_BYTES, DECODED_BYTES, ITEMS = 2048, 16384, 120


def read(item: int) -> bytes:
    return item.to_bytes(4, "big") * (READ_BYTES // 4)


def decode(data: bytes) -> Any:
    return np.frombuffer(data * (DECODED_BYTES // READ_BYTES), np.uint8)


def kept(clock: Clock, get_s: float, read_s: float, epochs: int = 3) -> tuple[list[int], list[int]]:
    """Return how many items each tier has after reading, and after decoding, which saves 1 ms."""
    first, lower = DictStore(20 * READ_BYTES), SlowStore(2 * ITEMS * DECODED_BYTES, get_s, clock.wait)
    load = bytecache.staged(read, decode, store=[first, lower], items=ITEMS, cost=[read_s, 1e-3])
    for _ in range(epochs):
        for item in range(ITEMS):
            assert load(item)[:4].tobytes() == item.to_bytes(4, "big")
    assert load.cache_info().hits + load.cache_info().misses == epochs * ITEMS  # probes are none
    after_read, after_decode = ([len(tier) for tier in level.levels] for level in cache_of(load).partition.levels)
    return after_read, after_decode


def test_what_is_fast_below_is_kept_as_what_saves_most(clock: Clock) -> None:
    """With room for all in a lower tier that takes nothing, items are kept decoded."""
    assert kept(clock, 0.0, 0.05)[1][1] == ITEMS


def test_what_takes_longer_to_get_than_to_compute_is_not_kept(clock: Clock) -> None:
    """Decoding saves 1 ms, and what it makes takes 14 ms more below: all items are kept as they were read."""
    after_read, after_decode = kept(clock, 1e-6, 0.05)
    assert after_read[1] == ITEMS and sum(after_decode) == 0


def test_a_tier_that_is_slower_than_storage_is_not_used(clock: Clock) -> None:
    """Reading saves 0.4 ms, which 2 ms below do not: but for those by which that was found out, items go up."""
    after_read, after_decode = kept(clock, 1e-6, 4e-4)
    assert after_read[0] > 0 and after_read[1] < ITEMS / 2 and after_decode[1] == 0


def test_a_clear_after_epochs_that_have_left_room(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """What prices have left unused until then counts no more, and no call fails."""
    for pause in "_PAUSE_FILLING", "_PAUSE_LATER":
        monkeypatch.setattr(placement, pause, 0)  # prices are set as often as they would be in long epochs
    first, lower = DictStore(20 * READ_BYTES), SlowStore(2 * ITEMS * DECODED_BYTES, 1e-6, clock.wait)
    load = bytecache.staged(read, decode, store=[first, lower], items=ITEMS, cost=[0.05, 1e-3])
    for epochs in 6, 2:
        for _ in range(epochs):
            for item in range(ITEMS):
                assert load(item)[:4].tobytes() == item.to_bytes(4, "big")
        assert load.cache_info()[:2] == ((epochs - 1) * ITEMS, ITEMS)
        load.cache_clear()
