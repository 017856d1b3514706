"""Where the processes that share a store tell each other what a pipeline costs."""

from __future__ import annotations

from hashlib import blake2b

from ...stores.base import MISSING, Partition
from .measurements import Measurements

_FIRST, _GROWTH = 4, 4  # items after which a process tells what it has measured, and how many times as many next


class Board:
    """Entries of a partition that have what one process had measured, each after more items than the one before."""

    def __init__(self, partition: Partition) -> None:
        self._partition, self._entries = partition, 0

    def exchange(self, measured: Measurements) -> None:
        """Add an entry if it is time to; take over the last one if others have seen more items."""
        latest = None
        while (entry := self._partition.get(_key(self._entries))) is not MISSING:
            latest, self._entries = entry, self._entries + 1
        if latest is not None and latest[0] > measured.items:
            measured.adopt(latest[1], latest[0])
        elif measured.items >= _FIRST * _GROWTH**self._entries:
            entry = measured.items, measured.export()
            if self._partition.put(_key(self._entries), entry, self._partition.generation).stored:
                self._entries += 1


def _key(number: int) -> bytes:
    return blake2b(b"%d" % number, digest_size=16).digest()
