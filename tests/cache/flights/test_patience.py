"""Calls that wait long for another one: what they say, how often, and what does not wait."""

from __future__ import annotations

import re
import threading
import warnings
from collections.abc import Iterator
from typing import Any

import pytest
from helpers.flights import Gate
from helpers.internals import assert_at_rest, patience_of, waiting_threads
from helpers.threads import PATIENCE_S, start, until

import bytecache
from bytecache.system import threads


@pytest.fixture
def warned() -> Iterator[list[warnings.WarningMessage]]:
    """The warnings of all threads."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield caught


@pytest.fixture(params=["fill_once", "lru_cache", "shared"])
def decorate(request: pytest.FixtureRequest, stores: Any) -> Any:
    if request.param == "shared":
        return lambda function: bytecache.fill_once(store=stores())(function)
    return getattr(bytecache, request.param)


def impatient(cached: Any) -> Any:
    """Have the calls of a function wait for a moment only before they warn."""
    patience_of(cached).seconds = 0.01
    return cached


def test_a_call_that_waits_for_a_thread_that_waits_for_its_lock_warns(decorate: Any, warned: Any) -> None:
    """The warning has the call, the other thread and where it is, the likely reason, and the line that waits."""
    lock, begun = threading.Lock(), threading.Event()

    def read(key: str, size: int) -> bytes:
        begun.set()
        with lock:
            return b"x"

    cached = impatient(decorate(read))
    with lock:
        leading = start(lambda: cached("a", size=3))
        assert begun.wait(PATIENCE_S)
        waiting = start(lambda: cached("a", size=3))
        until(lambda: warned)
    assert (leading(), waiting()) == (b"x", b"x")
    (warning,) = warned
    message = str(warning.message)
    start_of_message = re.escape(f"{read.__qualname__}('a', size=3)") + r" has waited \d+ s for thread 'Thread-"
    assert re.match(start_of_message, message)
    assert f"(now at {__file__}:" in message and "lock order" in message
    assert ("fill_once(..., once=False)" in message) == (decorate is not bytecache.lru_cache)
    assert (warning.category, warning.filename) == (RuntimeWarning, __file__)
    assert_at_rest(cached)


def test_one_of_the_calls_that_wait_warns_once(decorate: Any, warned: Any) -> None:
    """However many calls wait for a run, there is one warning; the next run may take twice as long."""
    gate = Gate()
    cached = impatient(decorate(lambda key: b"%d" % len(gate(key))))
    calls = [start(lambda: cached("a")) for _ in range(5)]
    gate.wait_entered()
    until(lambda: len(waiting_threads()) == 4 and warned)
    assert patience_of(cached).seconds == 0.02
    calls += [start(lambda: cached("b")) for _ in range(2)]
    until(lambda: len(warned) == 2)
    assert patience_of(cached).seconds == 0.04
    gate.open()
    assert [call() for call in calls] == [b"1"] * 7
    first, second = (str(warning.message) for warning in warned)
    assert "('a') has waited" in first and "('b') has waited" in second
    assert_at_rest(cached)


def test_a_warning_that_is_an_error_ends_the_wait_of_one_call(decorate: Any) -> None:
    """Under python -W error the call that would warn raises; the run goes on, and the next call gets its value."""
    gate = Gate()
    cached = impatient(decorate(lambda key: b"%d" % len(gate(key))))
    leading = start(lambda: cached("a"))
    gate.wait_entered()
    waiting = start(lambda: cached("a"))
    assert isinstance(waiting(), RuntimeWarning)
    gate.open()
    assert (leading(), cached("a"), cached.cache_info()[:2]) == (b"1", b"1", (2, 1))
    assert_at_rest(cached)


# once=False


@pytest.fixture(params=["memory", "shared"])
def every_call(request: pytest.FixtureRequest, stores: Any) -> Any:
    """fill_once with once=False, in memory and over a store."""
    return bytecache.fill_once(once=False, store=stores() if request.param == "shared" else None)


def test_with_once_false_no_call_waits(every_call: Any) -> None:
    """Simultaneous calls each run the function, and count as misses; the first value is stored, later calls hit."""
    inside = threading.Barrier(3)

    def read(key: str) -> bytes:
        inside.wait(PATIENCE_S)
        return b"x"

    cached = every_call(read)
    calls = [start(lambda: cached("a")) for _ in range(3)]
    assert [call() for call in calls] == [b"x"] * 3
    stats = cached.cache_stats()
    assert (cached("a"), stats.misses, stats.hits, stats.stored, stats.currsize) == (b"x", 3, 0, 1, 1)
    assert cached.cache_info()[:2] == (1, 3)


def test_with_once_false_a_lock_may_be_held_around_a_call(every_call: Any) -> None:
    """A thread whose run waits for a lock, and one that calls with that lock, are both answered."""
    lock, begun = threading.RLock(), threading.Event()

    def read(key: str) -> bytes:
        begun.set()
        with lock:
            return b"x"

    cached = every_call(read)
    with lock:
        other = start(lambda: cached("a"))
        assert begun.wait(PATIENCE_S)
        assert cached("a") == b"x"
    assert other() == b"x"


def test_with_once_false_map_and_exceptions_are_as_ever(every_call: Any) -> None:
    """map reads a repeated key once; an exception is a miss and an error, and is not stored."""

    def read(key: str) -> bytes:
        return b"%d" % (1 // len(key))

    cached = every_call(read)
    assert cached.map(["a", "bb", "a"]) == [b"1", b"0", b"1"]
    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            cached("")
    stats = cached.cache_stats()
    assert (stats.hits, stats.misses, stats.errors, stats.stored) == (1, 4, 2, 2)


def test_processes_do_not_wait_with_once_false_either(stores: Any) -> None:
    """A call whose key another process reads runs the function itself: no lease is asked for."""
    gate = Gate()
    one, other = (bytecache.fill_once(store=stores(name="one"), once=False, version=1) for _ in range(2))
    blocked = one(lambda key: b"%d" % len(gate(key)))
    leading = start(lambda: blocked("a"))
    gate.wait_entered()
    try:
        assert other(lambda key: b"other")("a") == b"other"
    finally:
        gate.open()
    assert leading() == b"1"


def test_a_map_whose_helpers_need_the_callers_lock_says_so(warned: Any, monkeypatch: Any) -> None:
    """The warning names the helper and where it is, and the line that waits; the map ends once the lock is released."""
    monkeypatch.setattr(threads, "LONG_WAIT_S", 0.05)
    lock, both, caller = threading.Lock(), threading.Barrier(2), []

    @bytecache.fill_once
    def read(key: int) -> int:
        both.wait(PATIENCE_S)
        if threading.get_ident() not in caller:
            lock.acquire()
        return key

    def call() -> Any:
        caller.append(threading.get_ident())
        lock.acquire()
        return read.map([1, 2], threads=2)

    values = start(call)
    until(lambda: warned)
    lock.release()
    assert values() == [1, 2]
    (warning,) = warned
    assert re.match(
        r"waited 0 s for thread 'bytecache helper \d+' \(now at .*, to finish the last", str(warning.message)
    )
    assert "or with threads=1" in str(warning.message) and warning.filename == __file__


def test_a_map_that_takes_long_itself_says_nothing(warned: Any, monkeypatch: Any) -> None:
    """Helpers that have ended are not waited for, however long the caller's own reads took."""
    monkeypatch.setattr(threads, "LONG_WAIT_S", 0.0)

    @bytecache.fill_once
    def read(key: int) -> int:
        return key

    assert read.map(list(range(50)), threads=1) == list(range(50)) and warned == []
