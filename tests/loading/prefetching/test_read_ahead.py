"""Reads of the next batches: which are under way when, and how many are worth it."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from helpers.threads import PATIENCE_S, until

from bytecache.loading.prefetching.read_ahead import Depth, Pace, ReadAhead, check_read_ahead


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
    """None if reads take no time, one at first if they take for ever, of which only so many bytes."""

    def chosen(read_s, nbytes, max_bytes=1000, workers=1):
        pace = Pace(None, max_bytes, workers)
        pace.begin()
        pace.record_read(read_s, nbytes)
        pace.end()
        return pace.begin()

    assert chosen(0, 10) == 0
    assert chosen(1e6, 10) == 1
    assert chosen(1e6, 1000) == 1
    assert chosen(1e6, 1001) == 0
    assert chosen(1e6, 501, workers=2) == 0
    assert chosen(1e6, 1 << 60, max_bytes=1 << 62) == 0  # no machine has so much memory


def test_one_slow_read_changes_nothing():
    """The median of the last reads counts, and old ones are forgotten."""
    pace = Pace(None, 1000)
    for read_s in (0, 0, 1e6, 0):
        pace.begin()
        pace.record_read(read_s, 10)
        pace.end()
    assert pace.begin() == 0
    for _ in range(8):
        pace.record_read(1e6, 10)
    assert pace.begin() == 1


def depths(time_of, most=16, batches=200, depth=None):
    """Return the depth at each batch if one comes every ``time_of(depth)`` seconds. depth: continues this one."""
    depth, found, now = depth or Depth(), [], 1
    for _ in range(batches):
        now = depth.after(time_of(now), most)
        found.append(now)
    return found


def as_many_as(limit):
    """Return the time between batches of storage that answers `limit` batches' reads at a time."""
    return lambda depth: 1 / min(1 + depth, limit)


def test_reads_that_wait_are_as_deep_as_is_useful():
    """Twice as many each time, as batches come faster with them."""
    found = depths(as_many_as(99))
    assert sorted(set(found)) == [1, 2, 4, 8, 16] and found == sorted(found) and found[-1] == 16
    assert depths(as_many_as(99), most=5)[-1] == 5


def test_reads_that_compute_stay_few():
    """Two at a time are tried once, and were of no use."""
    found = depths(as_many_as(1))
    assert found[0] == found[-1] == 1 and max(found) == 2 and found.count(2) <= 8


def test_storage_that_serves_so_many_at_a_time_gets_no_more():
    """Eight, of which sixteen are not faster."""
    found = depths(as_many_as(8))
    assert found[-1] == 8 and found.count(16) <= 16


def test_fewer_are_tried_from_time_to_time():
    """Those that will do stay, as when an epoch finds in the cache what the one before has read from storage."""
    depth = Depth()
    assert depths(as_many_as(99), depth=depth)[-1] == 16
    found = depths(as_many_as(1), depth=depth, batches=600)
    assert found[0] == 16 and found[-1] == 1
    found = depths(as_many_as(99), depth=depth, batches=1000)
    assert found[-1] == 16


def test_fewer_that_will_not_do_are_given_up():
    """Storage is read as deeply again after a few batches."""
    found = depths(as_many_as(99), batches=1500)
    assert found[-1] == 16 and min(found[100:]) == 8 and found[100:].count(8) < 60


def test_storage_that_becomes_slow_is_read_more_deeply():
    """As soon as more are useful."""
    depth = Depth()
    assert depths(as_many_as(99), most=2, depth=depth, batches=100)[-1] == 2
    assert depths(as_many_as(99), depth=depth, batches=40)[-1] == 16


def test_nothing_is_read_ahead_while_reads_are_quick():
    """It begins anew after that."""
    depth = Depth()
    assert [depth.after(1.0, most) for most in (0, 4, 4, 0, 0, 4, 1)] == [0, 1, 1, 0, 0, 1, 1]


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
        ahead._pace.record_read(1e6, nbytes)
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
