"""run_on_threads: each item once, exceptions and interrupts, forks, and the pool of helper threads."""

from __future__ import annotations

import os
import signal
import sys
import threading
import weakref
from collections.abc import Iterator
from typing import Any

import pytest
from helpers.threads import PATIENCE_S, until

from bytecache.system import threads as pool
from bytecache.system.threads import run_on_threads


def waits_for_helpers(thread: int) -> bool:
    """Return whether a thread waits in run_on_threads for the end of its helpers' work."""
    frame = sys._current_frames()[thread]
    while frame is not None and frame.f_code is not pool._ParallelRun.finish.__code__:
        frame = frame.f_back  # type: ignore[assignment]
    return frame is not None


def test_run_on_threads_does_each_item_once() -> None:
    """Each item is worked on once, whatever the number of threads, even with more threads than items."""
    for threads in 1, 2, 7, 300:
        done: list[int] = []
        run_on_threads(done.append, iter(range(100)), threads)
        assert sorted(done) == list(range(100))


def test_run_on_threads_draws_items_from_one_thread_at_a_time() -> None:
    """The items may come from a generator: its body never runs on two threads at once, its exception is raised."""

    def items() -> Iterator[int]:
        yield from range(1000)
        raise LookupError("the source")

    done: list[int] = []
    with pytest.raises(LookupError, match="the source"):
        run_on_threads(done.append, items(), 8)
    assert sorted(done) == list(range(1000))


def test_run_on_threads_lets_running_work_end() -> None:
    """If one item fails, those that run are waited for; the first failure in the order of the items is raised."""
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

    items = iter(["goes on", "fails", "is not started"])
    with pytest.raises(LookupError, match="goes on"):
        run_on_threads(work, items, 2)
    assert done == ["goes on"]
    assert list(items) == ["is not started"]


def test_an_interrupted_run_returns_after_its_helpers() -> None:
    """A Ctrl-C while the caller waits for a helper is raised when that helper's work has ended."""
    helper_runs, returned, interrupted = threading.Event(), threading.Event(), threading.Event()
    caller = threading.get_ident()
    ended_late = []

    def interrupt(*args: Any) -> None:
        interrupted.set()
        raise KeyboardInterrupt

    def work(item: int) -> None:
        if threading.get_ident() == caller:
            assert helper_runs.wait(PATIENCE_S)
            return
        helper_runs.set()
        until(lambda: waits_for_helpers(caller))
        os.kill(os.getpid(), signal.SIGINT)
        assert interrupted.wait(PATIENCE_S)
        ended_late.append(returned.wait(0.2))

    before = signal.signal(signal.SIGINT, interrupt)
    try:
        with pytest.raises(KeyboardInterrupt):
            run_on_threads(work, range(2), 2)
    finally:
        signal.signal(signal.SIGINT, before)
    returned.set()
    until(lambda: ended_late)
    assert ended_late == [False]


def test_an_interrupt_comes_before_a_helpers_exception() -> None:
    """Ctrl-C in the caller is raised, although a helper failed at an earlier item."""
    helper_runs, last_runs, failed = threading.Event(), threading.Event(), threading.Event()

    def work(item: int) -> None:
        if item == 0:  # the caller's, since a helper would wait for another
            assert helper_runs.wait(PATIENCE_S) or threading.current_thread() is not threading.main_thread()
        elif item == 1:
            helper_runs.set()
            assert last_runs.wait(PATIENCE_S)
            failed.set()
            raise ValueError(item)
        else:
            last_runs.set()
            assert failed.wait(PATIENCE_S)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_on_threads(work, range(3), 2)


@pytest.mark.parametrize("interrupts", [1, 2])
def test_interrupts_leave_no_helper_reserved(interrupts: int) -> None:
    """However calls end, the helpers that they asked for are free again."""
    asked = pool._pool._asked

    def work(item: int) -> None:
        raise KeyboardInterrupt

    for _ in range(interrupts):
        with pytest.raises(KeyboardInterrupt):
            run_on_threads(work, range(9), 3)
    assert pool._pool._asked == asked


def test_a_child_forked_in_the_middle_of_a_run_can_end() -> None:
    """A child that leaves through run_on_threads does not wait for helpers that only its parent has."""
    helper_runs = threading.Event()
    statuses: list[int] = []

    def work(item: int) -> None:
        if threading.current_thread() is not threading.main_thread():
            helper_runs.set()
            until(lambda: statuses)  # the helper is at work while the caller forks
            return
        assert helper_runs.wait(PATIENCE_S)
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


def test_nothing_is_kept_for_helpers_that_come_too_late(monkeypatch: pytest.MonkeyPatch, plain_gc: None) -> None:
    """When run_on_threads has returned, its work and its items are freed, even if a helper never started."""

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


def test_run_on_threads_leaves_no_cycle(plain_gc: None) -> None:
    """The frames of an item's exception are freed when the exception is dropped."""

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


def test_the_caller_does_all_work_if_no_thread_can_be_started(monkeypatch: pytest.MonkeyPatch) -> None:
    """If no thread can be started, as when the interpreter ends, the caller works on all items."""

    def refuse(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    monkeypatch.setattr(pool, "_pool", pool._Pool())
    done: list[int] = []
    run_on_threads(done.append, range(5), 4)
    assert done == list(range(5))


def test_helpers_that_were_refused_once_are_asked_for_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """A pool that could not start its threads tries again at the next call."""
    monkeypatch.setattr(pool, "_pool", pool._Pool())
    with monkeypatch.context() as refusing:
        refusing.setattr(threading.Thread, "start", lambda self: (_ for _ in ()).throw(RuntimeError()))
        run_on_threads(lambda item: None, range(2), 2)
    both_in = threading.Barrier(2)
    run_on_threads(lambda item: both_in.wait(PATIENCE_S), range(2), 2)
    assert not both_in.broken


def test_the_iterators_own_exception_reaches_the_caller() -> None:
    """What the iterator raises is raised, whichever thread draws from it."""

    def items() -> Iterator[int]:
        yield 1
        raise LookupError("no more")

    for threads in 1, 3:
        with pytest.raises(LookupError, match="no more"):
            run_on_threads(lambda item: None, items(), threads)
