"""One run of a pipeline: what the stages get, on which threads they run, what is refused, what an interrupt leaves."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
import threading
import tracemalloc
import warnings
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.flights import Gate
from helpers.internals import assert_at_rest
from helpers.processes import in_child
from helpers.threads import PATIENCE_S, Busy, start

import bytecache
from bytecache.cache.staged import pipeline
from bytecache.system.threads import cpu_count, processors


@pytest.fixture(params=["memory", "store"])
def staged(request: pytest.FixtureRequest, stores: Callable[..., Any]) -> Any:
    """staged in memory, and over a shared store."""
    place = {"maxbytes": 1 << 20} if request.param == "memory" else {"store": stores()}
    return lambda *stages, **options: bytecache.staged(*stages, **place, **options)


FIRST, LAST = [1.0, 0.0], [1.0, 1.0]  # costs with which everything is kept after the first of two stages, or the last


@pytest.mark.parametrize("cost", [FIRST, LAST], ids=["kept first", "kept last"])
def test_stages_get_arrays_that_are_read_only(staged: Any, cost: list[float]) -> None:
    """A stage that writes into its argument fails, also the first time, and inside containers and views of it."""

    def spoil(found: Any) -> Any:
        found["image"][0] = 1

    cached = staged(lambda key: {"image": np.zeros(4)}, spoil, cost=cost)
    for _ in range(2):
        with pytest.raises(ValueError, match="read-only"):
            cached("a")
    assert cached.cache_info().currsize == 0
    mirrored = staged(lambda key: np.arange(4), lambda array: array[::-1], cost=cost)
    for value in mirrored("a"), mirrored("a"), *mirrored.map(["a", "b"]):
        assert value.tolist() == [3, 2, 1, 0]
        with pytest.raises(ValueError, match="read-only"):
            value[0] = 1


def test_a_stage_gets_what_the_one_before_has_returned(staged: Any) -> None:
    """Also when it goes on from a kept value: bytes are bytes, from a store too, and None is a value."""
    for value in b"bytes", None, [1, (2.5, "text")], {"a": 1}:
        got: list[Any] = []
        cached = staged(
            lambda key, value=value: value, lambda value, got=got: got.append(value) or bytes(900), cost=FIRST
        )
        for _ in range(3):
            assert cached("a") == bytes(900)
        assert got == [value] * 3 and {type(one) for one in got} == {type(value)}
        assert cached.cache_info()[:2] == (2, 1)


@pytest.mark.parametrize("batched", [False, True])
@pytest.mark.parametrize("stage", [0, 1])
def test_a_value_that_can_be_used_once_is_refused(staged: Any, stage: int, batched: bool) -> None:
    """Each time, wherever the item would be kept, with an error of its key alone."""
    once: Callable[[Any], Any] = lambda value: iter(value) if value == "once" else value  # noqa: E731
    stages = [lambda key: key, lambda value: value]
    stages[stage] = once
    if batched:
        one = stages[0]
        stages[0] = lambda keys: [one(key) for key in keys]
    for cost in FIRST, LAST:
        cached = staged(*stages, cost=cost, batched=batched)
        first, error, last = cached.map(["a", "once", "b"], return_exceptions=True)
        assert (first, last) == ("a", "b") and isinstance(error, TypeError) and "again and again" in str(error)
        with pytest.raises(TypeError, match="an iterator"):
            cached("once")
        cached.cache_clear()


def test_values_whose_bytes_cannot_be_measured_warn_once() -> None:
    """A value kept in memory of which too little is known is told of once, as with fill_once."""

    class Slots:
        __slots__ = ()

        def __reduce__(self) -> Any:
            raise TypeError("cannot be pickled")

    cached = bytecache.staged(lambda key: Slots(), lambda value: value, maxbytes="1 MiB")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        cached.map(range(10))
    assert [str(one.message) for one in caught if "cannot be measured in full" in str(one.message)] != []
    assert len(caught) <= 2  # a partition each


@pytest.mark.parametrize("method", ["map", "warm"])
def test_one_thread_is_the_callers(staged: Any, method: str) -> None:
    """With threads=1 all stages run on the calling thread, key by key: for readers that stand no other."""
    ran: list[tuple[str, int, int]] = []

    def stage(name: str) -> Callable[[int], int]:
        return lambda key: ran.append((name, key, threading.get_ident())) or key

    cached = staged(stage("read"), stage("decode"))
    getattr(cached, method)(range(3), threads=1)
    me = threading.get_ident()
    assert ran == [(name, key, me) for key in range(3) for name in ("read", "decode")]


def test_map_reads_while_it_computes() -> None:
    """One item is computed while another one is read."""
    reads, computes = threading.Event(), threading.Event()

    def read(key: int) -> int:
        if key == 1:
            reads.set()
            assert computes.wait(PATIENCE_S)
        return key

    def compute(key: int) -> int:
        if key == 0:
            assert reads.wait(PATIENCE_S)
            computes.set()
        return key

    assert bytecache.staged(read, compute, maxbytes=1000).map([0, 1], threads=2) == [0, 1]


def test_hardly_more_compute_than_there_are_processors() -> None:
    """But one, though more threads read, so that what a stage takes is not the time that it waits for a processor."""
    busy = Busy()

    def compute(key: int) -> int:
        with busy:
            sum(range(20_000))
        return key

    bytecache.staged(lambda key: key, compute, maxbytes=100_000).map(range(200), threads=16)
    assert 1 <= busy.most <= cpu_count() + 1


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_no_more_threads_than_asked_for(monkeypatch: pytest.MonkeyPatch, threads: int) -> None:
    """Whatever the number of processors."""
    monkeypatch.setattr(pipeline, "processors", lambda: 8)
    busy, ran = Busy(), set()

    def compute(key: int) -> int:
        with busy:
            ran.add(threading.get_ident())
            sum(range(20_000))
        return key

    bytecache.staged(lambda key: key, compute, maxbytes=100_000).map(range(100), threads=threads)
    assert 1 <= busy.most <= threads and len(ran) <= threads


WORKERS = """
from torch.utils.data import DataLoader
from bytecache.cache.staged.pipeline import processors

class Data:
    def __len__(self):
        return 4
    def __getitem__(self, index):
        return processors()

if __name__ == "__main__":
    print([int(n) for batch in DataLoader(Data(), num_workers=2, multiprocessing_context="fork") for n in batch])
"""


def test_workers_share_the_processors(tmp_path: Path) -> None:
    """In a DataLoader's worker a stage computes on its share; elsewhere on all."""
    pytest.importorskip("torch")
    assert processors() == cpu_count()
    script = tmp_path / "workers.py"
    script.write_text(WORKERS)
    environ = {**os.environ, "PYTHONPATH": str(Path(bytecache.__file__).parents[1])}
    done = subprocess.run([sys.executable, script], env=environ, capture_output=True, text=True, timeout=5 * PATIENCE_S)
    assert done.stdout.strip() == str([max(1, cpu_count() // 2)] * 4), done.stderr


@pytest.mark.parametrize("stage", [0, 1])
@pytest.mark.parametrize("batched", [False, True])
@pytest.mark.parametrize("method", ["call", "map"])
def test_ctrl_c_in_a_stage(staged: Any, stage: int, batched: bool, method: str) -> None:
    """It ends the call or the map, is an error of that stage, and every key can be read afterwards."""
    ran: list[Any] = []

    def interrupted(value: Any) -> Any:
        ran.append(value)
        if len(ran) == 1:
            signal.raise_signal(signal.SIGINT)
        return value

    stages: list[Any] = [lambda value: value, lambda value: value]
    stages[stage] = interrupted
    cached = staged(*stages, batched=batched)
    with pytest.raises(KeyboardInterrupt):
        cached("a") if method == "call" else cached.map(["a", "b", "c"], threads=1)
    assert_at_rest(cached)
    stats = cached.cache_stats()
    assert stats.stages[stage].errors >= 1 and stats.currsize == 0
    assert cached.map(["a", "b", "c"]) == ["a", "b", "c"] and cached("a") == "a"


@pytest.mark.parametrize("in_stage", [0, 1])
def test_a_fork_while_stages_run(staged: Any, in_stage: int) -> None:
    """A child forked meanwhile reads what its parent is reading, measures and decides for itself."""
    gate, pid = Gate(), os.getpid()

    def wait(key: int) -> int:
        if os.getpid() == pid and key == 7:
            gate(key)
        return key

    stages: list[Any] = [lambda key: key, lambda key: key]
    stages[in_stage] = wait
    cached = staged(*stages, items=40)
    cached.map(range(5))
    leader = start(lambda: cached(7))
    gate.wait_entered()

    def child() -> Any:
        values = cached.map([key for key in range(40) if key != 7])
        return len(values), cached.plan().items, cached.cache_stats().stages[0].runs

    started = start(lambda: in_child(child))
    found = started()
    gate.open()
    assert leader() == 7
    assert found[:2] == (39, 40) and found[2] >= 34


def test_a_fork_while_another_thread_measures() -> None:
    """A child does not wait for a lock that a thread had which it does not have."""
    cached = bytecache.staged(lambda key: key, lambda key: key, maxbytes=100_000, items=1000)
    stop = threading.Event()

    def work() -> None:
        while not stop.is_set():
            cached.map(range(50))
            cached.cache_clear()

    ended = [start(work) for _ in range(3)]
    try:
        for turn in range(15):
            assert in_child(lambda: cached.map(range(200, 260))) == list(range(200, 260)), turn  # noqa: B023
    finally:
        stop.set()
    assert [end() for end in ended] == [None] * 3


@pytest.mark.parametrize("stage", [0, 1, 2])
def test_exceptions_leave_no_cycle(staged: Any, plain_gc: None, stage: int) -> None:
    """When the caller drops the exception of any stage, what the stages had returned dies at once."""
    alive: list[Any] = []

    class Local:
        pass

    def fail(value: Any) -> Any:
        local = Local()
        alive.append(weakref.ref(local))
        raise LookupError(value)

    stages: list[Any] = [lambda key: key] * 3
    stages[stage] = fail
    cached = staged(*stages)
    for call in (lambda: cached("a"), lambda: cached.map("ab"), lambda: cached.map("ab", threads=1)):
        with pytest.raises(LookupError):
            call()
    cached.map("abc", return_exceptions=True)
    assert len(alive) == 8 and [one() for one in alive] == [None] * 8


def test_memory_is_the_budget(plain_gc: None) -> None:
    """At 8 KB values the cache takes 5 % more than its budget at most, whatever it knows of each item."""
    budget, items = 16 << 20, 2600
    cached = bytecache.staged(
        lambda key: bytes(8000), lambda data: bytes(9000), maxbytes=budget, items=items, cost=FIRST
    )
    keys = [f"/data/{number}.jpg" for number in range(items)]
    cached(keys[0])
    gc.collect()
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        for key in keys:
            cached(key)
        grown = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    stats = cached.cache_stats()
    assert 0.98 * budget <= stats.currbytes <= budget
    assert grown <= 1.05 * budget
