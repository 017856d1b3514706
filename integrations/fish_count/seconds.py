"""Where the seconds of an epoch go: into the model, or into waiting for data."""

from __future__ import annotations

from collections.abc import Callable

from .storage import Moment

PARTS = {  # of an epoch, and of nothing else
    "reading": "the model waits for a batch while the storage answers a request",
    "decoding": "the model waits for a batch while the storage answers none",
    "model": "the model trains on a batch, whatever is read and decoded meanwhile",
}


class EpochClock:
    """Divides an epoch between the model, reading and decoding; the three add up to the epoch.

    now: returns the present moment. ``batch_ready`` and ``batch_used`` may be called by two threads, each in the order
    of the batches.
    """

    def __init__(self, now: Callable[[], Moment]) -> None:
        self.now = now
        self._ready: list[tuple[Moment, Moment]] = []  # when each batch was requested, and when it was there
        self._idle: list[Moment] = []  # when the model had nothing left to do

    def begin_epoch(self) -> Moment:
        """Start now, with an idle model; batches may have been requested before. Return when."""
        self._idle = [self.now()]
        return self._idle[0]

    def batch_ready(self, requested: Moment) -> None:
        """Note that the next batch is there."""
        self._ready.append((requested, self.now()))

    def batch_used(self) -> Moment:
        """Note, and return, when the model has finished a batch."""
        self._idle.append(self.now())
        return self._idle[-1]

    def end_epoch(self) -> dict[str, float]:
        """Return epoch_s, model_s, reading_s and decoding_s."""
        steps = len(self._idle) - 1
        batches, self._ready = self._ready[-steps:], []  # without those that Keras requests ahead of a pass
        reading_s = decoding_s = 0.0
        for idle, (requested, ready) in zip(self._idle, batches, strict=False):
            start = max(idle, requested)
            wait_s = max(0.0, ready.at_s - start.at_s)
            read_s = min(wait_s, max(0.0, ready.busy_s - start.busy_s))
            reading_s, decoding_s = reading_s + read_s, decoding_s + wait_s - read_s
        epoch_s = self._idle[-1].at_s - self._idle[0].at_s
        model_s = epoch_s - reading_s - decoding_s
        return {"epoch_s": epoch_s, "model_s": model_s, "reading_s": reading_s, "decoding_s": decoding_s}
