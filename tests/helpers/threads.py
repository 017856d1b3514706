"""Threads that must end."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from typing import Any

from bytecache.conformance.running import PATIENCE_S as PATIENCE_S, start as start, together as together


def until(condition: Callable[[], Any]) -> None:
    """Return as soon as the condition holds; for states that no event announces."""
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, "the condition never held"
        os.sched_yield()


class Busy:
    """A block that threads enter; `most` is how many were in it at a time."""

    def __init__(self) -> None:
        self._lock, self._now, self.most = threading.Lock(), 0, 0

    def __enter__(self) -> None:
        with self._lock:
            self._now += 1
            self.most = max(self.most, self._now)

    def __exit__(self, *exception: object) -> None:
        with self._lock:
            self._now -= 1
