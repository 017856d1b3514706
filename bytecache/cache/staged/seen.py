"""How many different keys have come."""

from __future__ import annotations

import math
from collections.abc import Hashable

_BITS = 1 << 20


def lot_of(key: Hashable) -> int:
    """Return a number for a key, as if drawn at random: the hashes of ints are in order, those of tuples are not."""
    return hash((key, None))


class Seen:
    """Estimates how many different keys were added, from the bits that their hashes have set in a map of 128 KiB.

    Within a percent up to some millions (Whang, Vander-Zanden and Taylor, "A linear-time probabilistic counting
    algorithm for database applications", ACM Transactions on Database Systems 15, 1990). Safe for threads as far as
    that matters: a key that is lost changes nothing.
    """

    def __init__(self) -> None:
        self._map, self._set = bytearray(_BITS >> 3), 0

    def add(self, lot: int) -> None:
        """Take note of the key that has this lot."""
        bit = lot % _BITS
        if not self._map[bit >> 3] & 1 << (bit & 7):
            self._map[bit >> 3] |= 1 << (bit & 7)
            self._set += 1

    def count(self) -> int:
        """Return how many there were."""
        return round(-_BITS * math.log1p(-min(self._set, _BITS - 1) / _BITS))
