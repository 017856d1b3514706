"""One batch made ahead: the same batches, errors and random numbers in the same order as without it."""

from __future__ import annotations

import os
import pickle
import threading
from collections.abc import Callable
from functools import partial

import pytest
from helpers.processes import in_child

from bytecache.loading.lookahead import Cursor, Key, Lookahead

pytestmark = pytest.mark.filterwarnings("ignore:.*use of fork.*:DeprecationWarning")


def test_the_upcoming_batch_is_made_before_it_is_requested() -> None:
    """By another thread, once, from the moment that the first one is returned."""
    made: list[tuple[Key, int]] = []
    second = threading.Event()

    def make(key: Key) -> Key:
        made.append((key, threading.get_ident()))
        if key == (1,):
            second.set()
        return key

    lookahead: Lookahead[Key] = Lookahead()
    assert lookahead.get((0,), lambda key: partial(make, key), (1,)) == (0,)
    assert second.wait(10)
    assert lookahead.get((1,), lambda key: partial(make, key), None) == (1,)
    assert [key for key, _ in made] == [(0,), (1,)]
    assert made[0][1] == threading.get_ident() != made[1][1]


def test_what_was_made_ahead_is_kept_for_its_request() -> None:
    """Other requests come first, whatever they are; an error of it is not theirs."""
    made: list[Key] = []
    lookahead: Lookahead[Key] = Lookahead()

    def prepare(key: Key) -> Callable[[], Key]:
        made.append(key)
        return lambda: 1 // (key != (9,)) and key

    assert lookahead.get((0,), prepare, (9,)) == (0,)
    assert lookahead.get((5,), prepare, None) == (5,)
    with pytest.raises(ZeroDivisionError):
        lookahead.get((9,), prepare, None)
    assert made == [(0,), (9,), (5,)]


def test_an_error_is_raised_by_the_request_that_it_belongs_to() -> None:
    """The batch before it comes whole."""
    lookahead: Lookahead[Key] = Lookahead()

    def prepare(key: Key) -> Callable[[], Key]:
        return lambda: 1 // (key != (1,)) and key

    assert lookahead.get((0,), prepare, (1,)) == (0,)
    with pytest.raises(ZeroDivisionError):
        lookahead.get((1,), prepare, (2,))
    assert lookahead.get((2,), prepare, None) == (2,)


def test_what_is_prepared_is_prepared_by_the_caller_in_order() -> None:
    """So that random numbers are drawn as they are without it."""
    prepared: list[tuple[Key, int]] = []
    lookahead: Lookahead[Key] = Lookahead()

    def prepare(key: Key) -> Callable[[], Key]:
        prepared.append((key, threading.get_ident()))
        return lambda: key

    for n in range(3):
        lookahead.get((n,), prepare, (n + 1,))
    assert prepared == [((n,), threading.get_ident()) for n in range(4)]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_child_and_a_copy_start_afresh() -> None:
    """Neither waits for a thread that it does not have."""
    lookahead: Lookahead[Key] = Lookahead()
    prepare = partial(partial, tuple)
    assert lookahead.get((0,), prepare, (1,)) == (0,)
    assert in_child(lambda: [lookahead.get((n,), prepare, (n + 1,)) for n in range(1, 4)]) == [(1,), (2,), (3,)]
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        assert pickle.loads(pickle.dumps(lookahead, protocol)).get((1,), prepare, None) == (1,)
    assert lookahead.get((1,), prepare, None) == (1,)


def test_a_cursor_tells_what_comes_next() -> None:
    """Only after the batch that was iterated over last, and only a whole batch."""
    cursor = Cursor([5, 3, 4, 1, 2, 0, 6])
    assert cursor.upcoming((5,)) is None
    assert [next(cursor), next(cursor)] == [5, 3]
    assert cursor.upcoming((5, 3)) == (4, 1)
    assert cursor.upcoming((3,)) == (4,)
    assert cursor.upcoming((5,)) is None
    assert [next(cursor), next(cursor), next(cursor), next(cursor)] == [4, 1, 2, 0]
    assert cursor.upcoming((2, 0)) is None
    assert list(cursor) == [6]
    assert cursor.upcoming((6,)) is None
