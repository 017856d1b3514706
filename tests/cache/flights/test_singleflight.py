"""One run per key in memory: the contract of simultaneous calls, and locks, forks and interrupts."""

from __future__ import annotations

import os
import signal
import sys
import threading
from typing import Any

import pytest
from contracts.single_flight import SingleFlightContract
from helpers.flights import Gate, N, crowd
from helpers.internals import (
    MISS_PATH_MODULES,
    all_locks,
    assert_at_rest,
    evicts,
    flights_of,
    running_flights,
)
from helpers.interrupts import entries_into
from helpers.processes import in_child
from helpers.threads import PATIENCE_S, start

import bytecache


@pytest.fixture
def decorate(in_memory: Any) -> Any:
    """What the contract is run over."""
    return in_memory


class TestSingleFlight(SingleFlightContract):
    """fill_once and lru_cache in memory."""


# Waiters


def test_simultaneous_misses_run_once_and_share_the_value(in_memory: Any) -> None:
    """Of N calls one runs the function and is the miss; the others get that very object and are hits."""
    gate = Gate()
    f = in_memory()(gate)
    calls = crowd(f, gate)
    gate.open()
    first, *others = [call() for call in calls]
    assert first == ["a"] and all(other is first for other in others)
    assert (gate.ran, f.cache_info()[:2]) == (["a"], (N - 1, 1))
    assert_at_rest(f)


def test_a_call_after_a_clear_does_not_join_a_flight_from_before_it(in_memory: Any) -> None:
    """Calls that wait since before the clear get the old value; a call after it runs the function again."""
    gate, later = Gate(), Gate()
    bodies = iter([gate, later])
    f = in_memory()(lambda key: next(bodies)(key))
    before = crowd(f, gate)
    f.cache_clear()
    after = start(lambda: f("a"))
    later.wait_entered()
    gate.open()
    old = [call() for call in before]
    assert all(value is old[0] for value in old)
    stored = evicts(f)  # lru_cache stores after a clear, as functools does
    assert f.cache_info().currsize == stored
    later.open()
    assert after() == old[0] and after() is not old[0]
    assert f("a") is (old[0] if stored else after())
    assert_at_rest(f)


# Functions that call themselves


def test_fill_once_refuses_its_own_key_at_once() -> None:
    """A fill_once function that calls itself with its own arguments gets a RecursionError that says so."""
    ran = []

    @bytecache.fill_once
    def f(key: str) -> Any:
        ran.append(key)
        return f(key)

    with pytest.raises(RecursionError, match="calls itself, directly or in a circle, with the same arguments"):
        f("a")
    assert (ran, f.cache_info()[:2]) == (["a"], (1, 1))
    assert_at_rest(f)


def test_lru_cache_lets_a_function_re_enter_its_own_key() -> None:
    """As in functools the inner call runs; the first value that is returned is stored."""

    @bytecache.lru_cache
    def f(key: str) -> Any:
        ran.append(key)
        return [len(ran)] if len(ran) == 3 else [f(key)]

    ran: list[str] = []
    assert f("a") == [[[3]]]
    assert ran == ["a"] * 3
    assert (f("a"), f.cache_info()) == ([3], (1, 3, 128, 1))
    assert_at_rest(f)


# Locks


def test_a_hit_takes_no_lock(in_memory: Any) -> None:
    """A hit is answered even while another thread has every lock of the cache."""
    f = in_memory()(lambda key: [key])
    value = f("a")
    locked, leave = threading.Event(), threading.Event()

    def lock() -> None:
        with all_locks(f):
            locked.set()
            leave.wait(PATIENCE_S)

    locking = start(lock)
    assert locked.wait(PATIENCE_S)
    assert f("a") is value
    assert not leave.is_set()
    leave.set()
    locking()


def test_the_users_code_runs_outside_the_lock(in_memory: Any) -> None:
    """Other threads find the lock free while the function, key= or sizeof= runs: it may take long."""
    seen = []

    def look(*args: Any) -> int:
        seen.append(start(lambda: f.cache_info().maxsize)())
        return 1

    f = in_memory(maxsize=5, key=look, sizeof=look)(look)
    f("a")
    assert seen == [5, 5, 5]


# Processes


def test_a_child_does_not_wait_for_its_parents_threads(in_memory: Any) -> None:
    """After a fork the key that another thread of the parent was reading is read by the child itself."""
    gate = Gate()
    parent = os.getpid()
    f = in_memory()(lambda key: gate(key) if os.getpid() == parent else ["child"])
    calls = crowd(f, gate)
    assert in_child(lambda: (f("a"), f("a"), f.cache_info()[:3:2], flights_of(f))) == (
        ["child"],
        ["child"],
        (1, f.cache_info().maxsize),
        {},
    )
    gate.open()
    assert [call() for call in calls] == [["a"]] * N
    assert_at_rest(f)


def test_a_fork_inside_the_function_keeps_its_own_flight(in_memory: Any) -> None:
    """A function that forks may finish its call in the child: that flight is the child's."""

    @in_memory()
    def f(key: str) -> Any:
        return in_child(lambda: (list(flights_of(f)), f("other"))) if key == "a" else key

    assert f("a") == (["a"], "other")
    assert_at_rest(f)


def test_forks_in_the_middle_of_calls_keep_the_counts(in_memory: Any) -> None:
    """Wherever in other threads' calls a fork comes, the child's counters agree and its locks are free."""
    f = in_memory(maxbytes=10**9)(lambda key: b"x" * 100)
    stop = threading.Event()

    def work() -> None:
        for key in range(10**9):
            if stop.is_set():
                return
            f(key % 1000)
            if key % 3000 == 0:
                f.cache_clear()

    def look() -> Any:
        stats = f.cache_stats()
        f("new")
        f("new")
        return (
            stats.stored == stats.currsize == f.cache_info().currsize - 1,
            stats.currbytes == stats.currsize * sys.getsizeof(b"x" * 100),
            (f.cache_stats() - stats).hits,
            (f.cache_stats() - stats).misses,
        )

    workers = [start(work) for _ in range(4)]
    try:
        for _ in range(30):
            assert in_child(look) == (True, True, 1, 1)
    finally:
        stop.set()
    assert [worker() for worker in workers] == [None] * 4


# Interrupts


@pytest.mark.parametrize("divisor", [1, 0], ids=["value", "exception"])
def test_an_interrupt_anywhere_in_a_miss_strands_nobody(in_memory: Any, divisor: int) -> None:
    """Wherever in the miss path a KeyboardInterrupt comes, the next call of the key is answered, and counts agree."""

    def call() -> None:
        try:
            f("a")
        except ZeroDivisionError:
            pass

    f = in_memory()(lambda key: 1 // divisor)
    places = entries_into(MISS_PATH_MODULES, call)
    assert places > 3
    for place in range(1, places + 1):
        f.cache_clear()
        entries_into(MISS_PATH_MODULES, call, interrupt_at=place)
        stats = f.cache_stats()
        assert stats.stored - stats.evicted == stats.currsize and stats.errors <= stats.misses * (1 - divisor)
        start(call)()  # in another thread, which would wait for a flight that has no leader any more
        call()
        assert_at_rest(f)


def test_random_interrupts_strand_nobody(in_memory: Any, plain_gc: None) -> None:
    """A timer's interrupts, anywhere in calls, leave no flight behind that a call would wait for."""
    f = in_memory()(lambda key: key)

    def ring(*args: Any) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, ring)
    interrupted = 0
    try:
        for attempt in range(2000):
            try:
                signal.setitimer(signal.ITIMER_REAL, 1e-6 * (1 + attempt % 50))
                for key in range(attempt * 100, attempt * 100 + 100):
                    f(key)
                signal.setitimer(signal.ITIMER_REAL, 0)
            except KeyboardInterrupt:
                interrupted += 1
            stats = f.cache_stats()
            assert stats.stored - stats.evicted == stats.currsize and stats.errors <= interrupted
            left = list(flights_of(f))
            assert start(lambda: [f(key) for key in left])() == left  # noqa: B023
            assert running_flights(f) == []
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert interrupted > 0
