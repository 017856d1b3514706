"""The facts of a partition under threads, signal handlers and forks, and of its counters."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from ..stores.base import Partition
from .partition_tests import ClearTests, LimitTests, LookUpTests, PartitionBase
from .running import in_child, start, together


@contextmanager
def frequent_switches() -> Iterator[None]:
    """Have threads take turns as often as they can."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        yield
    finally:
        sys.setswitchinterval(interval)


class CounterTests(PartitionBase):
    """Events are counted once each, and the numbers fit together."""

    def test_counters(self, partition: Partition) -> None:
        """The cache's events are counted, seconds are added."""
        counters = partition.counters
        for _ in range(2):
            counters.miss()
        counters.hit()
        counters.hit(5)
        counters.hit(-2)
        counters.load(1.5)
        counters.load(0.25, errors=1)
        counts = counters.snapshot("process")
        assert counts[:3] == (4, 2, 1) and counts.load_s == pytest.approx(1.75)
        assert partition.counters.snapshot("all") == counts
        counters.reject(2)
        assert self.counts(partition, "rejected") == (2,)

    def test_counts_of_many(self, partition: Partition) -> None:
        """miss and load count a run of the function for several calls."""
        partition.counters.miss(3)
        partition.counters.load(0.5, errors=2)
        partition.counters.miss()
        counts = partition.counters.snapshot("process")
        assert (counts.misses, counts.errors, counts.load_s) == (4, 2, 0.5)

    def test_a_snapshot_is_of_one_moment(self, partition: Partition) -> None:
        """Whatever another thread does meanwhile, as many values are there as were stored, less those evicted."""
        if partition.has_leases:  # other processes may store in between
            return
        stop = threading.Event()

        def work() -> None:
            while not stop.is_set():
                for n in range(self.capacity):
                    self.put(partition, n)
                partition.clear()

        worker = start(work)
        try:
            for _ in range(2000):
                counts, currsize, currbytes = partition.snapshot("process")
                assert counts.stored - counts.evicted == currsize
                assert currbytes == currsize * (self.nbytes + self.overhead)
        finally:
            stop.set()
        worker()


class ThreadTests(PartitionBase):
    """Threads, signal handlers and forked children find and store what they should."""

    def test_threads(self, make: Callable[..., Partition]) -> None:
        """Of simultaneous puts of one key one is stored; all gets find it, and all are counted."""
        partition = make()
        with frequent_switches():
            for n in range(self.capacity):

                def put(n: int = n) -> object:
                    return self.put(partition, n).stored

                def get(n: int = n) -> object:
                    return partition.get(self.key(n))

                assert sorted(map(str, together(*[put] * 4))) == ["None"] * 3 + ["True"]
                assert together(*[get] * 4) == [self.value_of(n)] * 4
        assert self.counts(partition, "hits", "stored") == (4 * self.capacity, self.capacity)

    def test_discards_by_threads(self, make: Callable[..., Partition]) -> None:
        """Of simultaneous discards of one value one removes it; puts and discards leave the counts exact."""
        partition = make()

        def work() -> int:
            return sum(bool(self.put(partition, n % 3)) and partition.discard(self.key(n % 3)) for n in range(100))

        with frequent_switches():
            self.put(partition, 5)
            assert sorted(together(*[lambda: partition.discard(self.key(5))] * 4)) == [False] * 3 + [True]
            removed = sum(together(*[work] * 4))
        counts = partition.snapshot("process").counts
        assert removed + 1 <= counts.evicted and counts.stored - counts.evicted == len(partition)
        assert len(partition) == sum(self.key(n) in partition for n in range(10))

    def test_a_signal_handler_may_come_in_under_the_lock(self, partition: Partition) -> None:
        """A thread that has the lock is interrupted by a call of its own, while another one stores a value."""
        partition.get(self.key(0))
        with partition.lock:
            other = start(lambda: self.put(partition, 1).stored)
            assert self.put(partition, 2).stored and partition.get(self.key(2)) == self.value_of(2)
        assert other() is True
        assert self.counts(partition, "hits", "stored") == (1, 2)

    @pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
    def test_a_forked_child(self, partition: Partition) -> None:
        """It finds what its parent stored, and may store."""
        self.put(partition, 1)
        assert in_child(lambda: (partition.get(self.key(1)), self.put(partition, 2).stored)) == (self.value_of(1), True)
        assert partition.get(self.key(1)) == self.value_of(1)


class PartitionTests(LookUpTests, LimitTests, ClearTests, CounterTests, ThreadTests):
    """All facts of a partition."""
