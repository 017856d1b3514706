"""Calls for the next keys, under way while the caller uses the last result."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Hashable, Iterable
from concurrent.futures import Future
from itertools import islice
from typing import Generic, TypeAlias, TypeVar

from ...system.collection import no_collection
from .daemon_executor import DaemonExecutor

K = TypeVar("K", bound=Hashable)
T = TypeVar("T")
Prepare: TypeAlias = Callable[[K], Callable[[], T]]
_Begun: TypeAlias = tuple[Callable[[], T], "Future[T]"]  # a call, and its future


class Ahead(Generic[K, T]):
    """Threads that make the results for the next keys while the caller uses the last one.

    What is made ahead is kept until it is requested, or a request says that other keys come next. An exception is
    raised by the request for the key that it belongs to. Safe for threads; a forked child starts afresh.
    """

    def __init__(self, threads: int) -> None:
        self._threads = threads
        self._reset()

    def _reset(self) -> None:
        self._lock = threading.Lock()  # guards what follows
        self._executor: DaemonExecutor | None = None
        self._begun: dict[K, _Begun[T]] = {}
        self._pid = os.getpid()  # last: another thread that sees it uses the new lock

    def get(self, key: K, prepare: Prepare[K, T], following: Iterable[K] | None = None, n: int = 0) -> T:
        """Return ``prepare(key)()``, begun ahead or called now, having begun the first `n` of the keys `following` it.

        following: None if it is unknown; what was begun is kept then.
        """
        if self._pid != os.getpid():
            self._reset()
        with no_collection, self._lock:
            begun = self._begun.pop(key, None)
        call, future = (prepare(key), None) if begun is None else begun
        if following is not None:
            self.begin(following, n, prepare)
        try:
            # A call that no thread has started yet is quicker here than behind those that run.
            return call() if future is None or future.cancel() else future.result()
        finally:
            del begun, future  # an exception's traceback refers to this frame

    def begin(self, following: Iterable[K], n: int, prepare: Prepare[K, T]) -> None:
        """Begin the calls for the first `n` keys, and drop those for keys that do not follow.

        `prepare` makes a call of a key. It runs in this thread, so that what it draws at random comes in the order of
        requests.
        """
        with no_collection, self._lock:
            dropped, self._begun = self._begun, {}
            # Beyond `n`, what was begun when `n` was larger.
            for place, key in enumerate(islice(following, max(n, len(dropped)))):
                if key in dropped:
                    self._begun[key] = dropped.pop(key)
                elif place < n:
                    self._begun[key] = self._submit_locked(prepare(key))
        for _, future in dropped.values():
            future.cancel()

    def _submit_locked(self, call: Callable[[], T]) -> _Begun[T]:
        if self._executor is None:
            self._executor = DaemonExecutor(self._threads, "bytecache-ahead")
        try:
            return call, self._executor.submit(call)
        except RuntimeError:  # no thread can be started: the request makes the call
            return call, Future()
