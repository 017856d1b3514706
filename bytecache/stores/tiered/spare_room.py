"""Whether the room of the upper tiers is free for copies of what a lower one has."""

from __future__ import annotations

from collections.abc import Callable

_FEWEST, _MOST = 16, 4096  # calls in a row that must be hits: as many as the lowest tier has values, within these
_LOOKS = 16  # in that time


class SpareRoom:
    """Watches for a time in which no call is a miss and nobody stores anything: then all that is read is cached.

    Not earlier: while values are still to come, the room is worth more to one that no tier below can take. Nobody knows
    the number of items, or who else reads them; if the few that have not come yet stay out for that long, a copy takes
    the place of one of them, which costs a hit per epoch. Of several machines that share the lowest tier each reads its
    part of an epoch, so the hits of all count. calls: see there. found: whether there is such a time now; a miss ends
    it. Safe for threads as far as it matters: an update that is lost delays the next look.
    """

    def __init__(self, calls: Callable[[], tuple[int, int, int]]) -> None:
        self._calls = calls
        self.found = False
        self._state, self._since = (-1, -1), 0  # misses, values in the lowest tier; hits when they were first seen
        self._hits, self._next = 0, 1

    def note(self, hits: int) -> None:
        """Take note of calls that a lower tier has answered."""
        self._hits += hits
        if self._hits >= self._next:
            self._look()

    def _look(self) -> None:
        hits, misses, values = self._calls()
        if (misses, values) != self._state:
            self._state, self._since = (misses, values), hits
        most = min(max(values, _FEWEST), _MOST)
        self.found = hits - self._since >= most
        self._hits, self._next = 0, most // _LOOKS
