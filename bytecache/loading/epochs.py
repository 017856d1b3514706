"""The order of an epoch, as a pure function of (seed, epoch)."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np


def epoch_order(n: int, seed: int, epoch: int, shuffle: bool = True) -> np.ndarray[Any, np.dtype[np.int64]]:
    """The indices 0 to n - 1, int64 (n,), in the order of this epoch: shuffled anew each epoch, or as they are."""
    if not shuffle:
        return np.arange(n)
    return np.random.default_rng([seed, epoch]).permutation(n)


class EpochTracker:
    """Tells which epoch and which batch a request is for, from the stream of requests alone.

    A framework may ask for some batches ahead of training, ask for them in an order of its own, and call its epoch
    hooks more or less often than there are epochs. What can be relied on: each pass over the data asks for each
    batch once, and ``start_pass`` is called before it. A pass that was given out whole ends its epoch; one that was
    broken off is begun again. Safe for threads.
    """

    def __init__(self, batches: int, in_request_order: bool) -> None:
        self._batches, self._in_request_order = batches, in_request_order
        self._lock = threading.Lock()  # guards _epoch and _requested
        self._epoch = 0
        self._requested: set[int] = set()

    @property
    def epoch(self) -> int:
        """The epoch of the present pass."""
        return self._epoch

    @epoch.setter
    def epoch(self, epoch: int) -> None:
        with self._lock:
            self._epoch = epoch
            self._requested.clear()

    def start_pass(self) -> None:
        """A pass may start_pass here."""
        with self._lock:
            self._start_pass_locked()

    def _start_pass_locked(self) -> None:
        self._epoch += len(self._requested) == self._batches
        self._requested.clear()

    def locate(self, index: int) -> tuple[int, int]:
        """(epoch, position) to serve for a request of batch `index`.

        By arrival, the position is the number of requests before it in the pass, whatever order they come in; else
        it is the index.
        """
        with self._lock:
            if index in self._requested:  # nobody asks twice in one pass
                self._start_pass_locked()
            position = len(self._requested) if self._in_request_order else index
            self._requested.add(index)
            return self._epoch, position
