"""An executor for calls that may take long and whose results may not be wanted any more."""

from __future__ import annotations

import atexit
import os
import threading
import time
import weakref
from collections.abc import Callable
from concurrent.futures import Executor, Future
from functools import partial
from queue import Empty, SimpleQueue
from typing import Any, TypeAlias

from ...system.collection import no_collection

_EXIT_WAIT_S = 2.0  # for running calls: one that ends does so in order, one that hangs does not hang the exit
_Tasks: TypeAlias = "SimpleQueue[tuple[Future[Any], Callable[[], Any]] | None]"


class DaemonExecutor(Executor):
    """An executor of daemon threads, which start when they are needed and end when it is gone or shut down.

    Those of ``concurrent.futures`` run all that is queued before the interpreter exits, however long it takes. Here an
    exit cancels what has not started, and waits a moment for what has. Raises RuntimeError on ``submit`` if no thread
    can be started, or after ``shutdown``. For the process that made it; safe for threads.
    """

    def __init__(self, max_threads: int, name: str) -> None:
        self._max_threads, self._name = max_threads, name
        self._lock = threading.Lock()  # guards the lists
        self._futures: list[Future[Any]] = []  # those that have not ended, and some that have
        self._threads: list[threading.Thread] = []
        self._tasks: _Tasks = SimpleQueue()
        self._pid = os.getpid()
        self._end = weakref.finalize(self, _end, self._tasks, self._threads, self._pid)
        self._end.atexit = False  # _end_all does that
        _executors.add(self)

    def submit(self, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Return the future of ``function(*args, **kwargs)``; calls start in the order in which they are submitted."""
        future: Future[Any] = Future()
        with no_collection, self._lock:
            if not self._end.alive:
                raise RuntimeError("the executor is shut down, or the interpreter exits: it takes no more calls")
            self._futures = [each for each in self._futures if not each.done()]
            self._futures.append(future)
            if len(self._threads) < min(self._max_threads, len(self._futures)):
                self._start_locked()
            self._tasks.put((future, partial(function, *args, **kwargs)))
        return future

    def _start_locked(self) -> None:
        name = f"{self._name}-{len(self._threads)}"
        thread = threading.Thread(target=_serve, args=(self._tasks,), name=name, daemon=True)
        try:
            thread.start()
        except RuntimeError:
            if not self._threads:
                raise
        else:
            self._threads.append(thread)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Let the threads end: after all calls, or after the running ones if what is queued is to be cancelled."""
        if self._pid != os.getpid():  # a forked child has none of the threads, and one may have held the lock
            return
        with no_collection, self._lock:
            if self._end.detach() is not None:
                _end(self._tasks, self._threads, self._pid, cancel_futures)
        if wait:
            for thread in self._threads:
                thread.join()


def _end(tasks: _Tasks, threads: list[threading.Thread], pid: int, cancel: bool = True) -> None:
    if os.getpid() != pid:  # a future's lock, too, may have been held
        return
    while cancel:
        try:
            task = tasks.get_nowait()
        except Empty:
            break
        if task is not None:
            task[0].cancel()
    for _ in threads:
        tasks.put(None)


def _serve(tasks: _Tasks) -> None:
    while True:
        task = tasks.get()
        if task is None:
            return
        _run(*task)
        del task  # not kept alive until the next one comes


def _run(future: Future[Any], call: Callable[[], Any]) -> None:
    if not future.set_running_or_notify_cancel():
        return
    try:
        future.set_result(call())
    except BaseException as exc:
        future.set_exception(exc)
    finally:
        del future, call  # an exception's traceback refers to this frame


_executors: weakref.WeakSet[DaemonExecutor] = weakref.WeakSet()


def _end_all() -> None:
    """Cancel what is queued in all executors, and wait for the running calls, but not for long."""
    executors, deadline = list(_executors), time.monotonic() + _EXIT_WAIT_S
    for executor in executors:
        executor.shutdown(wait=False, cancel_futures=True)
    for thread in [thread for executor in executors for thread in executor._threads]:
        thread.join(max(0, deadline - time.monotonic()))


atexit.register(_end_all)
