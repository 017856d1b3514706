"""Tests of the places of threads that compute."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
from helpers.interrupts import entries_into, returns_into
from helpers.threads import PATIENCE_S, Busy, start, together, until

from bytecache.cache.staged import places as module
from bytecache.cache.staged.places import Places


@pytest.fixture
def endless_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody goes on without a place: a test that needs that hangs."""
    monkeypatch.setattr(module, "_PATIENCE_S", 10 * PATIENCE_S)


def hold(places: Places) -> threading.Event:
    """Have a thread take a place until the event is set that is returned."""
    taken, end = threading.Event(), threading.Event()

    def run() -> None:
        with places.taken():
            taken.set()
            end.wait(PATIENCE_S)

    start(run)
    assert taken.wait(PATIENCE_S)
    return end


@pytest.mark.parametrize("one_by_one", [False, True])
def test_all_calls_together_compute_on_one_thread_more_than_there_are_processors(one_by_one: bool) -> None:
    """At most; each item is done once."""
    places, busy = Places(2), Busy()
    done: list[tuple[int, int]] = []

    def work(item: tuple[int, int]) -> None:
        with busy:
            sum(range(5_000))
        done.append(item)

    def call(number: int) -> None:
        items = [(number, n) for n in range(50)]
        if not one_by_one:
            return places.run(work, items, 2)
        for item in items:
            with places.taken():
                work(item)

    assert together(*[lambda number=number: call(number) for number in range(6)]) == [None] * 6  # type: ignore[misc]
    assert sorted(done) == [(number, n) for number in range(6) for n in range(50)]
    assert 1 <= busy.most <= 3


@pytest.mark.usefixtures("endless_patience")
def test_the_first_call_computes_first() -> None:
    """What comes later waits until it has ended, if there is one place."""
    places, done = Places(1), []
    ends = [hold(places), hold(places)]
    calls = []
    for number in range(3):
        calls.append(start(lambda number=number: places.run(lambda n: done.append((number, n)), [0, 1, 2], 1)))  # type: ignore[misc]
        until(lambda number=number: len(places._waiting) == number + 1)  # type: ignore[misc]
    ends[0].set()
    assert [call() for call in calls] == [None] * 3
    ends[1].set()
    assert done == [(number, n) for number in range(3) for n in range(3)]


@pytest.mark.usefixtures("endless_patience")
def test_a_thread_that_has_a_place_needs_no_other() -> None:
    """A stage may call its own pipeline while all places are taken."""
    places, done = Places(1), []
    end = hold(places)

    def work(item: int) -> None:
        places.run(done.append, [item, item + 1], 1)
        with places.taken():
            done.append(-item)

    assert start(lambda: places.run(work, [1], 1))() is None
    assert done == [1, 2, -1]
    end.set()


def test_nobody_waits_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stage may call its own pipeline from other threads, and wait for them in all places."""
    monkeypatch.setattr(module, "_PATIENCE_S", 0.01)
    places, done = Places(2), []
    barrier = threading.Barrier(2)

    def work(item: int) -> None:
        barrier.wait(PATIENCE_S)
        assert start(lambda: places.run(done.append, [item], 1))() is None

    with places.taken():  # the third one
        assert start(lambda: places.run(work, [1, 2], 2))() is None
    assert sorted(done) == [1, 2]
    assert places._taken == 0  # those who went on without leave nothing behind


@pytest.mark.usefixtures("endless_patience")
@pytest.mark.parametrize("error", [ValueError, IndexError, KeyboardInterrupt])
def test_an_exception_is_raised_and_the_place_given_back(error: type[BaseException]) -> None:
    """The items that are left are not worked on."""
    places, done = Places(1), []

    def work(item: Any) -> None:
        done.append(item)
        raise error(item)

    for _ in range(4):
        with pytest.raises(error, match="1"):
            places.run(work, [1, 2, 3], 1)
        with pytest.raises(error), places.taken():
            raise error
    assert done == [1] * 4
    assert places._taken == 0


@pytest.mark.parametrize("interrupted", [entries_into, returns_into])
def test_an_interrupt_leaves_no_lock(interrupted: Callable[..., int]) -> None:
    """Wherever it strikes this thread, others take places afterwards."""
    modules = {module.__name__, "threading"}

    def call(places: Places) -> None:
        with places.taken():
            pass
        places.run(str, range(3), 1)

    count = interrupted(modules, lambda: call(Places(100)))
    assert count > 4
    for at in range(1, count + 1):
        places = Places(100)
        interrupted(modules, lambda: call(places), at)  # noqa: B023
        assert together(lambda: call(places)) == [None], at  # noqa: B023
