"""Calls made ahead: the same results, errors and random numbers in the same order as without it, each made once."""

from __future__ import annotations

import gc
import os
import threading
from collections.abc import Callable
from functools import partial

import pytest
from helpers.processes import in_child
from helpers.threads import PATIENCE_S

from bytecache.loading.prefetching.ahead import Ahead

pytestmark = pytest.mark.filterwarnings("ignore:.*use of fork.*:DeprecationWarning")


def test_what_follows_is_made_before_it_is_requested() -> None:
    """By other threads, as many as were asked for, once."""
    made: dict[int, int] = {}
    all_made = threading.Event()

    def make(key: int) -> int:
        made[key] = threading.get_ident()
        if made.keys() >= {1, 2}:
            all_made.set()
        return key

    ahead: Ahead[int, int] = Ahead(2)
    assert ahead.get(0, lambda key: partial(make, key), range(1, 9), 2) == 0
    assert all_made.wait(PATIENCE_S)
    assert [ahead.get(n, lambda key: partial(make, key), range(n + 1, 9), 0) for n in (1, 2)] == [1, 2]
    assert sorted(made) == [0, 1, 2]
    assert made[0] == threading.get_ident() not in (made[1], made[2])


def test_what_was_made_ahead_is_kept_until_others_follow() -> None:
    """A request that does not know what follows leaves it, as does a smaller number; one that does drops the rest."""
    made: list[int] = []
    ahead: Ahead[int, int] = Ahead(1)

    def prepare(key: int) -> Callable[[], int]:
        made.append(key)
        return lambda: key

    ahead.get(0, prepare, range(1, 9), 3)
    ahead.get(20, prepare, None)
    ahead.get(1, prepare, range(2, 9), 1)
    ahead.get(2, prepare, range(3, 9), 0)
    assert made == [0, 1, 2, 3, 20]
    ahead.get(3, prepare, range(20, 22), 1)
    ahead.get(4, prepare, None)
    ahead.get(20, prepare, [], 1)
    assert made == [0, 1, 2, 3, 20, 20, 4]


def test_a_call_that_has_not_started_is_made_by_the_request() -> None:
    """It does not wait behind others."""
    hold = threading.Event()
    ahead: Ahead[int, int] = Ahead(1)

    def prepare(key: int) -> Callable[[], int]:
        return lambda: hold.wait(PATIENCE_S) and key if key == 1 else threading.get_ident()

    ahead.get(0, prepare, [1, 2], 2)
    assert ahead.get(2, prepare, None) == threading.get_ident()
    hold.set()
    assert ahead.get(1, prepare, None) == 1


def test_an_error_is_raised_by_the_request_that_it_belongs_to() -> None:
    """Those before and after it come whole."""
    ahead: Ahead[int, int] = Ahead(2)

    def prepare(key: int) -> Callable[[], int]:
        return lambda: 1 // (key != 1) and key

    assert ahead.get(0, prepare, [1, 2], 2) == 0
    with pytest.raises(ZeroDivisionError):
        ahead.get(1, prepare, [2], 2)
    assert ahead.get(2, prepare, [], 1) == 2


def test_what_is_prepared_is_prepared_by_the_caller_in_order() -> None:
    """So that random numbers are drawn as they are without it."""
    prepared: list[tuple[int, int]] = []
    ahead: Ahead[int, int] = Ahead(1)

    def prepare(key: int) -> Callable[[], int]:
        prepared.append((key, threading.get_ident()))
        return lambda: key

    for n in range(3):
        ahead.get(n, prepare, [n + 1], 1)
    assert prepared == [(n, threading.get_ident()) for n in range(4)]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_child_starts_afresh() -> None:
    """It does not wait for a thread that it does not have."""
    ahead: Ahead[int, int] = Ahead(1)
    prepare = partial(partial, int)
    assert ahead.get(0, prepare, [1], 1) == 0
    assert in_child(lambda: [ahead.get(n, prepare, [n + 1], 1) for n in range(1, 4)]) == [1, 2, 3]
    assert ahead.get(1, prepare, None) == 1


def test_results_and_threads_go_with_it(plain_gc: None) -> None:
    """What is queued is not called any more."""
    started, hold, called = threading.Event(), threading.Event(), []

    def prepare(key: int) -> Callable[[], None]:
        def call() -> None:
            called.append(key)
            if key == 1:
                started.set()
                hold.wait(PATIENCE_S)

        return call

    before = set(threading.enumerate())
    ahead: Ahead[int, None] = Ahead(1)
    ahead.get(0, prepare, [1, 2, 3], 3)
    assert started.wait(PATIENCE_S)
    (thread,) = set(threading.enumerate()) - before
    del ahead
    gc.collect()
    hold.set()
    thread.join(PATIENCE_S)
    assert not thread.is_alive()
    assert called == [0, 1]
