"""The facts of :class:`bytecache.stores.base.Partition`: what is found, stored, refused and counted."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from ..stores.base import MISSING, Counts, Partition

COUNTS = ("hits", "misses", "errors", "stored", "rejected", "evicted")


class PartitionBase:
    """What the tests use. Values are bytes of `nbytes`, keys come from `key`; `make` makes a partition.

    capacity: how many such values fit. overhead: the bytes that the store counts for each value beside its own.
    """

    capacity = 8
    nbytes = 10
    overhead = 0

    @pytest.fixture
    def make(self) -> Callable[..., Partition]:
        """A function that makes an empty partition; ``make(maxsize=n)`` one for at most n entries."""
        raise NotImplementedError

    @pytest.fixture
    def partition(self, make: Callable[..., Partition]) -> Partition:
        """An empty partition."""
        return make()

    def key(self, n: int) -> Any:
        """Return a key, another one for each n."""
        return n.to_bytes(8, "big") * 2

    def value_of(self, n: int) -> bytes:
        """Return a value, another one for each n."""
        return b"%*d" % (self.nbytes, n)

    def put(self, partition: Partition, n: int) -> Any:
        """Put a value under its key."""
        return partition.put(self.key(n), self.value_of(n), partition.generation)

    def counts(self, partition: Partition, *names: str) -> tuple[int, ...]:
        """Return these counts of this process."""
        counts = partition.counters.snapshot("process")
        return tuple(getattr(counts, name) for name in names)

    def fill(self, partition: Partition) -> None:
        """Store as many values as fit."""
        for n in range(self.capacity):
            assert self.put(partition, n).stored


class LookUpTests(PartitionBase):
    """What was put is found, one by one and many at once."""

    def test_an_empty_partition(self, partition: Partition) -> None:
        """Nothing is found, counted or used."""
        assert partition.get(self.key(1)) is MISSING and self.key(1) not in partition
        assert (len(partition), partition.currbytes, partition.full) == (0, 0, False)
        assert self.counts(partition, *COUNTS) == (0,) * len(COUNTS)

    def test_what_was_put_is_found(self, partition: Partition) -> None:
        """A stored value is returned by put and get, and found under its own key alone."""
        result = self.put(partition, 1)
        assert (result.value, result.stored) == (self.value_of(1), True)
        assert partition.get(self.key(1)) == self.value_of(1) and partition.get(self.key(2)) is MISSING
        assert self.key(1) in partition and self.key(2) not in partition
        assert len(partition) == 1 and (partition.currbytes or 0) >= self.nbytes

    def test_a_view_has_the_same_bytes(self, partition: Partition) -> None:
        """With copy=False the value is bytes or a read-only view of them."""
        self.put(partition, 1)
        for found in partition.get(self.key(1), copy=False), *partition.get_many([self.key(1)], copy=False):
            assert bytes(found) == self.value_of(1)
            assert isinstance(found, bytes) or found.readonly

    def test_a_hit_is_a_get_that_finds(self, partition: Partition) -> None:
        """Each value that get and get_many return counts once; a look-up in vain and ``in`` do not."""
        self.put(partition, 1)
        assert partition.get(self.key(1)) == self.value_of(1) and self.key(1) in partition
        assert partition.get(self.key(2)) is MISSING
        partition.get_many([self.key(1), self.key(2), self.key(1)])
        assert self.counts(partition, "hits", "misses") == (3, 0)

    def test_many_are_as_one_by_one(self, make: Callable[..., Partition]) -> None:
        """get_many and put_many do what get and put do for each, in order."""
        one, many = make(), make()
        items = [(self.key(n), self.value_of(n)) for n in (3, 1, 2, 1)]
        by_one = [one.put(key, value, one.generation) for key, value in items]
        assert many.put_many(items, many.generation) == by_one
        keys = [self.key(n) for n in (2, 5, 3, 3)]
        expected = [self.value_of(2), MISSING, self.value_of(3), self.value_of(3)]
        assert many.get_many(keys) == [one.get(key) for key in keys] == expected
        assert self.counts(many, *COUNTS) == self.counts(one, *COUNTS)
        assert many.get_many([]) == [] == many.put_many([], many.generation)

    def test_one_of_many_that_cannot_be_stored(self, partition: Partition) -> None:
        """put_many returns what put raises in the place of its value, and stores the others."""
        items = [(self.key(1), self.value_of(1)), (self.key(2), iter("abc")), (self.key(3), self.value_of(3))]
        first, error, last = partition.put_many(items, partition.generation)
        assert isinstance(error, TypeError)
        assert (first, last) == ((self.value_of(1), True), (self.value_of(3), True))
        assert [self.key(n) in partition for n in (1, 2, 3)] == [True, False, True]
        with pytest.raises(TypeError):
            partition.put(self.key(2), iter("abc"), partition.generation)

    def test_a_value_is_never_replaced(self, partition: Partition) -> None:
        """The first value of a key stays; the second one is not wanted, and not counted as rejected."""
        self.put(partition, 1)
        result = partition.put(self.key(1), b"other", partition.generation)
        assert result.stored is None and bytes(partition.get(self.key(1))) == self.value_of(1)
        assert self.counts(partition, "stored", "rejected") == (1, 0)


class LimitTests(PartitionBase):
    """What does not fit is refused and counted, and what fits is stored."""

    def test_a_full_partition(self, partition: Partition) -> None:
        """It rejects a value that does not fit, counts it, and goes on finding the others."""
        self.fill(partition)
        assert partition.full
        result = self.put(partition, 99)
        assert (result.value, result.stored) == (self.value_of(99), False)
        assert partition.get(self.key(99)) is MISSING
        assert self.counts(partition, "stored", "rejected", "evicted") == (self.capacity, 1, 0)
        assert len(partition) == self.capacity
        assert all(partition.get(self.key(n)) == self.value_of(n) for n in range(self.capacity))

    def test_a_key_that_a_full_partition_has(self, partition: Partition) -> None:
        """Its second value is not wanted, and not counted as rejected."""
        self.fill(partition)
        assert self.put(partition, 1).stored is None
        assert self.counts(partition, "stored", "rejected") == (self.capacity, 0)

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
        assert self.put(partition, 2).stored is False and len(partition) == 2 == partition.maxsize

    def test_values_of_unequal_size(self, partition: Partition) -> None:
        """However large they are, they never take more than the budget; as many are rejected as do not fit."""
        assert partition.maxbytes is not None
        room, fitting = partition.maxbytes, []
        for n in range(40):
            value = bytes(7 * n % 23)
            stored = partition.put(self.key(n), value, partition.generation).stored
            assert (partition.currbytes or 0) <= partition.maxbytes
            assert stored is (len(value) + self.overhead <= room)
            room -= (len(value) + self.overhead) * stored
            fitting += [n] * stored
        counts = partition.snapshot("process").counts
        assert counts.stored + counts.rejected == 40 and counts.stored == len(partition)
        assert [n for n in range(40) if self.key(n) in partition] == fitting


class ClearTests(PartitionBase):
    """What is cleared or discarded is gone, and what was read before does not come back."""

    def test_clear(self, partition: Partition) -> None:
        """It removes all values, sets the counters to zero and starts another generation; then there is room."""
        self.fill(partition)
        partition.get(self.key(1))
        partition.counters.miss()
        partition.counters.load(1.0, errors=1)
        generations = [partition.generation]
        for _ in range(3):
            partition.clear()
            generations.append(partition.generation)
        assert len(set(generations)) == 4
        assert (len(partition), partition.currbytes, partition.full) == (0, 0, False)
        assert partition.counters.snapshot("process") == partition.counters.snapshot("all") == Counts()
        self.fill(partition)

    def test_only_a_clear_is_one(self, partition: Partition) -> None:
        """``cleared`` is another number after each, and stays the same whatever else happens; or it is not known."""
        found = []
        for _ in range(3):
            before = partition.cleared
            self.fill(partition)
            assert self.put(partition, 99).stored is False
            for n in range(self.capacity):
                partition.discard(self.key(n))
            self.put(partition, 99)
            assert partition.cleared == before
            found.append(before)
            partition.clear()
        assert len(set(found)) == 3 or found == [None] * 3

    def test_what_was_read_before_a_clear(self, partition: Partition) -> None:
        """A value of an earlier generation is returned, and not wanted."""
        before = partition.generation
        partition.clear()
        result = partition.put(self.key(1), self.value_of(1), before)
        assert (result.value, result.stored) == (self.value_of(1), None)
        assert partition.get(self.key(1)) is MISSING

    def test_many_of_an_earlier_generation(self, partition: Partition) -> None:
        """Values whose read began before a clear are returned and not stored."""
        before = partition.generation
        partition.clear()
        result = partition.put_many([(self.key(n), self.value_of(n)) for n in (1, 2)], before)
        assert result == [(self.value_of(1), None), (self.value_of(2), None)]

    def test_discard(self, partition: Partition) -> None:
        """A value that was discarded is not found, and counts as evicted; what is put later is found."""
        for n in range(3):
            self.put(partition, n)
        another = self.value_of(7)
        assert partition.discard(self.key(1)) is True
        assert partition.get(self.key(1)) is MISSING and self.key(1) not in partition and len(partition) == 2
        assert partition.discard(self.key(1)) is partition.discard(self.key(7)) is False
        assert self.counts(partition, "stored", "rejected", "evicted") == (3, 0, 1)
        assert partition.put(self.key(1), another, partition.generation).stored
        assert partition.get_many([self.key(n) for n in range(3)]) == [self.value_of(0), another, self.value_of(2)]
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
