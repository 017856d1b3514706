"""Python's cyclic collector, which may run users' destructors at any moment: not while the library has a lock."""

from __future__ import annotations

import gc
from typing import Any

from .fork import at_fork


class _NoCollection:
    """A context in which the collector starts by itself in no thread, so that no destructor runs under a lock.

    A destructor may wait for another thread, and that one for the lock. Enter it before the lock is taken, for what
    ends soon. Threads may be in it at the same time; each step on what they share is one that no thread interrupts.
    """

    def __init__(self) -> None:
        self._inside: list[None] = []  # an item for each thread that is in it
        self._was_enabled = False  # before the first of them came

    def __enter__(self) -> None:
        self._inside.append(None)
        if gc.isenabled():
            self._was_enabled = True
            gc.disable()

    def __exit__(self, *exc: Any) -> None:
        del self._inside[:1]  # in a forked child there may be none
        if not self._inside and self._was_enabled:
            self._was_enabled = False
            gc.enable()

    def after_fork_in_child(self) -> None:
        """Forget the threads that a forked child does not have."""
        self._inside.clear()
        self.__exit__()


no_collection = _NoCollection()
at_fork("collection", after_in_child=no_collection.after_fork_in_child)
