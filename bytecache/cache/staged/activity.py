"""How many runs of a pipeline's stages are under way at a time."""

from __future__ import annotations

from ...planning.workload import Concurrency

_READING, _COMPUTING, _EITHER, _CALLS = range(4)  # the first stage; the others; any; the calls that run them
_RUNS = 128  # that tell what is usual now; those before count half, and so on


class Activity:
    """Seconds of runs, and seconds during which there was any, of each kind. Its user has a lock.

    The mean number of runs at a time is the one divided by the other (Little, "A proof for the queuing formula
    L = λW", Operations Research 9, 1961). Seconds of a call in which no stage runs count as if all went so much slower.
    """

    def __init__(self) -> None:
        self._under_way, self._last, self._runs = [0] * 4, 0.0, 0
        self._sums, self._spans = [0.0] * 4, [0.0] * 4

    def begin_call(self, now: float) -> None:
        """Take note of a call that begins. now: seconds of a clock."""
        self._change([_CALLS], 1, now)

    def end_call(self, now: float) -> None:
        """Take note of a call that ends."""
        self._change([_CALLS], -1, now)

    def begin(self, stage: int, now: float) -> None:
        """Take note of a run that begins, within a call."""
        self._change([_COMPUTING if stage else _READING, _EITHER], 1, now)

    def end(self, stage: int, now: float) -> None:
        """Take note of a run that ends."""
        self._change([_COMPUTING if stage else _READING, _EITHER], -1, now)
        self._runs += 1
        if self._runs >= _RUNS:
            self._runs //= 2
            self._sums, self._spans = [s / 2 for s in self._sums], [s / 2 for s in self._spans]

    def _change(self, kinds: list[int], by: int, now: float) -> None:
        self._go_on(now)
        for kind in kinds:
            self._under_way[kind] += by

    def _go_on(self, now: float) -> None:
        passed = max(0.0, now - self._last)  # another thread may have looked at the clock later, and come first
        self._last = max(self._last, now)
        for kind, count in enumerate(self._under_way):
            if count:
                self._sums[kind] += count * passed
                self._spans[kind] += passed

    def concurrency(self) -> Concurrency:
        """Return how much is done at a time while there is a call."""
        reading, computing, either, calls = self._spans
        shorter, longer = sorted((reading, computing))
        hidden = (shorter + longer - either) / shorter if shorter else 0.0
        pace = min(1.0, either / calls) if calls and either else 1.0
        reads, processors = (
            pace * (total / span if span else 1.0)
            for total, span in zip(self._sums, (reading, computing), strict=False)
        )
        return Concurrency(processors, reads, min(1.0, max(0.0, hidden)))
