"""One batch made ahead of its request, in the process that trains."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Generic, TypeVar

T = TypeVar("T")
Key = tuple[int, ...]


class Lookahead(Generic[T]):
    """A thread that makes the next batch while the caller uses the last one.

    At most one batch is made ahead, from the moment that the one before it is returned; it is kept until it is
    requested, or another one is. An exception is raised by the request for the batch that it belongs to. Safe for
    threads; a forked child and a pickled copy start afresh.
    """

    def __init__(self) -> None:
        self._reset()

    def _reset(self) -> None:
        self._pid = os.getpid()
        self._lock = threading.Lock()  # guards what follows
        self._executor: ThreadPoolExecutor | None = None
        self._ahead: tuple[Key, Future[T]] | None = None

    def get(self, key: Key, prepare: Callable[[Key], Callable[[], T]], upcoming: Key | None) -> T:
        """Return ``prepare(key)()``, made ahead or now; then start on `upcoming`, the next request if that is known.

        prepare: called in the calling thread, so that what it draws at random comes in the order of requests.
        """
        if self._pid != os.getpid():
            self._reset()
        future = self._take(key)
        try:
            batch = prepare(key)() if future is None else future.result()
        finally:
            del future  # an exception's traceback refers to this frame
        if upcoming is not None:
            job = prepare(upcoming)
            with self._lock:
                if self._executor is None:
                    self._executor = ThreadPoolExecutor(1, thread_name_prefix="bytecache-ahead")
                self._ahead = upcoming, self._executor.submit(job)
        return batch

    def _take(self, key: Key) -> Future[T] | None:
        with self._lock:
            if self._ahead is None or self._ahead[0] != key:
                return None
            (_, future), self._ahead = self._ahead, None
            return future

    def __reduce__(self) -> Any:
        return Lookahead, ()


class Cursor:
    """An iterator over indices that tells which come next; ``position`` is how many came."""

    def __init__(self, indices: Sequence[int]) -> None:
        self._indices, self.position = indices, 0

    def __iter__(self) -> Iterator[int]:
        return self

    def __next__(self) -> int:
        if self.position == len(self._indices):
            raise StopIteration
        self.position += 1
        return self._indices[self.position - 1]

    def upcoming(self, batch: Key) -> Key | None:
        """Return the batch of as many indices after `batch`, if that is what was iterated over last, else None.

        None also if fewer are left: a loader may drop those.
        """
        start, n = self.position, len(batch)
        if tuple(self._indices[max(0, start - n) : start]) != batch or start + n > len(self._indices):
            return None
        return tuple(self._indices[start : start + n])
