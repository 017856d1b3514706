"""The contract of stores, for several as one."""

from __future__ import annotations

from bytecache.stores.base import Partition
from bytecache.testing import StoreTests


class TieredStoreTests(StoreTests):
    """The contract over tiers that have room for so many values each: `rooms`, the first tier first."""

    rooms: tuple[int, ...] = (3, 5)

    def test_values_of_unequal_size(self, partition: Partition) -> None:
        """However large they are, no tier takes more than its budget; what no tier has room for is rejected."""
        rooms, fitting = [room * self.nbytes for room in self.rooms], []
        for n in range(40):
            value = bytes(7 * n % 23)
            stored = partition.put(self.key(n), value, partition.generation).stored
            tier = max((t for t, room in enumerate(rooms) if len(value) <= room), default=None)
            assert stored is (tier is not None)
            if tier is not None:
                rooms[tier] -= len(value)
                fitting.append(n)
        counts = partition.snapshot("process").counts
        assert counts.stored + counts.rejected == 40 and counts.stored == len(partition)
        assert [n for n in range(40) if self.key(n) in partition] == fitting
