"""The counters of a function over several tiers."""

from __future__ import annotations

from collections.abc import Sequence

from ..base import Counters, Counts, Partition


class TieredCounters(Counters):
    """Counts calls in the first tier. The hits of each other one are counted in a row of its own, beside it.

    rows: partitions of the first tier's store without values, in whose counters hits are calls that the tier has
    answered, and rejected values are copies of its values for which the first tier had no room.
    """

    def __init__(self, tiers: Sequence[Partition], rows: Sequence[Partition]) -> None:
        self._tiers, self._rows, self._own = tiers, rows, tiers[0].counters

    def hit(self, n: int = 1) -> None:
        self._own.hit(n)

    def miss(self, n: int = 1) -> None:
        self._own.miss(n)

    def reject(self, n: int = 1) -> None:
        self._own.reject(n)

    def load(self, seconds: float, errors: int = 0) -> None:
        self._own.load(seconds, errors)

    def snapshot(self, scope: str) -> Counts:
        tiers = [self._own, *(tier.counters for tier in self._tiers[1:])]
        return together([one.snapshot(scope) for one in tiers], [row.counters.snapshot(scope) for row in self._rows])


def together(tiers: Sequence[Counts], rows: Sequence[Counts]) -> Counts:
    """Return the counts of a function from those of its tiers and of their rows.

    A value is rejected if the first tier, which is asked last, had no room for it either.
    """
    first = tiers[0]
    return Counts(
        hits=first.hits + sum(row.hits for row in rows),
        misses=first.misses,
        errors=first.errors,
        stored=sum(counts.stored for counts in tiers),
        rejected=max(0, first.rejected - sum(row.rejected for row in rows)),  # its store alone may have been cleared
        evicted=sum(counts.evicted for counts in tiers),
        load_s=first.load_s,
        lookup_s=sum(counts.lookup_s for counts in tiers),
    )


def calls(tiers: Sequence[Partition], rows: Sequence[Partition]) -> tuple[int, int, int]:
    """Return hits, misses, and how many values the lowest tier has.

    The lowest tier's hits are those of all machines, the others', and misses, those of all processes of this one.
    """
    first, lowest = tiers[0].counters.snapshot("all"), tiers[-1].snapshot("all")
    between = sum(row.counters.snapshot("all").hits for row in rows[:-1])
    return first.hits + between + lowest.counts.hits, first.misses, lowest.currsize


def of_each(tiers: Sequence[Counts], rows: Sequence[Counts]) -> list[Counts]:
    """Return the counts of each tier: its hits, and as misses the calls that it left to those below or to the function.

    The first one's hits include the calls that another call has answered.
    """
    hits, found = [tiers[0].hits, *(row.hits for row in rows)], []
    left = tiers[0].misses
    for counts, answered in zip(reversed(tiers), reversed(hits), strict=True):
        found.append(counts._replace(hits=answered, misses=left, errors=0, load_s=0.0))
        left += answered
    return found[::-1]
