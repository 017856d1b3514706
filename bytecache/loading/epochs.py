"""The order of an epoch, a pure function of (seed, epoch), and the epoch that a request for a batch belongs to."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np


def epoch_order(n: int, seed: int, epoch: int, shuffle: bool = True) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Return the indices 0 to n - 1, int64 (n,), in the order of this epoch: reshuffled each epoch, or ascending."""
    if not shuffle:
        return np.arange(n)
    return np.random.default_rng([seed, epoch]).permutation(n)


class EpochTracker:
    """The epoch and position of each requested batch, derived from the sequence of requests alone.

    A framework may request some batches ahead of training, request them in an order of its own, and call its epoch
    hooks more or less often than there are epochs. What can be relied on: each pass over the data requests each batch
    once, and ``start_pass`` is called before it. A pass that requested every batch ends its epoch; after one that was
    interrupted, the same epoch starts over. Safe for threads.
    """

    def __init__(self, batches: int, in_request_order: bool) -> None:
        self._batches, self._in_request_order = batches, in_request_order
        self._lock = threading.Lock()  # guards _epoch and _requested
        self._epoch = 0
        self._requested: set[int] = set()

    @property
    def epoch(self) -> int:
        """The epoch of the current pass."""
        return self._epoch

    @epoch.setter
    def epoch(self, epoch: int) -> None:
        with self._lock:
            self._epoch = epoch
            self._requested.clear()

    def start_pass(self) -> None:
        """Note that the next request may be the first of a pass; calling it more than once changes nothing."""
        with self._lock:
            self._start_pass_locked()

    def _start_pass_locked(self) -> None:
        self._epoch += len(self._requested) == self._batches
        self._requested.clear()

    def locate(self, index: int) -> tuple[int, int]:
        """Return the (epoch, position) to serve for a request of batch `index`.

        In request order, the position is the number of earlier requests of the pass, whatever their indices; otherwise
        it is the index.
        """
        with self._lock:
            if index in self._requested:  # no pass requests a batch twice, so a new one has started
                self._start_pass_locked()
            position = len(self._requested) if self._in_request_order else index
            self._requested.add(index)
            return self._epoch, position
