"""The values of one function in several tiers.

A value goes to the lowest tier that has room for it, and upwards only if that has none: with room for C items here and
for R where all machines look, C + R are answered, where a copy on the way up would leave the larger of the two. Once
calls in a row were all answered, no value is still to come, and what is found below is copied up while there is room.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from time import monotonic
from typing import Any, cast

from ..base import MISSING, Counters, Lease, Partition, PutResult, Snapshot, Store, put_alone
from .clears import Clears
from .counters import TieredCounters, calls, of_each, together
from .every import run_all, total
from .leases import Locks, joined
from .spare_room import SpareRoom

_OF_NO_GENERATION = -1
_WORD = 64  # bits of a tier's generation

Items = Sequence[tuple[Any, Any]]


class TieredPartition(Partition):
    """A partition of each tier, the fastest first; see the module for which of them keeps a value.

    stores: of the tiers. names: of the tiers. rows: see TieredCounters. A value that cannot be stored in one tier may
    be in another: put raises what it raises if it does so in all. A tier that cannot be asked has nothing. maxsize: of
    all tiers together; those who store at the same time may exceed it by one each. lowest: the number of the lowest
    tier that takes values, for the cache to set.
    """

    def __init__(
        self,
        stores: Sequence[Store],
        tiers: Sequence[Partition],
        rows: Sequence[Partition],
        names: Sequence[str],
        maxsize: int | None,
    ) -> None:
        self.levels, self.rows, self.names, self.maxsize, self._stores = tiers, rows, names, maxsize, stores
        self._first, self._get_first, self.lowest = tiers[0], tiers[0].get, len(tiers) - 1
        self._spare = SpareRoom(partial(calls, tiers, rows))
        above = [partition.clear for partition in (*reversed(tiers[:-1]), *rows)]
        self._clears = Clears(tiers[-1], rows[-1], above) if rows else None
        self.has_leases = any(tier.has_leases for tier in tiers)
        self.locked_before_fork = any(tier.locked_before_fork for tier in tiers)
        self._take_locks()

    def _take_locks(self) -> None:
        self.lock = cast(Any, Locks([*self.levels, *self.rows]))

    @property
    def largest(self) -> int:
        """The bytes of the largest value that is stored."""
        return self._first.largest

    @largest.setter
    def largest(self, nbytes: int) -> None:
        for tier in self.levels:
            tier.largest = nbytes

    @property
    def maxbytes(self) -> int | None:
        return total([tier.maxbytes for tier in self.levels])

    @property
    def currbytes(self) -> int | None:
        return total([tier.currbytes for tier in self.levels])

    @property
    def cleared(self) -> int | None:
        return self.levels[-1].cleared

    @property
    def counters(self) -> Counters:
        return TieredCounters(self.levels, self.rows)

    @property
    def full(self) -> bool:
        return all(map(self._is_full, range(self.lowest + 1))) or self._left(1) <= 0

    def _is_full(self, number: int) -> bool:
        """Return whether a tier has no room for one more value; if it has none yet, of the mean size in the others."""
        tier, store = self.levels[number], self._stores[number]
        if tier.full or len(tier):
            return tier.full
        values, most, used = len(self), store.maxbytes, store.currbytes
        return most is not None and used is not None and used + (self.currbytes or 0) / (values or 1) > most

    @property
    def generation(self) -> int:
        return _combined([tier.generation for tier in self.levels])

    def __len__(self) -> int:
        return sum(map(len, self.levels))

    def __contains__(self, key: Any) -> bool:
        return any(key in tier for tier in self.levels)

    def why_nothing_fits(self) -> str:
        return "; ".join(filter(None, (tier.why_nothing_fits() for tier in self.levels)))

    def get(self, key: Any, copy: bool = True) -> Any:
        clears = self._clears
        if clears is not None and monotonic() >= clears.next_s:
            clears.look()
        value = self._get_first(key, copy)
        if value is MISSING and self.rows:
            (value,) = self._look_below([key], copy)
        return value

    def get_many(self, keys: Sequence[Any], copy: bool = True) -> list[Any]:
        """Return the value of each key or MISSING: one request to each tier, for what those before it do not have."""
        if self._clears is not None and monotonic() >= self._clears.next_s:
            self._clears.look()
        values = self._first.get_many(keys, copy)
        missing = [n for n, value in enumerate(values) if value is MISSING]
        if missing and self.rows:
            for n, value in zip(missing, self._look_below([keys[n] for n in missing], copy), strict=True):
                values[n] = value
        return values

    def _look_below(self, keys: Sequence[Any], copy: bool) -> list[Any]:
        """Return what the tiers below the first have, and copy it up if there is room to spare."""
        values, missing = [MISSING] * len(keys), list(range(len(keys)))
        has_room = not self._first.full  # a question to the first tier alone
        copies = has_room and self._spare.found
        generations = [tier.generation for tier in self.levels] if copies else []  # before the look: a clear may come
        for number, row in enumerate(self.rows, 1):
            found = self.levels[number].get_many([keys[n] for n in missing], copy or copies)
            for n, value in zip(missing, found, strict=True):
                values[n] = value
            hits = [n for n, value in zip(missing, found, strict=True) if value is not MISSING]
            missing = [n for n in missing if values[n] is MISSING]
            if hits:
                row.counters.hit(len(hits))
                if has_room:
                    self._spare.note(len(hits))
                if copies:
                    self._copy_up(number, [(keys[n], values[n]) for n in hits], generations)
            if not missing:
                break
        if copies and not copy:
            return [memoryview(value) if type(value) is bytes else value for value in values]
        return values

    def _copy_up(self, number: int, items: Items, generations: Sequence[int]) -> None:
        """Put the values of a tier into the first one above it that has room."""
        items = items[: max(0, self._left(len(items)))]
        for above in range(number):
            if items and not self.levels[above].full:
                results = self.levels[above].put_many(items, generations[above])
                items = [item for item, result in zip(items, results, strict=True) if _is_refused(result)]
                results.clear()  # an exception's traceback keeps this frame alive
                if not above and items:
                    self.rows[number - 1].counters.reject(len(items))

    def put(self, key: Any, value: Any, generation: int) -> PutResult:
        return put_alone(self, key, value, generation)

    def put_many(self, items: Iterable[tuple[Any, Any]], generation: int) -> list[PutResult | Exception]:
        """Store each value in the lowest tier that takes it."""
        items = list(items)
        generations = [tier.generation for tier in self.levels]
        self._spare.found = False  # something was missing
        if _combined(generations) != generation:
            return self._first.put_many(items, _OF_NO_GENERATION)
        lowest = self.lowest
        results = self.levels[lowest].put_many(items, generations[lowest])
        try:
            for tier, number in zip(reversed(self.levels[:lowest]), reversed(generations[:lowest]), strict=True):
                refused = [n for n, result in enumerate(results) if _is_refused(result)]
                asked = refused[: max(0, self._left(len(refused)))]
                put = tier.put_many([items[n] for n in asked], number) if asked else []
                uncounted = len(refused) - len(asked) + _take_over(results, asked, put)
                if tier is self._first and uncounted:
                    self.counters.reject(uncounted)
            return results.copy()
        finally:
            results.clear()  # an exception's traceback keeps this frame alive

    def _left(self, wanted: int) -> int:
        """Return how many more values there may be, at most `wanted`."""
        return wanted if self.maxsize is None else min(wanted, self.maxsize - len(self))

    def discard(self, key: Any) -> bool:
        """Remove the value of a key from every tier, from the lowest up."""
        return any(run_all([partial(tier.discard, key) for tier in reversed(self.levels)]))

    def lease(self, key: Any, generation: int) -> Lease | None:
        return self.leases([key], generation)[key]

    def leases(self, keys: Sequence[Any], generation: int) -> dict[Any, Lease | None]:
        takers = [tier for tier in self.levels[: self.lowest + 1] if tier.has_leases]
        of_tiers = [tier.leases(keys, tier.generation) for tier in takers]
        return {key: joined([leases[key] for leases in of_tiers]) for key in keys}

    def snapshot(self, scope: str) -> Snapshot:
        tiers = [tier.snapshot(scope) for tier in self.levels]
        rows = [row.counters.snapshot(scope) for row in self.rows]
        counts = together([tier.counts for tier in tiers], rows)
        currbytes = total([tier.currbytes for tier in tiers])
        return Snapshot(counts, sum(tier.currsize for tier in tiers), currbytes)

    def tiers(self, scope: str) -> list[tuple[str, Snapshot, int | None]]:
        snapshots = [tier.snapshot(scope) for tier in self.levels]
        rows = [row.counters.snapshot(scope) for row in self.rows]
        counts = of_each([tier.counts for tier in snapshots], rows)
        found = [tier._replace(counts=one) for tier, one in zip(snapshots, counts, strict=True)]
        return list(zip(self.names, found, [tier.maxbytes for tier in self.levels], strict=True))

    def servers(self) -> dict[str, str]:
        return {name: state for tier in self.levels for name, state in tier.servers().items()}

    def clear(self) -> None:
        """Clear every tier, from the lowest up: what is being copied upwards meanwhile does not stay."""
        run_all([partition.clear for partition in (*reversed(self.levels), *self.rows)])

    def after_fork_in_child(self) -> None:
        for partition in (*self.levels, *self.rows):
            partition.after_fork_in_child()
        self._take_locks()


def _take_over(results: list[PutResult | Exception], asked: Sequence[int], put: list[PutResult | Exception]) -> int:
    """Replace the results of values by those of the next tier; return for how many it raised what others did not."""
    raised = 0
    for n, result in zip(asked, put, strict=True):
        if isinstance(results[n], Exception) or not isinstance(result, Exception):
            results[n] = result
        else:
            raised += 1
    put.clear()  # an exception's traceback keeps the caller's frame alive
    return raised


def _is_refused(result: PutResult | Exception) -> bool:
    return isinstance(result, Exception) or result.stored is False


def _combined(generations: Sequence[int]) -> int:
    """Return a number that no other generations of the tiers have."""
    number = 0
    for generation in generations:
        number = number << _WORD | generation & ((1 << _WORD) - 1)
    return number
