"""Batches made ahead of their use, on threads or in processes of their own."""

from __future__ import annotations

import copy
import multiprocessing
import signal
import threading
from collections.abc import Callable
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from typing import Any

from .batching import Batch, BatchMaker


class Ahead:
    """Gives a maker's batches, and has the next `depth` of the same epoch made by workers meanwhile.

    The workers are started on first use and stay for all epochs: threads, or processes started by the method that
    ``multiprocessing`` is set to. Safe for threads.
    """

    def __init__(self, maker: BatchMaker, workers: int, processes: bool, depth: int) -> None:
        self._maker, self._workers, self._processes = maker, workers, processes
        self._depth = max(depth, workers)
        self._lock = threading.Lock()  # guards _executor and _futures
        self._executor: Executor | None = None
        self._futures: dict[tuple[int, int], Future[Batch]] = {}

    def get(self, epoch: int, position: int) -> Batch:
        """Batch `position` of `epoch`."""
        with self._lock:
            make = self._start_locked()
            last = min(position + self._depth, len(self._maker) - 1)
            wanted = [(epoch, p) for p in range(position, last + 1)]
            for key in [key for key in self._futures if key not in wanted]:
                self._futures.pop(key).cancel()
            for key in wanted:
                if key not in self._futures:
                    self._futures[key] = make(*key)
            future = self._futures.pop((epoch, position))
        return future.result()

    def _start_locked(self) -> Callable[[int, int], Future[Batch]]:
        if self._processes:
            if self._executor is None:
                context = multiprocessing.get_context()
                self._executor = ProcessPoolExecutor(self._workers, context, _adopt, (self._maker,))
            return lambda epoch, position: self._executor.submit(_make, epoch, position)  # type: ignore[union-attr]
        if self._executor is None:
            self._executor = ThreadPoolExecutor(self._workers, thread_name_prefix="bytecache-batch")
        return lambda epoch, position: self._executor.submit(self._maker.make, epoch, position)  # type: ignore[union-attr]

    def close(self, wait: bool = False) -> None:
        """Ends the workers once they have made what they are at; a later ``get`` starts others."""
        with self._lock:
            executor, self._executor = self._executor, None
            self._futures.clear()
        if executor is not None:
            executor.shutdown(wait=wait, cancel_futures=True)


_adopted: Any = None  # in a worker process: the maker whose batches it makes


def _adopt(maker: BatchMaker) -> None:
    global _adopted
    _adopted = copy.copy(maker)  # with locks of its own: after fork, a thread that is not here may hold the maker's
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which ends its workers


def _make(epoch: int, position: int) -> Batch:
    batch: Batch = _adopted.make(epoch, position)
    return batch
