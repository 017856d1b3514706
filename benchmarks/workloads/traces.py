"""Which item is read when: the access patterns of training, seeded, and one recorded from a real DataLoader."""

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
    """Reads in their order.

    keys: the item of each read, 0 to items - 1. epoch: reads per epoch. sizes: of each item in bytes; None: all equal.
    stream: the process that made each read, from 0 on; None: one did. private: each process has a cache of its own,
    with its share of the budget. once: each item is read once per epoch, so that no cache hits more than it holds.
    best: all items, those most worth holding first, as can be said before training; None: one is as good as another.
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
        """How many there are."""
        return len(self.keys) // self.epoch

    @property
    def caches(self) -> int:
        """How many caches there are: one per process where they are private."""
        return int(self.stream.max()) + 1 if self.private and self.stream is not None else 1


def synthetic(items: int, epochs: int, seed: int) -> list[Trace]:
    """The seeded traces."""
    makers = (shuffle, sequential, train_and_validation, workers_shared, workers_private)
    others = (unequal, weighted, two_jobs)
    return [make(items, epochs, np.random.default_rng([seed, at])) for at, make in enumerate(makers + others)]


def shuffle(items: int, epochs: int, rng: np.random.Generator) -> Trace:
    """The order in which nearly everybody trains."""
    keys = np.concatenate([rng.permutation(items) for _ in range(epochs)])
    return Trace("shuffle", "each epoch in a fresh shuffle", keys, items, items)


def sequential(items: int, epochs: int, rng: np.random.Generator) -> Trace:
    """The order of evaluation, and of training without a shuffle."""
    return Trace("sequential", "each epoch in the same order", np.tile(np.arange(items), epochs), items, items)


def train_and_validation(items: int, epochs: int, rng: np.random.Generator) -> Trace:
    """The last tenth of the items is the validation set, read in order after each epoch of training."""
    train = items - int(VALIDATION * items)
    keys = np.concatenate([np.append(rng.permutation(train), np.arange(train, items)) for _ in range(epochs)])
    title = "90 % in a fresh shuffle, then the other 10 % in order, through one cache"
    return Trace("train, validate", title, keys, items, items)


def workers_shared(items: int, epochs: int, rng: np.random.Generator) -> Trace:
    """The batches of fresh shuffles dealt in turn to processes that have one cache."""
    place = np.arange(items * epochs) % items
    stream = place // BATCH % WORKERS
    title = f"batches of {BATCH} from fresh shuffles dealt to {WORKERS} workers, one cache"
    return replace(shuffle(items, epochs, rng), name="workers, one cache", title=title, stream=stream)


def workers_private(items: int, epochs: int, rng: np.random.Generator) -> Trace:
    """The same where each has a cache of its own: what a worker holds, the next epoch deals to another one."""
    title = f"the same, each worker with a cache of its own, which has 1/{WORKERS} of the budget"
    return replace(workers_shared(items, epochs, rng), name="workers, a cache each", title=title, private=True)


def unequal(items: int, epochs: int, rng: np.random.Generator) -> Trace:
    """Files differ in size; the budget is in bytes."""
    sizes = np.maximum(1, rng.lognormal(np.log(MEDIAN_BYTES), SIGMA, items)).astype(np.int64)
    title = f"fresh shuffles of log-normal sizes (sigma {SIGMA}), a budget in bytes"
    return replace(shuffle(items, epochs, rng), name="unequal sizes", title=title, sizes=sizes, best=np.argsort(sizes))


def weighted(items: int, epochs: int, rng: np.random.Generator) -> Trace:
    """What WeightedRandomSampler makes of imbalanced classes: each class is drawn as often as any other.

    The classes' sizes fall as 1 / rank, so an item of a rare class is read many times per epoch.
    """
    share = 1 / np.arange(1, CLASSES + 1)
    of_class = rng.choice(CLASSES, items, p=share / share.sum())
    weight = 1 / np.bincount(of_class, minlength=CLASSES)[of_class]
    keys = rng.choice(items, items * epochs, p=weight / weight.sum())
    title = f"drawn with replacement, {CLASSES} imbalanced classes weighted to be equally frequent"
    return Trace("weighted", title, keys, items, items, once=False, best=np.argsort(-weight))


def two_jobs(items: int, epochs: int, rng: np.random.Generator) -> Trace:
    """Two trainings on the same data in turns through one cache; the second is half an epoch further on."""
    first = np.concatenate([rng.permutation(items) for _ in range(epochs)])
    second = np.concatenate([rng.permutation(items) for _ in range(epochs + 1)])[items // 2 :][: len(first)]
    keys, stream = np.stack([first, second], axis=1).ravel(), np.tile([0, 1], len(first))
    title = "two jobs with shuffles of their own, half an epoch apart, one cache"
    return Trace("two jobs", title, keys, items, 2 * items, stream=stream, once=False)


class _Recording:
    """A data set that notes who reads what in a file that all processes append to."""

    def __init__(self, items: int, path: str) -> None:
        self._items, self._path = items, path
        self._log: int | None = None

    def __len__(self) -> int:
        return self._items

    def __getitem__(self, item: int) -> int:
        from torch.utils.data import get_worker_info

        if self._log is None:  # opened by the worker that writes
            self._log = os.open(self._path, os.O_WRONLY | os.O_APPEND)
        worker: Any = get_worker_info()
        os.write(self._log, RECORD.pack(item, worker.id))  # one write of a few bytes lands whole
        return item


def recorded(items: int, epochs: int, seed: int) -> Iterator[Trace]:
    """One trace, of a torch DataLoader with two worker processes; none where torch is not installed.

    The shuffles are seeded; how the two workers' reads fall between each other is for the machine to say.
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
