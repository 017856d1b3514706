"""Work on threads: the calling thread and helpers take the next item from one iterator.

The helpers come from one pool for the whole process, made on first use and made anew in a forked child. The caller
works too and never waits for a helper that has not begun, so nested and concurrent use cannot starve.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Any, TypeVar

T = TypeVar("T")
_MOST_HELPERS = 128
_executor: ThreadPoolExecutor | None = None
_executor_lock = threading.Lock()  # guards _executor


def cpu_count() -> int:
    """The processors that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def check_threads(threads: int | None, default: int) -> int:
    """`threads` or, for None, the default; raises ValueError for anything below one, TypeError for no int."""
    if threads is None:
        return default
    if not isinstance(threads, int) or isinstance(threads, bool):
        raise TypeError(f"threads must be a positive int or None, got {threads!r}")
    if threads < 1:
        raise ValueError(f"threads must be a positive int or None, got {threads!r}")
    return threads


class _Source(Iterator[tuple[int, T]]):
    """Numbers the items and hands each to one thread, until it is stopped."""

    def __init__(self, items: Iterable[T]) -> None:
        self._items = enumerate(items)
        self._lock = threading.Lock()  # guards _items: a generator runs in one thread at a time
        self._stopped = False

    def __next__(self) -> tuple[int, T]:
        with self._lock:
            if self._stopped:
                raise StopIteration
            return next(self._items)

    def stop(self) -> None:
        self._stopped = True


def run_shared(work: Callable[[T], Any], items: Iterable[T], threads: int) -> None:
    """Calls ``work(item)`` once for each item, on the calling thread and ``threads - 1`` helpers.

    Items are begun in order. After an exception none is begun; when all that run have ended, the exception of the
    first such item, in the order of the items, is raised. No call of `work` outlives this function.
    """
    source = _Source(items)
    failures: list[tuple[int, BaseException]] = []

    def take_turns() -> None:
        for index, item in source:
            try:
                work(item)
            except BaseException as exc:
                source.stop()
                failures.append((index, exc))
                return

    helpers = [_submit(take_turns) for _ in range(threads - 1)]
    try:
        take_turns()
    finally:
        source.stop()
        wait([helper for helper in helpers if helper is not None and not helper.cancel()])
    if failures:
        try:
            raise min(failures, key=lambda failure: failure[0])[1]
        finally:
            failures.clear()  # the traceback holds this frame


def _submit(task: Callable[[], None]) -> Future[None] | None:
    """A helper for `task`, or None where the interpreter is ending: then the caller does it all."""
    global _executor
    with _executor_lock:
        if _executor is None:
            _executor = ThreadPoolExecutor(_MOST_HELPERS, thread_name_prefix="bytecache")
        try:
            return _executor.submit(task)
        except RuntimeError:
            return None


def _forget_executor() -> None:
    # A forked child has none of its parent's threads, and the lock may have been held.
    global _executor, _executor_lock
    _executor, _executor_lock = None, threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_executor)
