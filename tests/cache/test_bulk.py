"""map and warm: order, counts, failures, threads, progress, interrupts; and the pool below them."""

from __future__ import annotations

import os
import signal
import sys
import threading
import weakref
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from helpers.counting import counting, figures
from helpers.processes import in_child
from helpers.threads import PATIENCE_S, start, together, until

import bytecache
from bytecache.cache import singleflight as flight
from bytecache.system import threads as pool
from bytecache.system.threads import run_on_threads


def counting_lists(decorate: Any, function: Any = lambda x: [x]) -> tuple[Any, list[Any]]:
    """Counting, by default around a function whose values are told apart by identity."""
    return counting(decorate, function)


@pytest.fixture(params=[None, 1, 4], ids="threads={}".format)
def threads(request: pytest.FixtureRequest) -> Any:
    return request.param


# map


def test_map_keeps_the_order(both: Any, threads: Any) -> None:
    """Values come in the order of the keys, read or held, from a list or a generator."""
    f, ran = counting_lists(both())
    f(3), f(5)
    assert f.map((key for key in [5, 9, 3, 1, 5]), threads) == [[5], [9], [3], [1], [5]]
    assert sorted(ran) == [1, 3, 5, 9]
    assert f.map([]) == []


@pytest.mark.parametrize("options", [{}, {"maxsize": 2}, {"maxsize": 0}, {"maxbytes": 1}])
def test_map_runs_duplicates_once(both: Any, threads: Any, options: dict[str, int]) -> None:
    """A key that comes again is read once and counts as a hit, also where nothing fits; all calls are counted."""
    f, ran = counting_lists(both(**options))
    keys = [1, 2, 1, 3, 4, 3, 1]
    values = f.map(keys, threads)
    assert values == [[key] for key in keys]
    assert values[0] is values[2] is values[6]
    assert sorted(ran) == [1, 2, 3, 4]
    assert f.cache_info()[:2] == (3, 4)


def test_a_key_that_raises_fails_its_item_alone(both: Any, tmp_path: Any) -> None:
    """With return_exceptions what key= raised stands in the item's place; else it is raised, with a note."""
    (tmp_path / "there").write_bytes(b"x")
    f = both(key=bytecache.file_key)(lambda path: path.read_bytes())
    paths = [tmp_path / "there", tmp_path / "gone"]
    value, failure = f.map(paths, return_exceptions=True)
    assert value == b"x" and isinstance(failure, FileNotFoundError)
    with pytest.raises(FileNotFoundError) as caught:
        f.map(paths)
    assert "gone" in caught.value.__notes__[0]
    del failure, caught


def test_map_uses_key_and_typed(both: Any) -> None:
    """Duplicates are those of the cache's own keys."""
    lower, ran = counting_lists(both(key=str.lower))
    assert lower.map(["A", "a", "b"], 1) == [["A"], ["A"], ["b"]]
    typed, ran = counting_lists(both(typed=True))
    assert typed.map([1, 1.0, True], 1) == [[1], [1.0], [True]]
    assert list(map(type, ran)) == [int, float, bool]


def test_map_reads_side_by_side(both: Any) -> None:
    """threads=N means N reads at once: each waits inside the function for all the others."""
    inside = threading.Barrier(6)
    f, _ = counting_lists(both(), lambda x: inside.wait(PATIENCE_S) >= 0)
    assert f.map(range(6), threads=6) == [True] * 6


def test_map_with_one_thread_stays_in_the_callers(both: Any) -> None:
    """threads=1 calls the function in the calling thread, in the order of the keys."""
    f, ran = counting_lists(both(), lambda x: threading.current_thread())
    assert f.map([3, 1, 2], threads=1) == [threading.current_thread()] * 3
    assert ran == [3, 1, 2]


@pytest.mark.parametrize("method", ["map", "warm"])
@pytest.mark.parametrize("wrong, error", [(0, ValueError), (-1, ValueError), (1.5, TypeError), (True, TypeError)])
def test_threads_are_checked_first(both: Any, method: str, wrong: Any, error: Any) -> None:
    """A number of threads that is none raises before a key is read, and the message names it."""
    f, ran = counting_lists(both())
    with pytest.raises(error, match=f"threads must be a positive int or None, got {wrong!r}"):
        getattr(f, method)([1], threads=wrong)
    assert ran == []


def test_map_raises_the_first_exception_in_the_order_of_keys(both: Any) -> None:
    """Of several that fail the first key's exception is raised, with that key in a note, once all reads have ended."""
    second_failed = threading.Event()
    ended = []

    @both()
    def f(key: str) -> Any:
        try:
            if key == "first":
                assert second_failed.wait(PATIENCE_S)
            raise LookupError(key)
        finally:
            ended.append(key)
            second_failed.set()

    with pytest.raises(LookupError) as caught:
        f.map(["first", "second"], threads=2)
    assert caught.value.args == ("first",)
    assert caught.value.__notes__ == ["bytecache: while reading 'first'"]
    assert ended == ["second", "first"]
    assert figures(f, "misses", "errors", "currsize") == (2, 2, 0)


def test_map_begins_nothing_after_an_exception(both: Any) -> None:
    """With one thread the keys after the one that failed are not read."""
    f, ran = counting_lists(both(), lambda x: 1 // x)
    with pytest.raises(ZeroDivisionError):
        f.map([1, 0, 2], threads=1)
    assert ran == [1, 0]


def test_map_returns_exceptions_in_place(both: Any, threads: Any) -> None:
    """With return_exceptions every key is read, and each exception stands where its value would."""
    f, ran = counting_lists(both(), lambda x: 6 // x)
    values = f.map([1, 0, 2, 0], threads, return_exceptions=True)
    assert (values[0], values[2]) == (6, 3)
    assert type(values[1]) is ZeroDivisionError and values[1] is values[3]
    assert figures(f, "hits", "misses", "errors") == (1, 3, 1)


def test_map_does_not_return_an_interrupt(both: Any) -> None:
    """KeyboardInterrupt is raised also with return_exceptions."""

    @both()
    def f(key: int) -> Any:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        f.map([1, 2], threads=2, return_exceptions=True)


def test_two_maps_share_their_reads(both: Any) -> None:
    """The same keys mapped from two threads at once are read once each."""
    f, ran = counting_lists(both())
    first, second = together(lambda: f.map(range(200), 3), lambda: f.map(range(200), 3))
    assert first == second == [[key] for key in range(200)]
    assert sorted(ran) == list(range(200))
    assert f.cache_info()[:2] == (200, 200)


def test_map_inside_a_cached_function(both: Any) -> None:
    """A cached function may map another, on more threads than the pool has helpers: the callers work too."""
    part = both()(lambda key: key)
    whole = both()(lambda row: sum(part.map(range(row, row + 3), threads=16)))
    assert whole.map(range(200), threads=200) == [3 * row + 3 for row in range(200)]
    assert part.cache_info().currsize == 202


def test_an_unhashable_key_reads_nothing(both: Any) -> None:
    """A list among the keys is a TypeError before any read."""
    f, ran = counting_lists(both())
    with pytest.raises(TypeError, match="unhashable"):
        f.map([1, [2]])
    assert ran == []


# warm


def test_warm_fills(both: Any, threads: Any) -> None:
    """warm reads every key once and returns the stats; the calls that follow hit."""
    f, ran = counting_lists(both())
    stats = f.warm((key for key in range(50)), threads)
    assert stats == f.cache_stats()
    assert (sorted(ran), stats.currsize, stats.misses) == (list(range(50)), 50, 50)
    assert f.map(range(50)) == [[key] for key in range(50)]
    assert f.cache_info().misses == 50


@pytest.mark.parametrize("options", [{"maxsize": 3}, {"maxbytes": 35, "sizeof": lambda value: 10}])
def test_warm_stops_when_the_cache_is_full(both: Any, options: Any) -> None:
    """No key is read once another value of the mean size would not fit; the rest of the keys is not even drawn."""
    f, ran = counting_lists(both(**options))
    keys = iter(range(100))
    assert f.warm(keys, threads=1).currsize == 3
    assert ran == [0, 1, 2]
    assert next(keys) == 4
    assert f.warm(range(50, 60)).misses == 3


def test_warm_with_size_zero_reads_nothing(both: Any) -> None:
    """A cache that holds nothing is full from the start."""
    f, ran = counting_lists(both(maxsize=0))
    assert f.warm([1, 2]).misses == len(ran) == 0


def test_warm_passes_over_keys_that_fail(both: Any, threads: Any) -> None:
    """Keys whose read raises are counted, reported in one RuntimeWarning that points here, and raise when called."""
    f, _ = counting_lists(both(), lambda x: 1 // (x % 3))
    with pytest.warns(RuntimeWarning, match=r"warm passed over 3 keys whose read raised; the first: .*Zero") as caught:
        stats = f.warm(range(7), threads)
    assert [warning.filename for warning in caught] == [__file__]
    assert (stats.errors, stats.currsize) == (3, 4)
    with pytest.raises(ZeroDivisionError):
        f(0)


def test_warm_shows_a_tqdm_bar(both: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """With progress a tqdm bar on stderr counts to the end; without it nothing is written."""
    tqdm = pytest.importorskip("tqdm").tqdm
    monkeypatch.setattr(tqdm, "monitor_interval", 0)  # no thread of its own
    f, _ = counting_lists(both())
    f.warm([7])
    assert capsys.readouterr() == ("", "")
    f.warm(range(20), progress=True)
    out, err = capsys.readouterr()
    assert out == ""
    assert "warm: 100%" in err and "20/20" in err


@pytest.mark.parametrize(
    "keys, line",
    [
        (range(20), "warm: 20 of 20\n"),
        (lambda: iter({1, 2}), "warm: 2 of 2\n"),
        (lambda: (key for key in range(20)), "warm: 20\n"),
    ],
)
def test_warm_writes_a_line_without_tqdm(
    both: Any, keys: Any, line: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where tqdm is not installed the last line tells how many keys were read, and of how many where that is known."""
    monkeypatch.setitem(sys.modules, "tqdm", None)
    f, _ = counting_lists(both())
    f.warm(keys() if callable(keys) else keys, progress=True)
    out, err = capsys.readouterr()
    assert out == "" and err.endswith(line)


@pytest.mark.parametrize("method", ["map", "warm"])
@pytest.mark.parametrize("count", [1, 4])
def test_ctrl_c_leaves_the_cache_sound(both: Any, method: str, count: int) -> None:
    """A real SIGINT in the middle of a bulk read ends it; what was read is kept, the rest can be read."""
    interrupted = []

    @both()
    def f(key: int) -> Any:
        if key == 50 and not interrupted:
            interrupted.append(key)
            os.kill(os.getpid(), signal.SIGINT)
        return [key]

    with pytest.raises(KeyboardInterrupt):
        getattr(f, method)(range(100_000), threads=count)
    stats = f.cache_stats()
    assert stats.stored == stats.currsize < 100_000
    assert stats.hits == 0
    assert (f.cache_info.__self__._flights, flight._waits) == ({}, {})
    assert f.map(range(100)) == [[key] for key in range(100)]


# The pool


def test_run_shared_does_each_item_once() -> None:
    """Every item is worked on once, whatever the number of threads, also more than there are items."""
    for threads in 1, 2, 7, 300:
        done: list[int] = []
        run_on_threads(done.append, iter(range(100)), threads)
        assert sorted(done) == list(range(100))


def test_run_shared_draws_items_from_one_thread_at_a_time() -> None:
    """A generator may be shared by the threads: its body never runs twice at once, its exception is raised."""

    def items() -> Iterator[int]:
        yield from range(1000)
        raise LookupError("the source")

    done: list[int] = []
    with pytest.raises(LookupError, match="the source"):
        run_on_threads(done.append, items(), 8)
    assert sorted(done) == list(range(1000))


def test_run_shared_lets_begun_work_end() -> None:
    """When one item fails the others that run are waited for; the first failure in order of the items is raised."""
    both_run = threading.Barrier(2)
    failed = threading.Event()
    done = []

    def work(item: str) -> None:
        both_run.wait(PATIENCE_S)
        if item == "fails":
            failed.set()
        else:
            assert failed.wait(PATIENCE_S)
            done.append(item)
        raise LookupError(item)

    items = iter(["goes on", "fails", "is not begun"])
    with pytest.raises(LookupError, match="goes on"):
        run_on_threads(work, items, 2)
    assert done == ["goes on"]
    assert list(items) == ["is not begun"]


def waits_for_helpers(thread: int) -> bool:
    """Whether a thread waits in run_on_threads for the end of its helpers' work."""
    frame = sys._current_frames()[thread]
    while frame is not None and frame.f_code is not pool._ParallelRun.finish.__code__:
        frame = frame.f_back  # type: ignore[assignment]
    return frame is not None


def test_run_shared_outlives_no_work_when_interrupted() -> None:
    """A Ctrl-C that strikes while the caller waits for a helper is raised when that helper's work has ended."""
    begun, returned, struck = threading.Event(), threading.Event(), threading.Event()
    caller = threading.get_ident()
    outlived = []

    def strike(*args: Any) -> None:
        struck.set()
        raise KeyboardInterrupt

    def work(item: int) -> None:
        if threading.get_ident() == caller:
            assert begun.wait(PATIENCE_S)
            return
        begun.set()
        until(lambda: waits_for_helpers(caller))
        os.kill(os.getpid(), signal.SIGINT)
        assert struck.wait(PATIENCE_S)
        outlived.append(returned.wait(0.2))

    before = signal.signal(signal.SIGINT, strike)
    try:
        with pytest.raises(KeyboardInterrupt):
            run_on_threads(work, range(2), 2)
    finally:
        signal.signal(signal.SIGINT, before)
    returned.set()
    until(lambda: outlived)
    assert outlived == [False]


def test_an_interrupt_comes_before_a_helpers_exception() -> None:
    """Ctrl-C in the caller is raised, though a helper failed at an earlier item."""
    helping, at_last, failed = threading.Event(), threading.Event(), threading.Event()

    def work(item: int) -> None:
        if item == 0:  # the caller's, since a helper would wait for another
            assert helping.wait(PATIENCE_S) or threading.current_thread() is not threading.main_thread()
        elif item == 1:
            helping.set()
            assert at_last.wait(PATIENCE_S)
            failed.set()
            raise ValueError(item)
        else:
            at_last.set()
            assert failed.wait(PATIENCE_S)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_on_threads(work, range(3), 2)


@pytest.mark.parametrize("interrupts", [1, 2])
def test_interrupts_do_not_make_the_pool_forget(interrupts: int) -> None:
    """However calls end, the helpers that were asked for are given back."""
    asked = pool._pool._asked

    def work(item: int) -> None:
        raise KeyboardInterrupt

    for _ in range(interrupts):
        with pytest.raises(KeyboardInterrupt):
            run_on_threads(work, range(9), 3)
    assert pool._pool._asked == asked


def test_items_that_share_a_cached_function_need_no_order(both: Any) -> None:
    """A cached function inside a read that is mapped on threads is no circle, whoever runs it first."""

    @both()
    def index() -> str:
        reading.wait(PATIENCE_S)
        return "index"

    @both()
    def read(key: str) -> tuple[str, str]:
        return key, index()

    reading = threading.Event()
    mapped = start(lambda: read.map("abcd", threads=4))
    until(lambda: read.cache_info().misses >= 2)
    reading.set()
    assert mapped() == [(key, "index") for key in "abcd"]


def test_a_child_forked_in_the_middle_of_shared_work_can_end() -> None:
    """A child that leaves through run_on_threads does not wait for helpers that only its parent has."""
    begun = threading.Event()
    statuses: list[int] = []

    def work(item: int) -> None:
        if threading.current_thread() is not threading.main_thread():
            begun.set()
            until(lambda: statuses)  # the helper is at work while the caller forks
            return
        assert begun.wait(PATIENCE_S)
        pid = os.fork()
        if pid == 0:
            raise SystemExit(3)
        statuses.append(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))

    parent = os.getpid()
    try:
        run_on_threads(work, range(2), 2)
    except SystemExit:
        assert os.getpid() != parent
        os._exit(3)
    assert statuses == [3]


def test_warm_keeps_no_failed_read_alive(both: Any, plain_gc: None) -> None:
    """Of the reads that raised, the message is kept and nothing that their frames hold."""

    class Buffer:
        pass

    alive: list[Any] = []

    @both()
    def read(key: int) -> None:
        buffer = Buffer()
        alive.append(weakref.ref(buffer))
        raise OSError(key)

    with pytest.warns(RuntimeWarning, match="passed over 9 keys"):
        read.warm(range(9), threads=1)
    assert [one() for one in alive] == [None] * 9


def test_nothing_is_held_for_helpers_that_come_too_late(monkeypatch: pytest.MonkeyPatch, plain_gc: None) -> None:
    """When run_on_threads has returned, its work and its items are free, though a helper was never there."""

    class Item:
        pass

    waiting = pool._Pool()
    monkeypatch.setattr(waiting, "_start", lambda wanted: wanted)  # the tasks stay in the queue
    monkeypatch.setattr(pool, "_pool", waiting)
    items = [Item(), Item()]
    alive = [weakref.ref(item) for item in items]
    run_on_threads(id, items, 3)
    assert waiting._tasks.qsize() == 2
    del items
    assert [one() for one in alive] == [None, None]


def test_run_shared_leaves_no_cycle(plain_gc: None) -> None:
    """The exception of an item lets go of its frames when it is dropped."""

    class Local:
        pass

    alive: list[Any] = []

    def work(item: int) -> None:
        local = Local()
        alive.append(weakref.ref(local))
        raise LookupError

    for threads in 1, 3:
        with pytest.raises(LookupError) as caught:
            run_on_threads(work, range(3), threads)
        del caught
    until(lambda: [one() for one in alive] == [None] * len(alive) != [])


def test_work_is_done_where_no_helper_can_be_had(monkeypatch: pytest.MonkeyPatch) -> None:
    """When no thread can be started, as when the interpreter ends, the caller does it all."""

    def refuse(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    monkeypatch.setattr(pool, "_pool", pool._Pool())
    done: list[int] = []
    run_on_threads(done.append, range(5), 4)
    assert done == list(range(5))


def test_helpers_that_were_refused_once_are_asked_for_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """A pool that could not start its threads starts them at a later call."""
    monkeypatch.setattr(pool, "_pool", pool._Pool())
    with monkeypatch.context() as refusing:
        refusing.setattr(threading.Thread, "start", lambda self: (_ for _ in ()).throw(RuntimeError()))
        run_on_threads(lambda item: None, range(2), 2)
    both_in = threading.Barrier(2)
    run_on_threads(lambda item: both_in.wait(PATIENCE_S), range(2), 2)
    assert not both_in.broken


def test_the_iterators_own_exception_reaches_the_caller() -> None:
    """Whichever thread draws it, what the items raise is raised, and nothing of it is lost."""

    def items() -> Iterator[int]:
        yield 1
        raise LookupError("no more")

    for threads in 1, 3:
        with pytest.raises(LookupError, match="no more"):
            run_on_threads(lambda item: None, items(), threads)


def test_the_pool_survives_a_fork(both: Any) -> None:
    """A forked child has helpers of its own, also when it is forked in the middle of a bulk read."""
    inside = threading.Barrier(3)

    @both()
    def f(key: Any) -> Any:
        if key in ("b", "c"):
            inside.wait(PATIENCE_S)
        return os.getpid(), threading.get_ident()

    def in_the_child() -> Any:
        together_in_child = threading.Barrier(4)
        g = both()(lambda key: (together_in_child.wait(PATIENCE_S), os.getpid())[1])
        return set(g.map(range(4), threads=4)) == {os.getpid()}

    f.map(["a", "d"], threads=2)
    assert in_child(in_the_child) is True
    read = start(lambda: f.map(["b", "c"], threads=2))
    assert in_child(in_the_child) is True
    inside.wait(PATIENCE_S)
    assert {one for one, _ in read()} == {os.getpid()}


def test_arrays_from_map_are_read_only(both: Any) -> None:
    """What map returns is what the cache holds, arrays read-only."""
    f, _ = counting_lists(both(), lambda x: np.full(3, x))
    for array in f.map([1, 2]):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 9


def test_lru_map_of_more_than_fits() -> None:
    """lru_cache keeps the last keys of a map that is larger than the cache."""
    f, ran = counting_lists(bytecache.lru_cache(maxsize=2))
    assert f.map([1, 2, 3, 1], threads=1) == [[1], [2], [3], [1]]
    assert (ran, f.cache_info()) == ([1, 2, 3], (1, 3, 2, 2))
