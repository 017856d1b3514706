"""How many runs of a pipeline's stages are under way at a time."""

from __future__ import annotations

from ...planning.workload import Concurrency

_READING, _COMPUTING, _EITHER = range(3)  # the first stage; the others
_RUNS = 128  # that tell what is usual now; those before count half, and so on


class Activity:
    """Seconds of runs, and seconds during which there was any, of each kind. Its user has a lock.

    The mean number of runs at a time is the one divided by the other (Little, "A proof for the queuing formula
    L = λW", Operations Research 9, 1961).
    """

    def __init__(self) -> None:
        self._under_way, self._last = [0, 0, 0], 0.0
        self._sums, self._spans, self._runs = [0.0, 0.0, 0.0], [0.0, 0.0, 0.0], 0

    def begin(self, stage: int, now: float) -> None:
        """Take note of a run that begins. now: seconds of a clock."""
        self._go_on(now)
        for kind in (_COMPUTING if stage else _READING, _EITHER):
            self._under_way[kind] += 1

    def end(self, stage: int, now: float) -> None:
        """Take note of a run that ends."""
        self._go_on(now)
        for kind in (_COMPUTING if stage else _READING, _EITHER):
            self._under_way[kind] -= 1
        self._runs += 1
        if self._runs >= _RUNS:
            self._runs //= 2
            self._sums, self._spans = [s / 2 for s in self._sums], [s / 2 for s in self._spans]

    def _go_on(self, now: float) -> None:
        passed = max(0.0, now - self._last)  # another thread may have looked at the clock later, and come first
        self._last = max(self._last, now)
        for kind, count in enumerate(self._under_way):
            if count:
                self._sums[kind] += count * passed
                self._spans[kind] += passed

    def concurrency(self) -> Concurrency:
        """Return how much is done at a time."""
        pairs = zip(self._sums, self._spans, strict=True)
        reads, processors, _ = (total / span if span else 1.0 for total, span in pairs)
        shorter, longer = sorted(self._spans[:_EITHER])
        hidden = (shorter + longer - self._spans[_EITHER]) / shorter if shorter else 0.0
        return Concurrency(max(1.0, processors), max(1.0, reads), min(1.0, max(0.0, hidden)))
