"""The values of a pipeline's stages as one partition: one budget, one stage per item, clears and discards."""

from __future__ import annotations

import random
import sys
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from helpers.flights import Gate
from helpers.internals import assert_at_rest, cache_of
from helpers.threads import start, together

import bytecache
from bytecache.cache.staged.memory_partition import StagedMemoryPartition
from bytecache.cache.staged.pipeline import Run
from bytecache.cache.staged.residents import Residents
from bytecache.stores.memory import FillOncePartition


@pytest.fixture
def switching() -> Iterator[None]:
    """Threads that switch all the time."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def partition(maxbytes: int, stages: int = 2) -> StagedMemoryPartition:
    first = FillOncePartition(None, maxbytes, bytecache.sizeof)
    levels = [first, *(FillOncePartition(None, maxbytes, bytecache.sizeof, beside=first) for _ in range(1, stages))]
    return StagedMemoryPartition(levels, Residents(levels))


def run(values: list[bytes], stage: int, at: int = -1) -> Run:
    """Return what a run brings that goes from after stage `at` to the end, and is to be kept after `stage`."""
    made = Run(at, values[0])
    for value in values if at < 0 else values[1:]:
        made.add(value, 0.0, 0.0)
    made.stage, made.kept = stage, values[stage - max(at, 0)]
    return made


def levels_of(cached: Any) -> Any:
    return cache_of(cached).partition.levels


def test_an_item_is_at_one_stage() -> None:
    """What is kept after a later stage takes the place of what was kept before; both count."""
    kept = partition(1000)
    kept.put("a", run([bytes(10), bytes(100)], 0), 0)
    assert [len(level) for level in kept.levels] == [1, 0] and kept.left == 1000 - bytecache.sizeof(bytes(10))
    kept.put("a", run([bytes(10), bytes(100)], 1, at=0), 0)
    assert [len(level) for level in kept.levels] == [0, 1] and kept.left == 1000 - bytecache.sizeof(bytes(100))
    assert kept.snapshot("process").counts[3:6] == (2, 0, 1) and kept.keys() == ["a"]


@pytest.mark.parametrize("stages", [2, 3])
def test_an_upgrade_that_does_not_fit_leaves_the_item_where_it_was(stages: int) -> None:
    """If others took the room meanwhile the value before is still there, and all room is accounted for."""
    kept = partition(1000, stages)
    at, values = stages - 2, [bytes(100)] * (stages - 1) + [bytes(5000)]
    kept.put("a", run(values, at), 0)
    value, stored = kept.put("a", run(values[at:], at + 1, at), 0)
    assert (len(value), stored) == (5000, True)
    assert kept.levels[at].get("a") == bytes(100) and len(kept) == 1
    assert kept.left == 1000 - bytecache.sizeof(bytes(100))
    kept.discard("a")
    assert kept.left == 1000


def test_an_upgrade_of_an_item_that_was_evicted_meanwhile() -> None:
    """It is stored anew, though its bytes after the first stages are not known any more."""
    kept = partition(1000, 3)
    assert kept.put("a", run([bytes(100), bytes(200)], 2, at=1), 0).stored
    assert kept.levels[2].get("a") == bytes(200) and len(kept) == 1


def test_a_value_of_an_earlier_generation_is_not_wanted() -> None:
    """After a clear a run that began before it stores nothing, and removes nothing."""
    kept = partition(1000)
    kept.put("a", run([bytes(10), bytes(100)], 0), 0)
    kept.clear()
    assert kept.put("a", run([bytes(10), bytes(100)], 1, at=0), 0) == (bytes(100), None)
    assert len(kept) == 0 and kept.left == 1000


@pytest.mark.parametrize("fits", [0.3, 3], ids=["a third fits", "all fits"])
def test_the_budget_is_kept_and_given_back_under_threads(switching: None, fits: float) -> None:
    """Eight threads that call, map, discard and clear never exceed the budget, and in the end it is free again."""
    items, budget = 60, int(60 * 1000 * fits)
    most = 0

    def read(key: int) -> bytes:
        return bytes(200 + 10 * key)

    def decode(data: bytes) -> Any:
        nonlocal most
        most = max(most, cached.cache_stats().currbytes)
        return np.zeros(5 * len(data), np.uint8)

    cached = bytecache.staged(read, decode, maxbytes=budget, items=items)

    def work(seed: int) -> None:
        rng = random.Random(seed)
        for turn in range(30):
            keys = [rng.randrange(items) for _ in range(8)]
            if turn % 3:
                values = [cached(key) for key in keys]
            else:
                values = cached.map(keys)
            assert [value.nbytes for value in values] == [5 * (200 + 10 * key) for key in keys]
            cached.cache_discard(rng.randrange(items))
            if seed == 0 and turn % 10 == 9:
                cached.cache_clear()

    assert together(*[lambda seed=seed: work(seed) for seed in range(8)]) == [None] * 8
    stats, levels = cached.cache_stats(), levels_of(cached)
    assert most <= budget and stats.currbytes <= budget
    measured = sum(bytecache.sizeof(value) for level in levels for value in level.entries.values())
    assert stats.currbytes == measured == budget - levels[0].room
    assert sum(len(level.entries) for level in levels) == stats.currsize == len(cached.cache_keys())
    assert len(set(cached.cache_keys())) == stats.currsize
    assert len(cache_of(cached).partition._residents._sizes) <= stats.currsize + 8
    for key in cached.cache_keys()[::2]:
        assert cached.cache_discard(key)
    cached.cache_clear()
    assert [level.room for level in levels] == [budget, budget] and cached.cache_stats().currbytes == 0
    assert_at_rest(cached)


@pytest.mark.parametrize("keep", [[1.0, 0.0], [1.0, 1.0]], ids=["after the first", "after the last"])
@pytest.mark.parametrize("how", ["clear", "discard"])
@pytest.mark.parametrize("in_stage", [0, 1])
def test_nothing_stale_is_stored(keep: list[float], how: str, in_stage: int) -> None:
    """A value that is cleared or discarded while one of its stages runs is handed out, and is not there afterwards."""
    gate = Gate()
    stages = [lambda key: b"old", bytes.upper]
    gated = stages[in_stage]
    stages[in_stage] = lambda value: (gate(value), gated(value))[1]
    cached = bytecache.staged(*stages, maxbytes=1000, items=4, cost=keep)
    leader = start(lambda: cached("a"))
    gate.wait_entered()
    cached.cache_clear() if how == "clear" else cached.cache_discard("a")
    gate.open()
    assert leader() == b"OLD" and not cached.cache_contains("a") and cached.cache_keys() == []
    assert cached("a") == b"OLD" and len(gate.ran) == 2
    assert_at_rest(cached)


def test_an_upgrade_during_which_the_key_is_discarded() -> None:
    """What goes on from a kept value stores nothing after a discard, nor is the kept value there again."""
    gate, reads = Gate(), []
    decodes = iter([lambda data: data, lambda data: gate(data)[0], lambda data: data])
    cached = bytecache.staged(
        lambda key: reads.append(key) or b"data", lambda data: next(decodes)(data), maxbytes=1000, items=2, cost=[1, 0]
    )
    assert cached("a") == b"data" and levels_of(cached)[0].get("a") == b"data"
    going_on = start(lambda: cached("a"))
    gate.wait_entered()
    assert cached.cache_discard("a") is True
    gate.open()
    assert going_on() == b"data" and not cached.cache_contains("a")
    assert cached("a") == b"data" and reads == ["a", "a"]


def test_hits_and_misses_are_exact_under_threads(switching: None) -> None:
    """Each call is one hit or one miss, a miss runs the first stage, and runs and hits of each stage add up."""
    lock, ran = threading.Lock(), [0, 0, 0]

    def stage(number: int, function: Any) -> Any:
        def counted(value: Any) -> Any:
            with lock:
                ran[number] += 1
            return function(value)

        return counted

    cached = bytecache.staged(
        stage(0, lambda key: bytes(100 + key)),
        stage(1, lambda data: np.zeros(4 * len(data), np.uint8)),
        stage(2, lambda array: array[::2].copy()),
        maxbytes=12_000,
        items=100,
    )

    def work(seed: int) -> None:
        rng = random.Random(seed)
        for _ in range(10):
            cached.map([rng.randrange(100) for _ in range(10)])
            for _ in range(10):
                cached(rng.randrange(100))

    assert together(*[lambda seed=seed: work(seed) for seed in range(8)]) == [None] * 8
    stats = cached.cache_stats()
    assert stats.hits + stats.misses == 8 * 10 * 20
    assert stats.misses == ran[0] and [stage.runs for stage in stats.stages] == ran
    assert stats.currsize == stats.stored - stats.evicted == sum(stage.currsize for stage in stats.stages)
    assert stats.currbytes == sum(stage.currbytes for stage in stats.stages) <= 12_000
    assert sum(stage.hits for stage in stats.stages) <= stats.hits  # the rest waited for other calls
    assert [stage.errors for stage in stats.stages] == [0, 0, 0]


@pytest.mark.parametrize("scope", ["process", "all"])
def test_errors_belong_to_their_stage(stores: Any, scope: str) -> None:
    """A run that raised counts as a run and an error of its stage, and the stages after it did not run."""

    def fail(value: str, where: str) -> str:
        if value.startswith(where):
            raise LookupError(value)
        return value

    stages = [lambda key: fail(key, "0"), lambda value: fail(value, "1"), lambda value: fail(value, "2")]
    for place in {"maxbytes": 10_000}, {"store": stores()}:
        cached = bytecache.staged(*stages, **place)
        failed = cached.map(["0", "1", "1 too", "2", "3", "4"], return_exceptions=True)
        assert [type(one).__name__ for one in failed] == ["LookupError"] * 4 + ["str"] * 2
        with pytest.raises(LookupError):
            cached("2")
        stats = cached.cache_stats(scope)
        assert [(stage.runs, stage.errors) for stage in stats.stages] == [(7, 1), (6, 2), (4, 2)]
        assert (stats.hits, stats.misses, stats.errors, stats.stored, stats.currsize) == (0, 7, 5, 2, 2)
