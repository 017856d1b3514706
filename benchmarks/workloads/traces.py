"""Which item is read when: seeded access patterns of training, and one recorded from a real DataLoader."""

from __future__ import annotations

import importlib.util
import os
import struct
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
BATCH = 32
WORKERS = 4
MEDIAN_BYTES, SIGMA = 8_000, 0.8  # of the log-normal sizes
CLASSES = 100
VALIDATION = 0.1
RECORD = struct.Struct("<II")  # item, worker


@dataclass(frozen=True)
class Trace:
    """A sequence of reads.

    keys: the item of each read, 0 to items - 1. epoch: reads per epoch. sizes: bytes of each item; None: all equal.
    stream: the process that made each read, from 0 on; None: a single one. private: each process has a cache of its
    own, with its share of the budget. once: each item is read once per epoch, so that no cache can have more hits than
    entries. best: all items, the most valuable to cache first, if that is known before training; None: all are equal.
    """

    name: str
    title: str
    keys: Ints
    items: int
    epoch: int
    sizes: Ints | None = None
    stream: Ints | None = None
    private: bool = False
    once: bool = True
    best: Ints | None = None

    @property
    def epochs(self) -> int:
        """The number of epochs."""
        return len(self.keys) // self.epoch

    @property
    def caches(self) -> int:
        """The number of caches: one, or one per process if they are private."""
        return int(self.stream.max()) + 1 if self.private and self.stream is not None else 1


def synthetic(items: int, epochs: int, seed: int) -> list[Trace]:
    """Return the seeded traces."""
    makers = (shuffle, sequential, train_and_validation, workers_shared, workers_private, unequal, weighted, two_jobs)
    return [make(items, epochs, np.random.default_rng([seed, number])) for number, make in enumerate(makers)]


def shuffle(items: int, epochs: int, rng: np.random.Generator) -> Trace:
    """Return the usual order of training: a new shuffle every epoch."""
    keys = np.concatenate([rng.permutation(items) for _ in range(epochs)])
    return Trace("shuffle", "each epoch in a fresh shuffle", keys, items, items)


def sequential(items: int, epochs: int, rng: np.random.Generator) -> Trace:
    """Return the order of evaluation, and of training without a shuffle."""
    return Trace("sequential", "each epoch in the same order", np.tile(np.arange(items), epochs), items, items)


def train_and_validation(items: int, epochs: int, rng: np.random.Generator) -> Trace:
    """Return epochs of training, each followed by validation on the last tenth of the items, in order."""
    train = items - int(VALIDATION * items)
    keys = np.concatenate([np.append(rng.permutation(train), np.arange(train, items)) for _ in range(epochs)])
    title = "90 % in a fresh shuffle, then the other 10 % in order, through one cache"
    return Trace("train, validate", title, keys, items, items)


def workers_shared(items: int, epochs: int, rng: np.random.Generator) -> Trace:
    """Return shuffled epochs whose batches go round-robin to worker processes that share one cache."""
    position = np.arange(items * epochs) % items
    stream = position // BATCH % WORKERS
    title = f"batches of {BATCH} from fresh shuffles dealt to {WORKERS} workers, one cache"
    return replace(shuffle(items, epochs, rng), name="workers, one cache", title=title, stream=stream)


def workers_private(items: int, epochs: int, rng: np.random.Generator) -> Trace:
    """Return the same with a cache per worker: what one has cached, the next epoch mostly gives to another."""
    title = f"the same, each worker with a cache of its own, which has 1/{WORKERS} of the budget"
    return replace(workers_shared(items, epochs, rng), name="workers, a cache each", title=title, private=True)


def unequal(items: int, epochs: int, rng: np.random.Generator) -> Trace:
    """Return shuffled epochs of files that differ in size, for a budget in bytes."""
    sizes = np.maximum(1, rng.lognormal(np.log(MEDIAN_BYTES), SIGMA, items)).astype(np.int64)
    title = f"fresh shuffles of log-normal sizes (sigma {SIGMA}), a budget in bytes"
    return replace(shuffle(items, epochs, rng), name="unequal sizes", title=title, sizes=sizes, best=np.argsort(sizes))


def weighted(items: int, epochs: int, rng: np.random.Generator) -> Trace:
    """Return what WeightedRandomSampler draws from imbalanced classes so that all classes are equally frequent.

    Class sizes fall as 1 / rank, so an item of a rare class is read many times per epoch.
    """
    frequency = 1 / np.arange(1, CLASSES + 1)
    class_of = rng.choice(CLASSES, items, p=frequency / frequency.sum())
    weight = 1 / np.bincount(class_of, minlength=CLASSES)[class_of]
    keys = rng.choice(items, items * epochs, p=weight / weight.sum())
    title = f"drawn with replacement, {CLASSES} imbalanced classes weighted to be equally frequent"
    return Trace("weighted", title, keys, items, items, once=False, best=np.argsort(-weight))


def two_jobs(items: int, epochs: int, rng: np.random.Generator) -> Trace:
    """Return the alternating reads of two jobs on the same data through one cache, half an epoch apart."""
    first = np.concatenate([rng.permutation(items) for _ in range(epochs)])
    second = np.concatenate([rng.permutation(items) for _ in range(epochs + 1)])[items // 2 :][: len(first)]
    keys, stream = np.stack([first, second], axis=1).ravel(), np.tile([0, 1], len(first))
    title = "two jobs with shuffles of their own, half an epoch apart, one cache"
    return Trace("two jobs", title, keys, items, 2 * items, stream=stream, once=False)


class _Recording:
    """A data set that logs each read and its worker to a file that all processes append to."""

    def __init__(self, items: int, path: str) -> None:
        self._items, self._path = items, path
        self._log: int | None = None

    def __len__(self) -> int:
        return self._items

    def __getitem__(self, item: int) -> int:
        from torch.utils.data import get_worker_info

        if self._log is None:  # opened in the worker, never carried across fork
            self._log = os.open(self._path, os.O_WRONLY | os.O_APPEND)
        worker: Any = get_worker_info()
        os.write(self._log, RECORD.pack(item, worker.id))  # an append of a few bytes is atomic
        return item


def recorded(items: int, epochs: int, seed: int) -> Iterator[Trace]:
    """Yield the trace of a torch DataLoader with two worker processes; nothing if torch is not installed.

    The shuffles are seeded; how the reads of the two workers interleave depends on the machine.
    """
    if importlib.util.find_spec("torch") is None:
        return
    import torch
    from torch.utils.data import DataLoader

    with tempfile.NamedTemporaryFile() as log:
        loader: Any = DataLoader(
            _Recording(items, log.name),  # type: ignore[arg-type]
            batch_size=BATCH,
            shuffle=True,
            num_workers=2,
            persistent_workers=True,
            collate_fn=len,
            generator=torch.Generator().manual_seed(seed),
        )
        for _ in range(epochs):
            for _ in loader:
                pass
        records = np.fromfile(log.name, dtype="<u4").reshape(-1, 2).astype(np.int64)
    title = "a torch DataLoader, shuffle=True, 2 workers, as they read, one cache"
    yield Trace("recorded", title, records[:, 0], items, items, stream=records[:, 1])
