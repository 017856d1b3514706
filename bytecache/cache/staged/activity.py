"""How many runs of a pipeline's stages are under way at a time."""

from __future__ import annotations

from ...planning.workload import Concurrency

# Kinds: runs of the first stage, of the others, of any, and the calls that run them.
_READING, _COMPUTING, _EITHER, _CALLS = range(4)
_OF_READ, _OF_OTHERS, _OF_CALL = (_READING, _EITHER), (_COMPUTING, _EITHER), (_CALLS,)
_RUNS = 128  # that tell what is usual now; those before count half, and so on


class Activity:
    """Seconds of runs, and seconds during which there was any, of each kind. Its user has a lock: nothing is allocated
    that the collector looks after.

    The mean number of runs at a time is the one divided by the other (Little, "A proof for the queuing formula
    L = λW", Operations Research 9, 1961). Seconds of a call in which no stage runs count as if all went so much slower.
    """

    def __init__(self) -> None:
        self._under_way, self._last, self._runs = [0] * 4, 0.0, 0
        self._sums, self._spans = [0.0] * 4, [0.0] * 4

    def begin_call(self, now: float) -> None:
        """Take note of a call that begins. now: seconds of a clock."""
        self._change(_OF_CALL, 1, now)

    def end_call(self, now: float) -> None:
        """Take note of a call that ends."""
        self._change(_OF_CALL, -1, now)

    def begin(self, stage: int, now: float) -> None:
        """Take note of a run that begins, within a call."""
        self._change(_OF_OTHERS if stage else _OF_READ, 1, now)

    def end(self, stage: int, now: float) -> None:
        """Take note of a run that ends."""
        self._change(_OF_OTHERS if stage else _OF_READ, -1, now)
        self._runs += 1
        if self._runs >= _RUNS:
            self._runs //= 2
            for kind in range(4):
                self._sums[kind] /= 2
                self._spans[kind] /= 2

    def _change(self, kinds: tuple[int, ...], by: int, now: float) -> None:
        self._go_on(now)
        for kind in kinds:
            self._under_way[kind] += by

    def _go_on(self, now: float) -> None:
        passed = max(0.0, now - self._last)  # another thread may have looked at the clock later, and come first
        self._last = max(self._last, now)
        for kind in range(4):
            if self._under_way[kind]:
                self._sums[kind] += self._under_way[kind] * passed
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
