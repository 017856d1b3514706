"""Where the seconds of an epoch go: into the model, or into waiting for data."""

from __future__ import annotations

import time
from collections.abc import Callable

PARTS = {  # of an epoch, and of nothing else
    "reading": "the model waits for a batch while the storage has requests",
    "decoding": "the model waits for a batch while the storage has none",
    "model": "the model trains on a batch, whatever is read and decoded meanwhile",
}


class EpochClock:
    """Divides an epoch between the model, reading and decoding; the three add up to the epoch.

    busy_s: gives the seconds so far in which the storage had a request. ``batch_ready`` and ``batch_used`` may be
    called by two threads, each in the order of the batches.
    """

    def __init__(self, busy_s: Callable[[], float]) -> None:
        self._busy_s = busy_s
        self._ready: list[tuple[float, float]] = []  # (time, busy_s) at each
        self._idle: list[tuple[float, float]] = []

    def begin_epoch(self) -> None:
        """Start with an idle model. A pass over the data may have begun before."""
        self._idle = [self._now()]

    def batch_ready(self) -> None:
        """Note that the next batch is there."""
        self._ready.append(self._now())

    def batch_used(self) -> None:
        """Note that the model has finished a batch."""
        self._idle.append(self._now())

    def end_epoch(self) -> dict[str, float]:
        """Return epoch_s, model_s, reading_s and decoding_s."""
        steps = len(self._idle) - 1
        ready, self._ready = self._ready[-steps:], []  # without those that Keras requests ahead of a pass
        reading_s = decoding_s = 0.0
        for (idle_at, busy_before), (ready_at, busy_s) in zip(self._idle, ready, strict=False):
            wait_s = max(0.0, ready_at - idle_at)
            read_s = min(wait_s, max(0.0, busy_s - busy_before))
            reading_s, decoding_s = reading_s + read_s, decoding_s + wait_s - read_s
        epoch_s = self._idle[-1][0] - self._idle[0][0]
        model_s = epoch_s - reading_s - decoding_s
        return {"epoch_s": epoch_s, "model_s": model_s, "reading_s": reading_s, "decoding_s": decoding_s}

    def _now(self) -> tuple[float, float]:
        return time.monotonic(), self._busy_s()
