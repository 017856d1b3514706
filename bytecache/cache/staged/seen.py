"""How many different keys have come."""

from __future__ import annotations

import math
from collections.abc import Hashable

_BITS, _MASK = 1 << 20, (1 << 64) - 1


def lot_of(key: Hashable) -> int:
    """Return a number of 64 bits for a key, as if drawn at random, also if its hash is that of an int.

    By the last steps of MurmurHash3 (Appleby, 2011, in the public domain).
    """
    mixed = hash(key) & _MASK
    mixed = (mixed ^ mixed >> 33) * 0xFF51AFD7ED558CCD & _MASK
    mixed = (mixed ^ mixed >> 33) * 0xC4CEB9FE1A85EC53 & _MASK
    return mixed ^ mixed >> 33


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
