"""Batches prefetched by worker threads or worker processes, and the first ones, kept for a second request."""

from __future__ import annotations

import copy
import gc
import multiprocessing
import os
import random
import signal
import sys
import threading
from collections.abc import Callable
from concurrent.futures import BrokenExecutor, Executor, Future, ProcessPoolExecutor
from typing import Any

import numpy as np

from ...system.collection import no_collection
from ..batches import Batch, BatchLoader
from ..targets import copied
from .daemon_executor import DaemonExecutor
from .read_ahead import ReadAhead

_REQUESTED_TWICE = 2  # batches that Keras takes to find out shapes and dtypes


class Prefetcher:
    """A source of a loader's batches whose workers meanwhile load the next `depth` of the same epoch.

    Batches are prefetched as long as they are requested in order; one requested out of order is loaded alone. Of W
    workers each makes every W-th batch, so that it knows its next ones, and reads them ahead: see ReadAhead. The
    workers start on first use and stay for all epochs: threads, or processes started by the method that
    ``multiprocessing`` is set to. Safe for threads; a forked child starts workers of its own.
    """

    def __init__(
        self, loader: BatchLoader, workers: int, processes: bool, depth: int, read_ahead: int | None = 0
    ) -> None:
        self._loader, self._workers, self._processes = loader, workers, processes
        self._depth, self._read_ahead = max(depth, workers), read_ahead
        self._reset()

    def _reset(self) -> None:
        self._pid = os.getpid()
        self._lock = threading.Lock()  # guards what follows
        self._executors: list[Executor] = []  # one for each worker
        self._loads: list[Callable[..., Batch]] = []  # what each of them calls
        self._futures: dict[tuple[int, int], Future[Batch]] = {}
        self._next: tuple[int, int] | None = None  # the next request, if they come in order

    def get(self, epoch: int, position: int) -> Batch:
        """Return the batch at `position` of `epoch`; raise BrokenExecutor if a worker process was killed."""
        if self._pid != os.getpid():
            self._reset()
        if not self._loader.shape_known:
            self._next = self._successor(epoch, position)
            return self._loader.load(epoch, position)  # here, so that all workers start with the same shape
        executors: list[Executor] = []
        future = None
        try:
            with no_collection, self._lock:
                executors = self._start_locked()
                future = self._submit_locked(epoch, position)
            return future.result()
        except BrokenExecutor:
            self._close(executors)  # the next call starts new workers
            raise
        finally:
            del future  # its exception's traceback refers to this frame

    def _successor(self, epoch: int, position: int) -> tuple[int, int]:
        return (epoch, position + 1) if position + 1 < len(self._loader) else (epoch + 1, 0)

    def _start_locked(self) -> list[Executor]:
        arguments = self._loader, self._workers, self._read_ahead
        for _ in range(self._workers - len(self._executors)):
            if self._processes:
                context = multiprocessing.get_context()
                self._executors.append(ProcessPoolExecutor(1, context, _init_worker, arguments))
                self._loads.append(_load_in_worker)
            else:
                self._executors.append(DaemonExecutor(1, "bytecache-batch"))
                self._loads.append(_Worker(*arguments).load)
        return self._executors

    def _submit_locked(self, epoch: int, position: int) -> Future[Batch]:
        last = len(self._loader) - 1
        in_order = self._next in (None, (epoch, position))
        self._next = self._successor(epoch, position)
        wanted = [(epoch, p) for p in range(position, min(position + self._depth * in_order, last) + 1)]
        for key in [key for key in self._futures if key not in wanted]:
            self._futures.pop(key).cancel()
        for key in wanted:
            if key not in self._futures:
                worker = key[1] % self._workers
                self._futures[key] = self._executors[worker].submit(self._loads[worker], *key, in_order)
        return self._futures.pop((epoch, position))

    def close(self) -> None:
        """Stop the workers as soon as they finish their current batches; a later ``get`` starts new ones."""
        if self._pid == os.getpid():
            self._close(self._executors)

    def _close(self, executors: list[Executor]) -> None:
        with no_collection, self._lock:
            if self._executors is not executors:  # another thread closed them, and started new ones
                return
            self._executors, self._loads = [], []
            for future in self._futures.values():  # a future that a thread waits for is not among them any more
                future.cancel()
            self._futures.clear()
        for executor in executors:
            executor.shutdown(wait=False)


class _Worker:
    """A loader of every `workers`-th batch, for one thread or process; it knows which ones it will be asked for."""

    def __init__(self, loader: BatchLoader, workers: int, read_ahead: int | None) -> None:
        self.loader, self._workers = loader, workers
        self._reads = ReadAhead(loader.read, read_ahead, workers, loader.function)

    def load(self, epoch: int, position: int, in_order: bool) -> Batch:
        """Return the batch. in_order: whether the next ones follow in the order of their positions."""
        after = range(position + self._workers, len(self.loader) if in_order else 0, self._workers)
        loaded = self._reads.take((epoch, position), ((epoch, later) for later in after))
        return self.loader.make(epoch, position, loaded)


class FirstBatches:
    """A keeper of the first batches of a pass, should it start over.

    Keras requests one or two to find out shapes and dtypes, and then starts the pass. Made again, they would count as
    hits in the first epoch, and their files be read twice if the cache is full. Safe for threads.
    """

    def __init__(self) -> None:
        self._kept: dict[tuple[int, int], Batch] = {}

    def keep(self, epoch: int, position: int, batch: Batch) -> None:
        """Keep a copy of the batch if it is one of the first; none is kept any more once a later one comes."""
        if position == 0 or position >= _REQUESTED_TWICE:
            self._kept = {}
        if position < _REQUESTED_TWICE:
            self._kept[epoch, position] = batch._replace(
                images=copied(batch.images), targets=copied(batch.targets), weights=copied(batch.weights)
            )

    def take(self, epoch: int, position: int) -> Batch | None:
        """Return the batch if it is kept, and keep it no more."""
        return self._kept.pop((epoch, position), None)


_worker: Any = None  # in a worker process: what makes its batches


def _init_worker(loader: BatchLoader, workers: int, read_ahead: int | None) -> None:
    global _worker
    # With locks of its own: after fork, those of the loader may be held by a thread that does not exist here.
    _worker = _Worker(copy.copy(loader), workers, read_ahead)
    gc.freeze()  # a collection would write to all objects that a forked worker shares, and so copy them
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which stops its workers


def _load_in_worker(epoch: int, position: int, in_order: bool) -> Batch:
    _seed_generators(_worker.loader.seed, epoch, position)
    batch: Batch = _worker.load(epoch, position, in_order)
    return batch


def _seed_generators(*entropy: int) -> None:
    """Seed the generators that a transform may draw from: forked workers would all draw the same."""
    seeds = np.random.SeedSequence(entropy).generate_state(4)
    random.seed(seeds.tobytes())
    np.random.seed(seeds)
    if "torch" in sys.modules:
        sys.modules["torch"].default_generator.manual_seed(int(seeds[0]))
