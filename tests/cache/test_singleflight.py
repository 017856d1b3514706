"""One run per key: waiters, leaders that die, calls in a circle, forks and signals."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from helpers.processes import in_child
from helpers.threads import PATIENCE_S, start, together, until

import bytecache
from bytecache.cache import singleflight as flights

N = 8


def cache_of(cached: Any) -> Any:
    return cached.cache_info.__self__


@pytest.fixture(autouse=True)
def nobody_waits() -> Iterator[None]:
    """After each test no thread is noted as waiting."""
    yield
    assert flights._waits == {}


class Gate:
    """A function's body that blocks: `entered` tells that it runs, `open` lets it go on."""

    def __init__(self) -> None:
        self.ran: list[Any] = []
        self.entered, self._leave = threading.Semaphore(0), threading.Event()

    def __call__(self, key: Any) -> Any:
        self.ran.append(key)
        self.entered.release()
        assert self._leave.wait(PATIENCE_S)
        return [key]

    def wait_entered(self) -> None:
        assert self.entered.acquire(timeout=PATIENCE_S)

    def open(self) -> None:
        self._leave.set()


def crowd(cached: Any, gate: Gate, key: Any = "a") -> list[Callable[[], Any]]:
    """N calls of one key: the first leads and is in the function, the others wait for it."""
    calls = [start(lambda: cached(key))]
    gate.wait_entered()
    calls += [start(lambda: cached(key)) for _ in range(N - 1)]
    until(lambda: len(flights._waits) == N - 1)
    return calls


def assert_at_rest(cached: Any) -> None:
    assert cache_of(cached)._flights == {}
    assert flights._waits == {}


# Waiters


def test_simultaneous_misses_run_once_and_share_the_value(both: Any) -> None:
    """Of N calls one runs the function and is the miss; the others get that very object and are hits."""
    gate = Gate()
    f = both()(gate)
    calls = crowd(f, gate)
    gate.open()
    first, *others = [call() for call in calls]
    assert first == ["a"] and all(other is first for other in others)
    assert (gate.ran, f.cache_info()[:2]) == (["a"], (N - 1, 1))
    assert_at_rest(f)


def test_simultaneous_misses_share_the_exception(both: Any) -> None:
    """Waiters get the leader's exception, counted as one error; it is not stored."""
    gate = Gate()

    @both()
    def f(key: Any) -> Any:
        gate(key)
        raise LookupError(key)

    calls = crowd(f, gate)
    gate.open()
    errors = [call() for call in calls]
    assert isinstance(errors[0], LookupError) and len(set(map(id, errors))) == 1
    stats = f.cache_stats()
    assert (stats.hits, stats.misses, stats.errors, stats.currsize) == (N - 1, 1, 1, 0)
    assert isinstance(start(lambda: f("a"))(), LookupError)
    assert gate.ran == ["a", "a"]
    assert_at_rest(f)


def test_waiters_get_a_value_that_was_rejected(both: Any) -> None:
    """Also a value that does not fit is shared by the calls that waited for it."""
    gate = Gate()
    f = both(maxbytes=1)(gate)
    calls = crowd(f, gate)
    gate.open()
    assert [call() for call in calls] == [["a"]] * N
    stats = f.cache_stats()
    assert (len(gate.ran), stats.hits, stats.rejected, stats.currsize) == (1, N - 1, 1, 0)


def test_two_keys_do_not_wait_for_each_other(both: Any) -> None:
    """Two keys can be in the function at the same time, and a third is answered meanwhile."""
    inside = threading.Barrier(3)

    @both()
    def f(key: str) -> str:
        if key != "c":
            inside.wait(PATIENCE_S)
        return key

    calls = [start(lambda: f("a")), start(lambda: f("b"))]
    assert f("c") == f("c") == "c"
    inside.wait(PATIENCE_S)
    assert [call() for call in calls] == ["a", "b"]


def test_a_call_after_a_clear_does_not_join_a_flight_from_before_it(both: Any) -> None:
    """Who waits since before the clear gets the old value; who comes after it runs the function anew."""
    gate, later = Gate(), Gate()
    bodies = iter([gate, later])
    f = both()(lambda key: next(bodies)(key))
    before = crowd(f, gate)
    f.cache_clear()
    after = start(lambda: f("a"))
    later.wait_entered()
    gate.open()
    old = [call() for call in before]
    assert all(value is old[0] for value in old)
    stored = cache_of(f).evicts  # lru_cache stores after a clear, as functools does
    assert f.cache_info().currsize == stored
    later.open()
    assert after() == old[0] and after() is not old[0]
    assert f("a") is (old[0] if stored else after())
    assert_at_rest(f)


@pytest.mark.parametrize("death", [KeyboardInterrupt, SystemExit, GeneratorExit])
def test_one_waiter_takes_over_from_a_leader_that_dies(both: Any, death: type[BaseException]) -> None:
    """A leader's KeyboardInterrupt or SystemExit is its own: one waiter runs the function, the others get its value."""
    gate = Gate()

    @both()
    def f(key: Any) -> Any:
        value = gate(key)
        if len(gate.ran) == 1:
            raise death
        return value

    leader, *waiters = crowd(f, gate)
    gate.open()
    assert isinstance(leader(), death)
    assert [call() for call in waiters] == [["a"]] * (N - 1)
    stats = f.cache_stats()
    assert gate.ran == ["a", "a"]
    assert (stats.hits, stats.misses, stats.errors, stats.currsize) == (N - 2, 2, 1, 1)
    assert_at_rest(f)


def test_all_leaders_may_die(both: Any) -> None:
    """Where every leader dies each call runs the function once, and nobody is left waiting."""
    gate = Gate()

    @both()
    def f(key: Any) -> Any:
        gate(key)
        raise SystemExit

    calls = crowd(f, gate)
    gate.open()
    assert [type(call()) for call in calls] == [SystemExit] * N
    assert (len(gate.ran), f.cache_info()[:2]) == (N, (0, N))
    assert_at_rest(f)


# Functions that call themselves


def test_recursion_with_other_keys_works(both: Any) -> None:
    """A cached function may call itself with other arguments."""

    @both()
    def fib(n: int) -> int:
        return n if n < 2 else fib(n - 1) + fib(n - 2)

    assert fib(50) == 12586269025
    assert fib.cache_info()[:2] == (48, 51)


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
    """As in functools the inner call runs; the first value that is finished is kept."""

    @bytecache.lru_cache
    def f(key: str) -> Any:
        ran.append(key)
        return [len(ran)] if len(ran) == 3 else [f(key)]

    ran: list[str] = []
    assert f("a") == [[[3]]]
    assert ran == ["a"] * 3
    assert (f("a"), f.cache_info()) == ([3], (1, 3, 128, 1))
    assert_at_rest(f)


@pytest.mark.parametrize("size", [2, 3])
def test_threads_that_call_in_a_circle_get_an_error(both: Any, size: int) -> None:
    """Threads whose functions call each other's keys in a circle get RecursionError; none hangs, nothing is stored."""
    inside = threading.Barrier(size)

    @both()
    def f(key: int) -> Any:
        if inside.broken:
            return key
        inside.wait(PATIENCE_S)
        return f((key + 1) % size)

    outcomes = together(*[lambda key=key: f(key) for key in range(size)])
    assert [type(outcome) for outcome in outcomes] == [RecursionError] * size
    stats = f.cache_stats()
    assert (stats.hits, stats.misses, stats.errors, stats.currsize) == (size, size, size, 0)
    assert_at_rest(f)
    inside.abort()
    assert [f(key) for key in range(size)] == list(range(size))


def test_a_circle_through_two_functions_gets_an_error(both: Any) -> None:
    """The circle is found across caches too."""
    inside = threading.Barrier(2)

    def meet_then(other: Callable[[], Any]) -> Any:
        inside.wait(PATIENCE_S)
        return other()

    f = both()(lambda: meet_then(lambda: g()))
    g = both()(lambda: meet_then(lambda: f()))
    assert [type(outcome) for outcome in together(f, g)] == [RecursionError, RecursionError]
    assert_at_rest(f)
    assert_at_rest(g)


def test_a_function_that_maps_its_own_key_gets_an_error(both: Any) -> None:
    """A helper of map that asks for the key whose run waits for that helper is refused: it could never end."""

    @both()
    def f(key: str) -> Any:
        if key == "whole":
            return f.map(["part", "other part"], threads=2)
        if threading.current_thread() is threading.main_thread():
            assert helper_began.wait(PATIENCE_S)
            return key
        helper_began.set()
        return f("whole")

    def outcome() -> str:
        with pytest.raises(RecursionError):
            f("whole")
        return "refused"

    helper_began = threading.Event()
    assert in_child(outcome, patience_s=10) == "refused"  # in a child, since a hang could not be ended here


@pytest.mark.parametrize("on_caller", [True, False], ids=["the caller asks", "the helper asks"])
def test_a_map_whose_items_need_each_other_works(both: Any, on_caller: bool) -> None:
    """Of two items that map reads at once one may call the function with the other's key, on either thread."""
    both_run, caller, ended = threading.Barrier(2), threading.get_ident(), threading.Event()

    @both()
    def f(key: str) -> str:
        both_run.wait(PATIENCE_S)
        if (threading.get_ident() == caller) == on_caller:
            try:
                return f("b" if key == "a" else "a")
            finally:
                ended.set()
        until(lambda: flights._waits or ended.is_set())
        return key

    first, second = f.map(["a", "b"], threads=2)
    assert first == second
    assert f.cache_info()[:2] == (1, 2)
    assert_at_rest(f)


# Locks


def test_a_hit_takes_no_lock(both: Any) -> None:
    """While another thread holds the cache's lock a hit is still answered."""
    f = both()(lambda key: [key])
    value = f("a")
    locked, leave = threading.Event(), threading.Event()

    def hold() -> None:
        with cache_of(f)._lock, flights._lock:
            locked.set()
            leave.wait(PATIENCE_S)

    holder = start(hold)
    assert locked.wait(PATIENCE_S)
    assert f("a") is value
    assert not leave.is_set()
    leave.set()
    holder()


def test_the_users_code_runs_outside_the_lock(both: Any) -> None:
    """The function, key= and sizeof= may take long: meanwhile other threads find the lock free."""
    seen = []

    def look(*args: Any) -> int:
        seen.append(start(lambda: f.cache_info().maxsize)())
        return 1

    f = both(maxsize=5, key=look, sizeof=look)(look)
    f("a")
    assert seen == [5, 5, 5]


# Processes


def test_a_child_does_not_wait_for_its_parents_threads(both: Any) -> None:
    """After a fork the key that another thread of the parent was reading is read by the child itself."""
    gate = Gate()
    parent = os.getpid()
    f = both()(lambda key: gate(key) if os.getpid() == parent else ["child"])
    calls = crowd(f, gate)
    assert in_child(lambda: (f("a"), f("a"), f.cache_info()[:3:2], cache_of(f)._flights)) == (
        ["child"],
        ["child"],
        (1, f.cache_info().maxsize),
        {},
    )
    gate.open()
    assert [call() for call in calls] == [["a"]] * N
    assert_at_rest(f)


def test_a_fork_inside_the_function_keeps_its_own_flight(both: Any) -> None:
    """A function that forks may finish its call in the child: that flight is the child's."""

    @both()
    def f(key: str) -> Any:
        return in_child(lambda: (list(cache_of(f)._flights), f("other"))) if key == "a" else key

    assert f("a") == (["a"], "other")
    assert_at_rest(f)


def test_forks_in_the_middle_of_calls_keep_the_counts(both: Any) -> None:
    """However a fork falls into other threads' calls, the child's figures agree and its locks are free."""
    f = both(maxbytes=10**9)(lambda key: b"x" * 100)
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
        store = cache_of(f).store
        return (
            stats.stored == stats.currsize == len(store.entries) - 1,
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


def test_ctrl_c_in_a_call_leaves_the_cache_usable(both: Any) -> None:
    """A real SIGINT while the function runs ends that call; the key can be read again."""
    ran = []

    @both()
    def f(key: str) -> str:
        ran.append(key)
        if len(ran) == 1:
            signal.raise_signal(signal.SIGINT)
        return key

    with pytest.raises(KeyboardInterrupt):
        f("a")
    assert_at_rest(f)
    assert (f("a"), ran, f.cache_info()[:2]) == ("a", ["a", "a"], (0, 2))


def test_ctrl_c_frees_a_main_thread_that_waits(both: Any) -> None:
    """A SIGINT reaches a thread that waits for another's call; that call goes on, and the others get its value."""
    gate = Gate()
    f = both()(gate)
    calls = crowd(f, gate)

    def interrupt() -> None:
        until(lambda: threading.main_thread().ident in flights._waits)
        os.kill(os.getpid(), signal.SIGINT)

    helper = start(interrupt)
    with pytest.raises(KeyboardInterrupt):
        f("a")
    helper()
    gate.open()
    assert [call() for call in calls] == [["a"]] * N
    assert f.cache_info()[:2] == (N, 1)
    assert_at_rest(f)


def entries_into_bytecache(call: Callable[[], Any], interrupt_at: int | None = None) -> int:
    """How many Python functions of bytecache.cache and .flight `call` enters; raises at the entry that is asked for.

    CPython handles a signal where a function is entered, so these are places where Ctrl-C really strikes.
    """
    entered = 0

    def trace(frame: Any, event: str, arg: Any) -> None:
        nonlocal entered
        if frame.f_globals.get("__name__") in ("bytecache.cache.memory_cache", "bytecache.cache.singleflight"):
            entered += 1
            if entered == interrupt_at:
                raise KeyboardInterrupt

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        call()
    except KeyboardInterrupt:
        pass
    finally:
        sys.settrace(before)
    return entered


@pytest.mark.parametrize("body", [lambda key: key, lambda key: 1 // 0], ids=["value", "exception"])
def test_an_interrupt_anywhere_in_a_miss_strands_nobody(both: Any, body: Any) -> None:
    """Wherever in the miss path a KeyboardInterrupt strikes, the next call of the key is answered."""

    def call() -> None:
        try:
            f("a")
        except ZeroDivisionError:
            pass

    f = both()(body)
    places = entries_into_bytecache(call)
    assert places > 3
    for place in range(1, places + 1):
        f.cache_clear()
        entries_into_bytecache(call, interrupt_at=place)
        start(call)()  # in another thread, which would have to wait for a flight that nobody flies
        call()
        assert_at_rest(f)


def test_random_interrupts_strand_nobody(both: Any, plain_gc: None) -> None:
    """A timer's interrupts, fallen anywhere into calls, leave no flight behind that somebody would wait for."""
    f = both()(lambda key: key)

    def ring(*args: Any) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, ring)
    interrupted = 0
    try:
        for turn in range(2000):
            try:
                signal.setitimer(signal.ITIMER_REAL, 1e-6 * (1 + turn % 50))
                for key in range(turn * 100, turn * 100 + 100):
                    f(key)
                signal.setitimer(signal.ITIMER_REAL, 0)
            except KeyboardInterrupt:
                interrupted += 1
            left = list(cache_of(f)._flights)
            assert start(lambda: [f(key) for key in left])() == left  # noqa: B023
            assert not any(flight.airborne.locked() for flight in cache_of(f)._flights.values())
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert interrupted > 0
