"""What every store must pass: :class:`bytecache.stores.base.Partition` and ``Store``, fact by fact.

A test module subclasses these and overrides the fixtures. Values are bytes of 10, keys come from `key`.
"""

from __future__ import annotations

import pickle
import sys
import threading
from collections.abc import Callable
from typing import Any

import pytest
from helpers.internals import waiting_threads
from helpers.processes import in_child
from helpers.threads import PATIENCE_S, start, together, until

import bytecache
from bytecache.stores.base import MISSING, Partition, Store

NBYTES = 10
COUNTS = ("hits", "misses", "errors", "stored", "rejected", "evicted")


def value_of(n: int) -> bytes:
    """A value of NBYTES bytes, another one for each n."""
    return b"%*d" % (NBYTES, n)


class PartitionTests:
    """The contract of a partition with room for `capacity` values; `make` makes it."""

    capacity = 8
    evicts = False  # whether a full partition makes room

    @pytest.fixture
    def make(self) -> Callable[..., Partition]:
        """A function that makes an empty partition; ``make(maxsize=n)`` one for at most n entries."""
        raise NotImplementedError

    @pytest.fixture
    def partition(self, make: Callable[..., Partition]) -> Partition:
        return make()

    def key(self, n: int) -> Any:
        """A key, another one for each n."""
        return n.to_bytes(8, "big") * 2

    def put(self, partition: Partition, n: int) -> Any:
        return partition.put(self.key(n), value_of(n), partition.generation)

    def counts(self, partition: Partition, *names: str) -> tuple[int, ...]:
        counts = partition.counters.snapshot("process")
        return tuple(getattr(counts, name) for name in names)

    def fill(self, partition: Partition) -> None:
        for n in range(self.capacity):
            assert self.put(partition, n).stored

    def test_an_empty_partition(self, partition: Partition) -> None:
        """Nothing is found, counted or used."""
        assert partition.get(self.key(1)) is MISSING and self.key(1) not in partition
        assert (len(partition), partition.currbytes, partition.full) == (0, 0, False)
        assert self.counts(partition, *COUNTS) == (0,) * len(COUNTS)

    def test_what_was_put_is_found(self, partition: Partition) -> None:
        """A stored value is returned by put and get, and found under its own key alone."""
        result = self.put(partition, 1)
        assert (result.value, result.stored) == (value_of(1), True)
        assert partition.get(self.key(1)) == value_of(1) and partition.get(self.key(2)) is MISSING
        assert self.key(1) in partition and self.key(2) not in partition
        assert len(partition) == 1 and partition.currbytes >= NBYTES

    def test_a_view_has_the_same_bytes(self, partition: Partition) -> None:
        """With copy=False the value is bytes or a read-only view of them."""
        self.put(partition, 1)
        found = partition.get(self.key(1), copy=False)
        assert bytes(found) == value_of(1)
        assert isinstance(found, bytes) or found.readonly

    def test_a_hit_is_a_get_that_finds(self, partition: Partition) -> None:
        """Each value that get and get_many return counts once; a look-up in vain and ``in`` do not."""
        self.put(partition, 1)
        partition.get(self.key(1)), partition.get(self.key(2)), self.key(1) in partition  # noqa: B015
        partition.get_many([self.key(1), self.key(2), self.key(1)])
        assert self.counts(partition, "hits", "misses") == (3, 0)

    def test_many_are_as_one_by_one(self, make: Callable[..., Partition]) -> None:
        """get_many and put_many do what get and put do for each, in order."""
        one, many = make(), make()
        items = [(self.key(n), value_of(n)) for n in (3, 1, 2, 1)]
        by_one = [one.put(key, value, one.generation) for key, value in items]
        assert many.put_many(items, many.generation) == by_one
        keys = [self.key(n) for n in (2, 5, 3, 3)]
        assert many.get_many(keys) == [one.get(key) for key in keys] == [value_of(2), MISSING, value_of(3), value_of(3)]
        assert self.counts(many, *COUNTS) == self.counts(one, *COUNTS)
        assert many.get_many([]) == []

    def test_one_of_many_that_cannot_be_stored(self, partition: Partition) -> None:
        """put_many returns what put raises in the place of its value, and stores the others."""
        items = [(self.key(1), value_of(1)), (self.key(2), iter("abc")), (self.key(3), value_of(3))]
        first, error, last = partition.put_many(items, partition.generation)
        assert isinstance(error, TypeError) and (first, last) == ((value_of(1), True), (value_of(3), True))
        assert [self.key(n) in partition for n in (1, 2, 3)] == [True, False, True]

    def test_many_of_an_earlier_generation(self, partition: Partition) -> None:
        """Values whose read began before a clear are returned and not stored, but by what evicts."""
        before = partition.generation
        partition.clear()
        result = partition.put_many([(self.key(n), value_of(n)) for n in (1, 2)], before)
        expected = True if self.evicts else None
        assert result == [(value_of(1), expected), (value_of(2), expected)]

    def test_counts_of_many(self, partition: Partition) -> None:
        """miss and load count a run of the function for several calls."""
        partition.counters.miss(3), partition.counters.load(0.5, errors=2), partition.counters.miss()
        counts = partition.counters.snapshot("process")
        assert (counts.misses, counts.errors, counts.load_s) == (4, 2, 0.5)

    def test_a_value_is_never_replaced(self, partition: Partition) -> None:
        """The first value of a key stays; the second one is not wanted, and not counted as rejected."""
        self.put(partition, 1)
        result = partition.put(self.key(1), b"other", partition.generation)
        assert result.stored is None and bytes(partition.get(self.key(1))) == value_of(1)
        assert self.counts(partition, "stored", "rejected") == (1, 0)

    def test_a_full_partition(self, partition: Partition) -> None:
        """It rejects a value that does not fit, counts it, and goes on finding the others; or it evicts, and counts."""
        self.fill(partition)
        assert partition.full
        result = self.put(partition, 99)
        assert result.value == value_of(99) and result.stored is self.evicts
        assert (partition.get(self.key(99)) is MISSING) is not self.evicts
        assert self.counts(partition, "stored", "rejected", "evicted") == (
            (self.capacity + 1, 0, 1) if self.evicts else (self.capacity, 1, 0)
        )
        assert len(partition) == self.capacity
        kept = [n for n in range(self.capacity) if partition.get(self.key(n)) == value_of(n)]
        assert kept == list(range(self.evicts, self.capacity))

    def test_a_value_larger_than_the_budget(self, partition: Partition) -> None:
        """It is rejected, and a smaller one that comes later is stored."""
        assert partition.maxbytes is not None
        huge = bytes(partition.maxbytes + 1)
        result = partition.put(self.key(1), huge, partition.generation)
        assert (result.value, result.stored) == (huge, False)
        assert self.put(partition, 2).stored and self.counts(partition, "stored", "rejected") == (1, 1)

    def test_maxsize(self, make: Callable[..., Partition]) -> None:
        """No more entries than maxsize are stored."""
        partition = make(maxsize=2)
        assert self.put(partition, 0).stored and not partition.full
        assert self.put(partition, 1).stored and partition.full
        assert self.put(partition, 2).stored is self.evicts and len(partition) == 2 == partition.maxsize

    def test_values_of_unequal_size(self, partition: Partition) -> None:
        """However large they are, they never take more than the budget; as many are rejected as do not fit."""
        assert partition.maxbytes is not None
        room, fitting = partition.maxbytes, []
        for n in range(40):
            value = bytes(7 * n % 23)
            stored = partition.put(self.key(n), value, partition.generation).stored
            assert (partition.currbytes or 0) <= partition.maxbytes
            if not self.evicts:
                assert stored is (len(value) <= room)
                room -= len(value) * stored
                fitting += [n] * stored
        counts = partition.snapshot("process").counts
        assert counts.stored + counts.rejected == 40 and counts.stored - counts.evicted == len(partition)
        assert self.evicts or [n for n in range(40) if self.key(n) in partition] == fitting

    def test_a_get_is_a_use(self, partition: Partition) -> None:
        """What evicts drops the value that was used longest ago, by get and by get_many."""
        if not self.evicts:
            return
        self.fill(partition)
        partition.get(self.key(0)), partition.get_many([self.key(1)]), self.put(partition, 98), self.put(partition, 99)
        assert [n for n in range(self.capacity) if self.key(n) in partition] == [0, 1, *range(4, self.capacity)]

    def test_clear(self, partition: Partition) -> None:
        """It removes all values, sets the counters to zero and starts another generation; then there is room."""
        self.fill(partition)
        partition.get(self.key(1)), partition.counters.miss(), partition.counters.load(1.0, errors=1)
        generations = [partition.generation]
        for _ in range(3):
            partition.clear()
            generations.append(partition.generation)
        assert len(set(generations)) == 4
        assert (len(partition), partition.currbytes, partition.full) == (0, 0, False)
        assert partition.counters.snapshot("process") == partition.counters.snapshot("all") == (0, 0, 0, 0, 0, 0, 0.0)
        self.fill(partition)

    def test_discard(self, partition: Partition) -> None:
        """A value that was discarded is not found, and counts as evicted; what is put later is found."""
        for n in range(3):
            self.put(partition, n)
        assert partition.discard(self.key(1)) is True
        assert partition.get(self.key(1)) is MISSING and self.key(1) not in partition and len(partition) == 2
        assert partition.discard(self.key(1)) is partition.discard(self.key(7)) is False
        assert self.counts(partition, "stored", "rejected", "evicted") == (3, 0, 1)
        assert partition.put(self.key(1), b"another 1.", partition.generation).stored
        assert partition.get_many([self.key(n) for n in range(3)]) == [value_of(0), b"another 1.", value_of(2)]
        assert self.counts(partition, "stored", "rejected", "evicted") == (4, 0, 1)

    def test_what_was_discarded_makes_room(self, partition: Partition) -> None:
        """A full partition whose values were all discarded takes as many again, sooner or later."""
        self.fill(partition)
        for n in range(self.capacity):
            assert partition.discard(self.key(n))
        assert len(partition) == 0
        for n in (*range(2 * self.capacity), *range(self.capacity)):
            self.put(partition, n)
        counts = partition.snapshot("process").counts
        assert len(partition) == self.capacity == counts.stored - counts.evicted
        assert (partition.currbytes or 0) <= (partition.maxbytes or 0)

    def test_discards_by_threads(self, make: Callable[..., Partition]) -> None:
        """Of simultaneous discards of one value one removes it; puts and discards leave the counts exact."""
        partition, interval = make(), sys.getswitchinterval()
        sys.setswitchinterval(1e-6)

        def work() -> int:
            return sum(self.put(partition, n % 3) and partition.discard(self.key(n % 3)) for n in range(200))

        try:
            self.put(partition, 5)
            assert sorted(together(*[lambda: partition.discard(self.key(5))] * 4)) == [False] * 3 + [True]
            removed = sum(together(*[work] * 4))
        finally:
            sys.setswitchinterval(interval)
        counts = partition.snapshot("process").counts
        assert removed + 1 <= counts.evicted and counts.stored - counts.evicted == len(partition)
        assert len(partition) == sum(self.key(n) in partition for n in range(10))

    def test_what_was_read_before_a_clear(self, partition: Partition) -> None:
        """A value of an earlier generation is not wanted (but by LRU, which stores it as functools does)."""
        before = partition.generation
        partition.clear()
        result = partition.put(self.key(1), value_of(1), before)
        assert (result.value, result.stored) == (value_of(1), True if self.evicts else None)
        assert (partition.get(self.key(1)) is MISSING) is not self.evicts

    def test_counters(self, partition: Partition) -> None:
        """The cache's events are counted, seconds are added."""
        counters = partition.counters
        counters.hit(), counters.hit(3), counters.miss(), counters.miss()
        counters.load(1.5), counters.load(0.25, errors=1)
        counts = counters.snapshot("process")
        assert counts[:3] == (4, 2, 1) and counts.load_s == pytest.approx(1.75)
        assert partition.counters.snapshot("all") == counts

    def test_a_signal_handler_may_come_in_under_the_lock(self, partition: Partition) -> None:
        """A thread that has the lock is interrupted by a call of its own, while another one stores a value."""
        partition.get(self.key(0))
        with partition.lock:
            other = start(lambda: self.put(partition, 1).stored)
            assert self.put(partition, 2).stored and partition.get(self.key(2)) == value_of(2)
        assert other() is True
        assert self.counts(partition, "hits", "stored") == (1, 2)

    def test_a_snapshot_is_of_one_moment(self, partition: Partition) -> None:
        """Whatever another thread does meanwhile, as many values are there as were stored, less those evicted."""
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
                if partition.has_leases:  # other processes may store in between: not fewer than were counted
                    continue
                assert counts.stored - counts.evicted == currsize and currbytes == currsize * NBYTES
        finally:
            stop.set()
        worker()

    def test_threads(self, make: Callable[..., Partition]) -> None:
        """Of simultaneous puts of one key one is stored; all gets find it, and all are counted."""
        partition, interval = make(), sys.getswitchinterval()
        sys.setswitchinterval(1e-6)
        try:
            for n in range(self.capacity):
                puts = together(*[lambda n=n: self.put(partition, n).stored] * 4)
                assert sorted(map(str, puts)) == ["None"] * 3 + ["True"]
                assert together(*[lambda n=n: partition.get(self.key(n))] * 4) == [value_of(n)] * 4
        finally:
            sys.setswitchinterval(interval)
        assert self.counts(partition, "hits", "stored") == (4 * self.capacity, self.capacity)

    def test_a_forked_child(self, partition: Partition) -> None:
        """It finds what its parent stored, and may store."""
        self.put(partition, 1)
        assert in_child(lambda: (partition.get(self.key(1)), self.put(partition, 2).stored)) == (value_of(1), True)
        assert partition.get(self.key(1)) == value_of(1)


class StoreTests(PartitionTests):
    """The contract of a store, and of what ``fill_once(store=...)`` makes of it; `store` makes one."""

    @pytest.fixture
    def store(self) -> Store:
        """A store with room for `capacity` values."""
        raise NotImplementedError

    @pytest.fixture
    def make(self, store: Store) -> Callable[..., Partition]:
        numbers = iter(range(1000))

        def make(maxsize: int | None = None) -> Partition:
            store.clear()
            return store.partition(next(numbers).to_bytes(16, "big"), "f", maxsize)

        return make

    def test_it_is_a_store(self, store: Store) -> None:
        """fill_once recognizes it by what it has."""
        assert isinstance(store, Store) and store.maxbytes and store.currbytes == 0

    def test_functions_share_the_budget_and_nothing_else(self, store: Store) -> None:
        """Two partitions find their own values alone; together they fill the store."""
        first, second = (store.partition(name * 16, "f", None) for name in (b"1", b"2"))
        assert self.put(first, 0).stored and second.get(self.key(0)) is MISSING
        for n in range(self.capacity - 1):
            assert self.put(second, n).stored
        assert first.full and second.full and self.put(first, 1).stored is False
        assert store.currbytes == (first.currbytes or 0) + (second.currbytes or 0)

    def test_clear_of_one_function_leaves_the_others(self, store: Store) -> None:
        """With a function's id only its values go, without one all do; an unknown one is ignored."""
        store.clear(b"unknown function")
        first, second = (store.partition(name * 16, "f", None) for name in (b"1", b"2"))
        self.put(first, 1), self.put(second, 1)
        store.clear(b"1" * 16)
        assert (len(first), len(second)) == (0, 1)
        store.clear()
        assert (len(first), len(second), store.currbytes) == (0, 0, 0)

    def test_bytes_come_back_as_bytes_that_nobody_changes(self, store: Store) -> None:
        """Whatever bytes-like object was put, also an empty one, and whatever becomes of it."""
        partition, source = store.partition(b"1" * 16, "f", None), bytearray(b"abc")
        for n, value in enumerate([source, b"", b"xyz"]):
            result = partition.put(self.key(n), value, partition.generation)
            assert (type(result.value), result.value, result.stored) == (bytes, bytes(value), True)
        source[0] = 0
        found = [partition.get(self.key(n)) for n in range(3)]
        assert found == [b"abc", b"", b"xyz"] and {type(value) for value in found} == {bytes}

    def test_a_lease_is_for_one_holder(self, store: Store) -> None:
        """Another one gets the lease of a key once it is released; the leases of other keys are free meanwhile."""
        first, second = (store.partition(b"1" * 16, "f", None) for _ in range(2))
        leases = [p.lease(self.key(n), p.generation) for p in (first, second) for n in (1, 2)]
        if not first.has_leases:
            assert leases == [None] * 4
            return
        one, other, taken, free = leases
        assert one.acquire(wait=False) and not taken.acquire(wait=False)
        taken.release()  # does nothing to the first one's
        assert not taken.acquire(wait=False) and free.acquire(wait=True) and not other.acquire(wait=False)
        one.release(), one.release()
        assert taken.acquire(wait=True)
        taken.release(), free.release()
        self.fill(first)
        assert first.lease(self.key(99), first.generation) is None  # full: the value could not be handed on

    def test_two_partitions_of_one_function_share_its_values(self, store: Store) -> None:
        """What one of them stores the other finds."""
        first, second = (store.partition(b"1" * 16, "f", None) for _ in range(2))
        self.put(first, 1)
        assert second.get(self.key(1)) == value_of(1) and len(second) == 1

    def test_a_store_that_is_closed_opens_again(self, store: Store) -> None:
        """After close a call works as before."""
        f = bytecache.fill_once(store=store)(value_of)
        f(1)
        store.close()
        assert f(1) == value_of(1)

    def test_a_cached_function(self, store: Store) -> None:
        """Calls, map and warm run the function once per key, and the counters say so."""
        ran: list[int] = []

        @bytecache.fill_once(store=store)
        def f(n: int) -> bytes:
            ran.append(n)
            return value_of(n)

        assert [f(1), f(1)] == [value_of(1)] * 2
        assert f.map([1, 2, 2, 3], threads=2) == [value_of(n) for n in (1, 2, 2, 3)]
        assert [bytes(value) for value in f.map([3, 4], copy=False)] == [value_of(3), value_of(4)]
        assert sorted(ran) == [1, 2, 3, 4]
        stats = f.warm(range(100), threads=1)
        assert len(ran) == len(set(ran)) == self.capacity == stats.currsize == stats.stored == stats.misses
        assert f.cache_info() == (stats.hits, stats.misses, None, self.capacity)
        assert stats.currbytes == store.currbytes and stats.maxbytes == store.maxbytes
        f.cache_clear()
        assert f.cache_info() == (0, 0, None, 0) and f(1) == value_of(1)

    def test_simultaneous_calls_run_the_function_once(self, store: Store) -> None:
        """The others get its value, and count as hits."""
        entered, leave = threading.Event(), threading.Event()

        @bytecache.fill_once(store=store)
        def f(n: int) -> bytes:
            entered.set()
            assert leave.wait(PATIENCE_S)
            return value_of(n)

        calls = [start(lambda: f(1)) for _ in range(4)]
        assert entered.wait(PATIENCE_S)
        until(lambda: len(waiting_threads()) == 3)
        leave.set()
        assert [call() for call in calls] == [value_of(1)] * 4
        assert f.cache_info()[:2] == (3, 1)

    def test_an_exception_is_not_stored(self, store: Store) -> None:
        """It is a miss and an error, and the next call runs the function again."""
        f = bytecache.fill_once(store=store)(lambda n: value_of(10 // n))
        for _ in range(2):
            with pytest.raises(ZeroDivisionError):
                f(0)
        stats = f.cache_stats()
        assert (stats.hits, stats.misses, stats.errors, stats.stored) == (0, 2, 2, 0)

    def test_a_pickled_store_finds_the_same_values(self, store: Store) -> None:
        """Pickling is how a spawned worker gets it."""
        self.put(store.partition(b"1" * 16, "f", None), 1)
        again = pickle.loads(pickle.dumps(store))
        assert again.partition(b"1" * 16, "f", None).get(self.key(1)) == value_of(1)
        again.close()
