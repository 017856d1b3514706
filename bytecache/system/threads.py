"""A parallel loop: the calling thread and helper threads take the next item from one iterator.

The helpers are daemon threads of one pool for the whole process, as many as were ever needed at one time; a forked
child starts a pool of its own. The caller works too and never waits for a helper that has not started, so nested and
concurrent loops cannot starve.
"""

from __future__ import annotations

import itertools
import math
import os
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from queue import SimpleQueue
from typing import Any, Generic, TypeVar

from .caller import warn_caller
from .fork import at_fork

T = TypeVar("T")
_MAX_HELPERS = 128
LONG_WAIT_S = 10.0  # for another thread, after which whoever waits says so


def cpu_count() -> int:
    """Return the number of processors that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def dataloader_worker() -> Any:
    """Return what torch says of this process if it is a worker of a DataLoader; else None, without importing torch."""
    torch = sys.modules.get("torch.utils.data")
    return None if torch is None else torch.get_worker_info()


def processors() -> int:
    """Return on how many processors this process is to compute: in a worker of a DataLoader, on its share."""
    worker = dataloader_worker()
    return cpu_count() if worker is None else max(1, cpu_count() // worker.num_workers)


def run_on_threads(work: Callable[[T], None], items: Iterable[T], threads: int) -> None:
    """Call ``work(item)`` once for each item, on the calling thread and ``threads - 1`` helpers.

    Items start in order. After an exception no further item starts; once the running ones have ended, the exception of
    the first failed item, in the order of the items, is raised, KeyboardInterrupt and the like before all others. No
    call of `work` outlives this function, unless a second Ctrl-C comes while it waits for the running ones.
    """
    run = _ParallelRun(work, items)
    _running.add(run)
    try:
        with _pool.running(run.help, threads - 1):
            run.work()
    finally:
        try:
            run.finish()
        finally:
            _running.discard(run)
    if run.failures:
        try:
            raise min(run.failures, key=lambda failure: (isinstance(failure[1], Exception), failure[0]))[1]
        finally:
            run.failures.clear()  # a traceback refers to the frames, and they to the failures: a cycle


def release_all(locks: list[threading.Lock | None]) -> None:
    """Release the locks behind the first entry, which is None and goes as well; do nothing if that was done before.

    It is one call in C, so a signal handler comes before all of them are released, or after.
    """
    if locks:
        deque(map(_release, iter(locks.pop, None)), maxlen=0)


_release = type(threading.Lock()).release
next_tick = itertools.count().__next__  # orders events in time


def helpers_working_for(thread: int, since: int = -1) -> list[int]:
    """Return the helpers in loops that `thread` began after `since`: what it began earlier cannot end before them."""
    return [helper for helper, (caller, when) in list(_callers.items()) if caller == thread and when > since]


def caller_of(helper: int) -> tuple[int, int] | None:
    """Return the thread that a helper works for now, and when that began its loop; None for any other thread."""
    return _callers.get(helper)


def describe_thread(ident: int) -> str:
    """Return a thread's name, and where it is."""
    name = next((thread.name for thread in threading.enumerate() if thread.ident == ident), str(ident))
    frame = sys._current_frames().get(ident)
    place = "" if frame is None else f" (now at {frame.f_code.co_filename}:{frame.f_lineno})"
    return f"thread {name!r}{place}"


_callers: dict[int, tuple[int, int]] = {}  # helper -> (the thread it works for, when that began its loop)
_running: set[_ParallelRun[Any]] = set()  # the calls of run_on_threads that have not ended


class _ParallelRun(Generic[T]):
    """One call of ``run_on_threads``: its items, its failures, and the number of helpers at work."""

    def __init__(self, work: Callable[[T], None], items: Iterable[T]) -> None:
        self._work, self._items, self._caller = work, enumerate(items), (threading.get_ident(), next_tick())
        self._next = threading.Lock()  # guards _items: a generator runs in one thread at a time
        self._changed = threading.Condition()  # guards _helping, and _stopped while a helper starts
        self._stopped, self._helping, self._warned = False, 0, False
        self.failures: list[tuple[float, BaseException]] = []

    def work(self) -> None:
        """Work on one item after the other until none is left or one has failed."""
        while True:
            index: float = math.inf  # a failure of the iterator sorts after all items
            try:
                with self._next:
                    if self._stopped:
                        return
                    index, item = next(self._items)
                self._work(item)
            except StopIteration as exc:
                if index == math.inf:
                    return
                self._fail(index, exc)
            except BaseException as exc:
                self._fail(index, exc)

    def _fail(self, index: float, exc: BaseException) -> None:
        self._stopped = True
        self.failures.append((index, exc))

    def help(self) -> None:
        """Work as a helper; do nothing if the loop has stopped before."""
        with self._changed:
            if self._stopped:
                return
            self._helping += 1
        _callers[threading.get_ident()] = self._caller
        try:
            self.work()
        finally:
            _callers.pop(threading.get_ident(), None)
            with self._changed:
                self._helping -= 1
                self._changed.notify_all()

    def finish(self) -> None:
        """Let no further helper start, and wait for the others; a first interrupt is raised after that."""
        self._stopped = True
        try:
            self._wait()
        except BaseException:
            self._wait()  # a read that hangs must not block a user who interrupts twice
            raise
        del self._work, self._items  # a helper that comes too late still refers to this object

    def after_fork_in_child(self) -> None:
        """Drop the helpers, which a forked child does not have, and the locks that they may have held."""
        self._next, self._changed, self._helping = threading.Lock(), threading.Condition(), 0

    def _wait(self) -> None:
        with self._changed:
            if self._changed.wait_for(lambda: not self._helping, LONG_WAIT_S):
                return
        self._warn()
        with self._changed:
            self._changed.wait_for(lambda: not self._helping)

    def _warn(self) -> None:
        """Say whom the loop waits for: whether in vain cannot be seen, as a lock tells nobody who waits for it."""
        helpers = [helper for helper, caller in list(_callers.items()) if caller == self._caller]
        if helpers and not self._warned:
            self._warned = True
            warn_caller(
                f"waited {LONG_WAIT_S:.0f} s for {' and '.join(map(describe_thread, helpers))}, to finish "
                "the last items. They may just take long. But if the caller holds a lock that they need (its own, a "
                "library's, an import's), they wait for it forever: make the call without that lock, or with threads=1"
            )


class _Pool:
    """Daemon threads that wait for tasks."""

    def __init__(self) -> None:
        # Guards _asked and _threads; re-entrant, for a signal handler that runs a loop of its own.
        self._lock = threading.RLock()
        self._asked = self._threads = 0
        self._tasks: SimpleQueue[Callable[[], None]] = SimpleQueue()

    @contextmanager
    def running(self, task: Callable[[], None], helpers: int) -> Iterator[None]:
        """Have so many helpers run `task` during the block, or fewer if no more threads can be started."""
        with self._lock:
            self._asked += helpers
            wanted = min(self._asked, _MAX_HELPERS)
        try:
            threads = self._start(wanted)
            for _ in range(min(helpers, threads)):
                self._tasks.put(task)
            yield
        finally:
            with self._lock:
                self._asked -= helpers

    def _start(self, wanted: int) -> int:
        """Start threads until there are `wanted`; return how many there are."""
        with self._lock:
            while self._threads < wanted:
                name = f"bytecache helper {self._threads}"
                try:
                    threading.Thread(target=self._serve, name=name, daemon=True).start()
                except RuntimeError:  # too many threads, or the interpreter is exiting: the caller does the work
                    break
                self._threads += 1
            return self._threads

    def _serve(self) -> None:
        while True:
            self._tasks.get()()


_pool = _Pool()


def _reset_after_fork() -> None:
    # A forked child has none of its parent's threads, and one of them may have held the pool's lock.
    global _pool
    _pool = _Pool()
    _callers.clear()
    for run in _running:
        run.after_fork_in_child()


at_fork("threads", after_in_child=_reset_after_fork)
