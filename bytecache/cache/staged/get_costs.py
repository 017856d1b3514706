"""What it takes to get a value's bytes from the tiers of a store, measured on the first ones that go there."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from time import perf_counter
from typing import Any

from ...stores.base import MISSING, Partition
from ...stores.values import sizeof

_PROBES, _FEWEST = 8, 4  # of a tier by this process, and how many must have found something
_PROBE_BYTES = 1 << 14  # at least: what fewer take is lost in what a request takes in any case
_MOST_VALUES = 256  # that are waited for, if they are small


class GetCosts:
    """The seconds per byte of each tier but the first, whose bytes are taken to cost nothing.

    In a store it is final where a value goes, so what later hits take would come too late: what was just stored is got
    again, and as many keys without a value. The difference is what the bytes take, apart from the request; the
    quartile of several says it, since a busy machine makes some too long. Safe for threads: an update that is lost
    makes one probe more, or one less. tiers: how many there are.
    """

    def __init__(self, tiers: int) -> None:
        self._left = _PROBES if tiers > 1 else 0
        self._found = [list[float]() for _ in range(tiers - 1)]
        self._keys, self._nbytes, self._values = list[bytes](), 0.0, 0

    def note(self, tiers: Sequence[Partition], stored: Iterable[tuple[bytes, float]]) -> None:
        """Take note of keys, and bytes, of values that were just stored in one of the tiers, and get some of them."""
        if self._left <= 0:  # below it by an update that was lost
            return
        for key, nbytes in stored:
            self._keys.append(key)
            self._nbytes += nbytes
            self._values += 1
        if self._nbytes >= _PROBE_BYTES:
            keys, self._keys, self._nbytes = self._keys, [], 0.0
            self._left -= 1
            for found, tier in zip(self._found, tiers[1:], strict=True):
                _probe(tier, keys, found)
        elif self._values > _MOST_VALUES:
            self._left = 0

    @property
    def is_measuring(self) -> bool:
        """Whether a probe is still to come that matters."""
        return self._left > 0 and any(len(found) < _FEWEST for found in self._found)

    def per_byte(self) -> list[float]:
        """Return the seconds per byte of each tier, 0.0 if that is not known; no tier is faster than one before."""
        costs = [0.0]
        for found in map(sorted, self._found):
            costs.append(max(costs[-1], found[len(found) // 4] if len(found) >= _FEWEST else 0.0))
        return costs


def _probe(tier: Partition, keys: Sequence[bytes], found: list[float]) -> None:
    generation, counters = tier.generation, tier.counters
    absent_s, _ = _get(tier, [bytes(255 - byte for byte in key) for key in keys])
    seconds, values = _get(tier, keys)
    values = [value for value in values if value is not MISSING]
    if values and tier.generation == generation:  # else it was cleared, and its counters with it
        counters.hit(-len(values))  # no call has asked for them
    nbytes = sum(map(sizeof, values))
    if nbytes >= _PROBE_BYTES // 2:
        found.append(max(0.0, seconds - absent_s) / nbytes)


def _get(tier: Partition, keys: Sequence[bytes]) -> tuple[float, list[Any]]:
    started = perf_counter()
    values = tier.get_many(keys)
    return perf_counter() - started, values
