"""When to ask a server that has failed again: not at each call, or each would wait as long as the first."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from time import monotonic

_FAILURES = 3  # in a row, after which it opens
_FIRST_PAUSE_S, _MAX_PAUSE_S = 5.0, 300.0
_logger = logging.getLogger("bytecache")


class CircuitBreaker:
    """Closed while a server answers; open, so that nobody asks it, after three failures in a row.

    It lets one request through after 5 s, and after each that fails waits twice as long as before, at most 300 s; the
    first success closes it. Each opening and closing is logged once. What a request brings that began before the last
    change does not count. Safe for threads. name: of the server, for people. clock: seconds.
    """

    def __init__(self, name: str, clock: Callable[[], float] = monotonic) -> None:
        self._name, self._clock = name, clock
        self._lock = threading.RLock()  # guards all below
        self._change = 0  # counts openings, closings and trials: what a request was let in by
        self._failures = 0
        self._is_open = self._is_trial = False
        self._pause_s, self._retry_at = _FIRST_PAUSE_S, 0.0

    @property
    def state(self) -> str:
        """Return "closed", "open", or "half-open" while one request finds out whether the server is back."""
        return "half-open" if self._is_trial else "open" if self._is_open else "closed"

    def enter(self) -> int | None:
        """Return what `succeed` or `fail` is to be called with after a request; None: do not make it."""
        now = self._clock()
        with self._lock:
            if self._is_open:
                if now < self._retry_at:
                    return None
                self._is_trial = True
                self._retry_at = now + self._pause_s  # for another trial, if this one never ends
                self._change += 1
            return self._change

    def succeed(self, entered: int) -> None:
        """Take note that a server has answered."""
        if not self._failures:  # the common case: closed, and nothing to reset
            return
        with self._lock:
            counts, closes = entered == self._change, self._is_open
            if counts:
                self._failures = 0
                self._is_open = self._is_trial = False
                self._pause_s = _FIRST_PAUSE_S
                self._change += closes
        if counts and closes:
            _logger.info("%s answers again", self._name)

    def fail(self, entered: int, reason: str) -> None:
        """Take note that a server could not be reached, or did not answer."""
        now, opens = self._clock(), False
        with self._lock:
            if entered != self._change:
                return
            self._failures += 1
            if self._is_open:
                self._pause_s = min(2 * self._pause_s, _MAX_PAUSE_S)
            elif self._failures >= _FAILURES:
                self._is_open = opens = True
                self._change += 1
            self._is_trial = False
            self._retry_at = now + self._pause_s
        if opens:
            _logger.warning(
                "%s does not answer (%s): its values are read from storage, and it is tried again after %.0f s, then "
                "at longer intervals, at most %.0f s",
                self._name, reason, _FIRST_PAUSE_S, _MAX_PAUSE_S,
            )  # fmt: skip
