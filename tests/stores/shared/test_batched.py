"""Batched functions over a shared store: their contract, and what other processes see of them."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from contracts.batched import BatchedContract, bad, batched, text
from helpers.flights import Gate
from helpers.internals import (
    SHARED_MISS_PATH_MODULES,
    assert_sound,
    flights_of,
    leasing_threads,
    locked_bytes,
    waiting_threads,
)
from helpers.interrupts import entries_into, returns_into
from helpers.processes import Children, in_child, receive, send
from helpers.threads import start, until

import bytecache
from bytecache.stores.shared.handle import StoreHandle
from bytecache.stores.shared.locks import ByteRangeLocks

TESTS = Path(__file__).parents[2]


@pytest.fixture
def decorate(stores: Any) -> Any:
    """fill_once over a store of its own."""

    def decorator(*args: Any, maxbytes: int = 1 << 22, **options: Any) -> Any:
        return bytecache.fill_once(*args, store=stores(maxbytes), **options)

    return decorator


class TestBatched(BatchedContract):
    """fill_once over a shared store."""


def test_a_batch_is_stored_under_one_lock(decorate: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The writer's lock is taken once for all values of a batch, and not at all if none fits."""
    taken = 0

    def count(self: Any, work: Any) -> Any:
        nonlocal taken
        taken += 1
        return with_writer_lock(self, work)

    with_writer_lock = StoreHandle.with_writer_lock
    f, _ = batched(decorate, lambda key: bytes(1000), maxbytes=40_000)
    f.map("a")
    monkeypatch.setattr(StoreHandle, "with_writer_lock", count)
    f.map(range(20))
    assert taken == 1
    f.map(range(100, 200))
    assert taken == 2 and f.cache_stats().rejected > 0
    f.map(range(300, 400))
    assert taken == 2 and f.cache_stats().misses == 221


def test_views_and_copies(decorate: Any) -> None:
    """With copy=False bytes come as views, read or found; each caller has lists and dicts of its own."""
    f, _ = batched(decorate)
    for _ in range(2):
        values = f.map("aba", copy=False)
        assert [type(value) for value in values] == [memoryview] * 3 and bytes(values[0]) == text("a")
    g, _ = batched(decorate, lambda key: {"key": [key]})
    first, again = g.map("aa")
    first["key"].append("changed")
    assert again == g("a") == {"key": ["a"]}


def test_arrays_come_from_the_store(decorate: Any) -> None:
    """Arrays of a batch are read-only, as hits are."""
    f, _ = batched(decorate, lambda key: np.full(3, key))
    for array in f.map([1, 2]):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 9


def test_a_full_file_system(decorate: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A value that the file system refuses is returned and counted as rejected; others of the batch are stored."""

    def refuse(self: Any, nbytes: int) -> bool:
        if nbytes > 5_000:
            raise OSError(errno.ENOSPC, "no space left on device")
        return has_room(self, nbytes)

    has_room = StoreHandle.has_room_locked
    monkeypatch.setattr(StoreHandle, "has_room_locked", refuse)
    f, _ = batched(decorate, lambda key: bytes(10_000 if key == "b" else 10))
    with pytest.warns(RuntimeWarning, match="the file system has no space left"):
        assert [len(value) for value in f.map("abc")] == [10, 10_000, 10]
    stats = f.cache_stats()
    assert (stats.stored, stats.rejected, stats.currsize) == (2, 1, 2)
    assert [f.cache_contains(key) for key in "abc"] == [True, False, True]


def test_keys_that_another_process_reads(stores: Any) -> None:
    """A map reads the rest in its call, and gets the others from the store once they are there."""
    store = stores()

    def child() -> Any:
        f, calls = batched(lambda **options: bytecache.fill_once(store=store, version=1, **options), gated)
        return [value.decode() for value in f.map("ab")], calls

    def gated(key: str) -> bytes:
        if key == "a":
            send(entered, "x")
            receive(go_on)
        return text(key)

    (entered_end, entered), (go_on, go_on_end) = os.pipe(), os.pipe()
    children = Children(child)
    receive(entered_end)
    f, calls = batched(lambda **options: bytecache.fill_once(store=store, version=1, **options), gated)
    mapped = start(lambda: f.map("abcd"))
    until(lambda: f.cache_contains("d"))
    assert calls == [["c", "d"]]
    send(go_on_end, "x")
    assert children.answers() == [[["<a>", "<b>"], [["a", "b"]]]]
    assert mapped() == [text(key) for key in "abcd"] and calls == [["c", "d"]]
    for end in (entered_end, entered, go_on, go_on_end):
        os.close(end)


@pytest.mark.parametrize("strike", [entries_into, returns_into])
@pytest.mark.parametrize("value", [text, bad], ids=["values", "exceptions"])
def test_an_interrupt_anywhere_in_a_batch_strands_nobody(stores: Any, strike: Any, value: Any) -> None:
    """Wherever in a map's miss path a KeyboardInterrupt comes, the next map is answered, in this process or another."""
    store, other = stores(name="one"), stores(name="one")
    modules = SHARED_MISS_PATH_MODULES | {"bytecache.cache.bulk"}

    def interrupt_everywhere() -> Any:
        decorators = [lambda one=one, **options: bytecache.fill_once(store=one, **options) for one in (store, other)]
        f, elsewhere = (batched(decorate, value)[0] for decorate in decorators)

        def call(function: Any) -> None:
            function.map(["a", "bad", "b"], return_exceptions=True)

        places = strike(modules, lambda: call(f))
        assert places > 20
        stranded = []
        for place in range(1, places + 1):
            f.cache_clear()
            strike(modules, lambda: call(f), interrupt_at=place)
            if locked_bytes(store, writer=True) or leasing_threads():
                stranded.append(place)
                break  # the calls below would wait for ever
            start(lambda: call(f))()
            start(lambda: call(elsewhere))()
            call(f)
            assert flights_of(f) == {} and waiting_threads() == set()
        return stranded

    assert in_child(interrupt_everywhere, patience_s=120) == []
    assert_sound(store)


def test_overlapping_maps_of_processes(tmp_path: Path) -> None:
    """4 processes of 8 threads map overlapping lists: nothing hangs, no value is wrong, and each key is read once."""
    job = [sys.executable, "-m", "jobs.overlapping_maps", str(tmp_path / "store"), "100", "3"]
    done = subprocess.run(job, cwd=TESTS, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    result = json.loads(done.stdout.splitlines()[-1])
    assert result.pop("killed") > 10
    assert result == {"wrong": 0, "again": 0, "rounds_without_reads": 0}, done.stderr


def test_a_segment_that_begins_anew_stores_the_rest_of_the_batch(stores: Any) -> None:
    """Once the values are dead that filled the store, a batch loses no more than a call does."""
    f, _ = batched(lambda **options: bytecache.fill_once(store=stores(100_000), **options), lambda key: bytes(1000))
    f.map(range(200))
    for key in range(200):
        f.cache_discard(key)
    f.map(range(1000, 1050))
    assert f.cache_info().currsize >= 49


@pytest.mark.filterwarnings("ignore:.*its files cannot be written")
def test_an_error_after_the_last_value_is_written(stores: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A lock that cannot be released is reported as a store that cannot be written, and the values are returned."""
    f, _ = batched(lambda **options: bytecache.fill_once(store=stores(), **options))
    f("a")
    release = ByteRangeLocks.release

    def fail(self: Any, byte: int) -> None:
        release(self, byte)
        if not byte:
            raise OSError(errno.EIO, "input/output error")

    monkeypatch.setattr(ByteRangeLocks, "release", fail)
    assert f.map("bc") == [text("b"), text("c")]


def test_an_error_of_a_lease_is_one_of_its_keys(stores: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is in the keys' places, as with a function of one key."""
    f, _ = batched(lambda **options: bytecache.fill_once(store=stores(), **options))
    f("a")
    acquire = ByteRangeLocks.acquire

    def fail(self: Any, byte: int, **options: Any) -> bool:
        if byte:
            raise OSError(errno.ENOLCK, "no locks available")
        return acquire(self, byte, **options)

    monkeypatch.setattr(ByteRangeLocks, "acquire", fail)
    assert [type(one) for one in f.map("bc", return_exceptions=True)] == [OSError, OSError]


def test_other_keys_are_stored_during_a_batch(decorate: Any) -> None:
    """No lock is held while a batch is read."""
    gate = Gate()
    f, _ = batched(decorate, lambda key: text(gate(key)[0]) if key == "a" else text(key))
    mapped = start(lambda: f.map("ab"))
    gate.wait_entered()
    assert f("c") == text("c") and f.cache_contains("c")
    gate.open()
    assert mapped() == [text("a"), text("b")]


def test_a_function_that_is_used_both_ways(stores: Any) -> None:
    """Batched and not it is two functions, which do not take each other's values."""

    def double(key: Any) -> Any:
        return [one * 2 for one in key] if isinstance(key, list) else key + key

    store = stores()
    assert bytecache.fill_once(store=store, version=1)(double)("ab") == "abab"
    assert bytecache.fill_once(store=store, version=1, batched=True)(double)("ab") == "abab"
    one, many = (bytecache.fill_once(store=store, version=1, batched=batched)(double) for batched in (False, True))
    assert (one.cache_info().currsize, many.cache_info().currsize) == (1, 1)


def test_keys_that_a_stopped_process_has(stores: Any) -> None:
    """Once it was of no use to wait for the first, all others that it has are read in one call."""
    store, (entered_end, entered) = stores(), os.pipe()
    parent = os.getpid()

    def value(key: int) -> bytes:
        if os.getpid() != parent:
            send(entered)
            signal.pause()
        return text(key)

    def decorate(**options: Any) -> Any:
        return bytecache.fill_once(store=store, version=1, **options)

    children = Children(lambda: batched(decorate, value)[0].map(range(8)))
    receive(entered_end)
    os.kill(children.pids[0], signal.SIGSTOP)
    f, calls = batched(decorate, value)
    with pytest.warns(RuntimeWarning, match="which is stopped"):
        assert f.map(range(8)) == [text(key) for key in range(8)]
    assert calls == [[0], list(range(1, 8))] and f.cache_stats().misses == 8
    os.kill(children.pids[0], signal.SIGKILL)
    assert children.answers() == [None]
    os.close(entered_end), os.close(entered)
