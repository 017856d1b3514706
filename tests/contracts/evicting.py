"""What a partition in memory that evicts must pass: where it differs from those that refuse."""

from __future__ import annotations

from collections.abc import Callable

from bytecache.conformance.concurrency_tests import PartitionTests
from bytecache.stores.base import MISSING, Partition


class EvictingPartitionTests(PartitionTests):
    """The contract of a partition that makes room for a value by dropping the one that was used longest ago."""

    def test_a_full_partition(self, partition: Partition) -> None:
        """It drops its oldest value for one that is put, counts that, and goes on finding the others."""
        self.fill(partition)
        assert partition.full
        result = self.put(partition, 99)
        assert (result.value, result.stored) == (self.value_of(99), True)
        assert partition.get(self.key(99)) == self.value_of(99)
        assert self.counts(partition, "stored", "rejected", "evicted") == (self.capacity + 1, 0, 1)
        assert len(partition) == self.capacity
        kept = [n for n in range(self.capacity) if partition.get(self.key(n)) == self.value_of(n)]
        assert kept == list(range(1, self.capacity))

    def test_maxsize(self, make: Callable[..., Partition]) -> None:
        """No more entries than maxsize are kept."""
        partition = make(maxsize=2)
        assert self.put(partition, 0).stored and not partition.full
        assert self.put(partition, 1).stored and partition.full
        assert self.put(partition, 2).stored and len(partition) == 2 == partition.maxsize

    def test_values_of_unequal_size(self, partition: Partition) -> None:
        """However large they are, they never take more than the budget."""
        assert partition.maxbytes is not None
        for n in range(40):
            partition.put(self.key(n), bytes(7 * n % 23), partition.generation)
            assert (partition.currbytes or 0) <= partition.maxbytes
        counts = partition.snapshot("process").counts
        assert counts.stored + counts.rejected == 40 and counts.stored - counts.evicted == len(partition)

    def test_what_was_read_before_a_clear(self, partition: Partition) -> None:
        """A value of an earlier generation is stored, as in functools."""
        before = partition.generation
        partition.clear()
        assert partition.put(self.key(1), self.value_of(1), before) == (self.value_of(1), True)
        assert partition.get(self.key(1)) is not MISSING

    def test_many_of_an_earlier_generation(self, partition: Partition) -> None:
        """Values whose read began before a clear are stored, as in functools."""
        before = partition.generation
        partition.clear()
        result = partition.put_many([(self.key(n), self.value_of(n)) for n in (1, 2)], before)
        assert result == [(self.value_of(1), True), (self.value_of(2), True)]

    def test_only_a_clear_is_one(self, partition: Partition) -> None:
        """Nobody has to know of its clears but this process."""
        assert partition.cleared is None

    def test_a_get_is_a_use(self, partition: Partition) -> None:
        """What is dropped is the value that was used longest ago, by get and by get_many."""
        self.fill(partition)
        partition.get(self.key(0)), partition.get_many([self.key(1)]), self.put(partition, 98), self.put(partition, 99)
        assert [n for n in range(self.capacity) if self.key(n) in partition] == [0, 1, *range(4, self.capacity)]
