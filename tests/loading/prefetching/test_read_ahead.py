"""Reads of the next batches: which are under way when, and how many are worth it."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from helpers.threads import PATIENCE_S, until

from bytecache.loading.prefetching.read_ahead import Pace, ReadAhead, check_read_ahead


def reader(batches, **options):
    """Return a ReadAhead of numbered batches, and the numbers of those whose reads began."""
    begun = []

    def read(number):
        begun.append(number)
        return {0: b"x" * number}, {}

    return ReadAhead(read, batches, **options), begun


def test_as_many_batches_as_were_asked_for_are_read_ahead():
    """Each once, and none beyond the last."""
    ahead, begun = reader(2)
    for number in range(5):
        assert ahead.take(number, range(number + 1, 5)) == ({0: b"x" * number}, {})
        expected = list(range(min(number + 3, 5)))
        until(lambda expected=expected: sorted(begun) == expected)


def test_their_reads_are_under_way_at_once():
    """None of three ends before all have begun."""
    barrier = threading.Barrier(3)
    ahead = ReadAhead(lambda number: (barrier.wait(PATIENCE_S), ({}, {}))[1], 2)
    for number in range(3):
        assert ahead.take(number, range(number + 1, 3)) == ({}, {})


def test_zero_reads_each_batch_when_it_is_requested():
    """In the thread that requests it."""
    threads = []
    ahead = ReadAhead(lambda number: threads.append(threading.get_ident()) or ({}, {}), 0)
    for number in range(3):
        ahead.take(number, range(number + 1, 9))
        assert threads == [threading.get_ident()] * (number + 1)


def test_by_default_nothing_is_read_ahead_before_there_is_a_measure():
    """The first batch tells how long reads take."""
    ahead, begun = reader(None)
    ahead.take(0, range(1, 9))
    assert begun == [0]


def test_as_many_batches_as_keep_the_reads_ahead():
    """None if reads take no time, a bounded number if they take for ever, of which only so many bytes."""

    def chosen(read_s, nbytes, max_bytes=1000, workers=1):
        pace = Pace(None, max_bytes, workers)
        pace.begin()
        pace.record_read(read_s, nbytes, 1)
        pace.end()
        return pace.begin()

    assert chosen(0, 10) == 0
    assert chosen(1e6, 10) == 16
    assert chosen(1e6, 300) == 3
    assert chosen(1e6, 300, workers=2) == 1
    assert chosen(1e6, 1001) == 0
    assert chosen(1e6, 501, workers=2) == 0
    assert chosen(1e6, 1 << 58, max_bytes=1 << 62) == 2  # no machine has so much memory


def test_a_function_that_knows_says_how_many_batches_are_enough():
    """Of so many samples; but none if reads take no time, and no more than there is room for."""

    def chosen(read_s, batches, max_bytes=1000):
        asked = []
        pace = Pace(None, max_bytes, enough=lambda samples: asked.append(samples) or batches)
        pace.begin()
        pace.record_read(read_s, 100, 7)
        pace.end()
        return pace.begin(), asked

    assert chosen(1e6, 3) == (3, [7])
    assert chosen(1e6, 3, max_bytes=200) == (2, [7])
    assert chosen(1e6, 99, max_bytes=10_000) == (16, [7])
    assert chosen(0, 3) == (0, [])


def test_one_slow_read_changes_nothing():
    """The median of the last reads counts, and old ones are forgotten."""
    pace = Pace(None, 1000)
    for read_s in (0, 0, 1e6, 0):
        pace.begin()
        pace.record_read(read_s, 10, 1)
        pace.end()
    assert pace.begin() == 0
    for _ in range(8):
        pace.record_read(1e6, 10, 1)
    assert pace.begin() == 16


@pytest.mark.parametrize(
    "value, nbytes",
    [(b"12345", 5), (np.zeros((2, 3), np.float32), 24), ((b"123", np.zeros(4, np.uint8)), 7), (memoryview(b"123"), 3)],
    ids=["bytes", "array", "tuple", "view"],
)
def test_the_bytes_of_samples_of_any_kind_count(value, nbytes):
    """Those of pictures in a tuple together."""
    for share, expected in ((nbytes, 1), (nbytes - 1, 0)):
        ahead = ReadAhead(lambda _: ({0: value}, {}), None, workers=(256 << 20) // share)
        ahead.take(0)
        ahead._pace.record_read(1e6, nbytes, 1)
        assert min(ahead._pace.begin(), 1) == expected


def test_a_function_that_is_not_cached_is_asked_for():
    """By itself nothing is read ahead with it, since it may not be safe for threads."""
    assert check_read_ahead(None, is_cached=False) == 0
    assert check_read_ahead(None, is_cached=True) is None
    assert check_read_ahead(3, is_cached=False) == 3


@pytest.mark.parametrize("number, error", [(-1, ValueError), (1.5, TypeError), (True, ValueError), ("2", TypeError)])
def test_what_is_no_number_of_batches_is_refused(number, error):
    """The message names the argument and what came."""
    with pytest.raises(error, match=r"read_ahead must be an int of 0 or more"):
        check_read_ahead(number, is_cached=True)
