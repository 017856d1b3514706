"""How many threads of a pipeline compute at a time, in all its calls together."""

from __future__ import annotations

import itertools
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

from ...system.threads import run_on_threads

T = TypeVar("T")
_PATIENCE_S = 1.0


class _OfThread(threading.local):
    has_place = False


class Places:
    """Places of threads that compute: one for each processor, and one for who waits for the interpreter meanwhile.

    More would only be in each other's way. Calls have them in the order in which they came, so that one ends after the
    other, and what follows them begins so. A thread that has a place needs no other. Nothing else depends on them:
    whoever got none within a second goes on without, since a stage may call its own pipeline, from threads of its own
    too.
    """

    def __init__(self, processors: int) -> None:
        self.processors, self._count, self._taken = processors, processors + 1, 0
        self._waiting: list[int] = []  # the numbers of calls, once for each of their threads that waits
        # Guards these. Entered by itself: a Condition is entered in Python, where a Ctrl-C may come when it is acquired
        # and not to be released yet.
        self._lock = threading.RLock()
        self._changed = threading.Condition(self._lock)
        self._next_number = itertools.count().__next__
        self._of_thread = _OfThread()

    @contextmanager
    def taken(self) -> Iterator[None]:
        """Have a place during the block."""
        if self._of_thread.has_place:
            yield
            return
        self._take(self._next_number())
        try:
            yield
        finally:
            self._leave()

    def run(self, work: Callable[[T], None], items: Sequence[T], threads: int) -> None:
        """Call ``work(item)`` for each item, on so many threads with this one; raise what run_on_threads raises."""
        if self._of_thread.has_place:
            return run_on_threads(work, items, 1)
        number, left = self._next_number(), deque(items)

        def take_part(_: int) -> None:
            if not self._take(number, left):
                return
            try:
                while (item := _pop(left)) is not None:
                    work(*item)
            except BaseException:
                left.clear()
                raise
            finally:
                self._leave()

        run_on_threads(take_part, range(threads), threads)

    def _take(self, number: int, left: Sequence[object] = (None,)) -> bool:
        """Take a place for the call of this number; return False if there is none before no items are left."""
        with self._lock:
            self._waiting.append(number)
            try:
                if not self._changed.wait_for(lambda: not left or self._is_next(number), _PATIENCE_S):
                    self._taken -= 1  # whoever has one that long may be waiting for this call, or be gone
                if not left:
                    return False
                self._taken += 1
            finally:
                self._waiting.remove(number)
        self._of_thread.has_place = True
        return True

    def _is_next(self, number: int) -> bool:
        return self._taken < self._count and number == min(self._waiting)

    def _leave(self) -> None:
        self._of_thread.has_place = False
        with self._lock:
            self._taken = max(0, self._taken - 1)
            self._changed.notify_all()


def _pop(left: deque[T]) -> tuple[T] | None:
    """Return the next item; None if other threads have taken all."""
    try:
        return (left.popleft(),)
    except IndexError:
        return None
