"""How a clear of a store that machines share reaches what each of them keeps above it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from hashlib import blake2b
from time import monotonic

from ..base import Partition
from .every import run_all

_EVERY_S = 1.0


class Clears:
    """Sees to it that the upper tiers have no value from before a clear of the lowest, by whichever machine.

    lowest: the tier that tells of clears, see Partition.cleared. row: a partition of this machine without other values,
    which remembers, for all its processes and later runs, up to which clear the upper tiers are good. above: clears
    these, and the row. Looks once a second, and of a store that cannot be asked it knows nothing, so that nothing is
    lost for a moment without a network. Safe for threads and processes: of two that see a clear both clear.
    """

    def __init__(self, lowest: Partition, row: Partition, above: Sequence[Callable[[], object]]) -> None:
        self._lowest, self._row, self._above = lowest, row, above
        self.next_s = 0.0  # when to look again, by monotonic()
        self._known: int | None = None

    def look(self) -> None:
        """Clear the upper tiers if the lowest was cleared since they were filled."""
        self.next_s = monotonic() + _EVERY_S
        cleared = self._lowest.cleared
        if cleared is None or cleared == self._known:
            return
        mark = blake2b(b"%d" % cleared, digest_size=16).digest()
        has_mark = len(self._row) > 0  # before the look for this one, which another thread may be noting
        if mark not in self._row:
            if has_mark:
                run_all(self._above)
            if self._row.put(mark, b"", self._row.generation).stored is False:
                return  # not remembered: to be tried again
        self._known = cleared
