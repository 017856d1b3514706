"""bytecache.torch.ImageDataset without a cache, and with each kind of cache."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from torch.utils.data import DataLoader

import bytecache
from bytecache.torch import EpochSampler, ImageDataset, collate

from . import Epochs, Job
from .image_files import decode, read


def epochs(job: Job, load: Callable[[str], Any], workers: int = 0) -> Epochs:
    """Load batches through `load`; decoding uses all processors even without workers."""
    data = ImageDataset(job.paths, np.arange(job.count), load=load, size=(job.side, job.side))
    sampler = EpochSampler(data, seed=job.seed)
    batches: Any = DataLoader(
        data,
        batch_size=job.batch,
        sampler=sampler,
        num_workers=workers,
        persistent_workers=workers > 0,
        collate_fn=collate,
    )

    def run(epoch: int) -> Any:
        sampler.set_epoch(epoch)
        return batches

    return run


def no_cache(job: Job) -> Epochs:
    """Cache nothing, but read the files of a batch on threads."""
    return epochs(job, bytecache.fill_once(maxsize=0)(read))


def private(job: Job) -> Epochs:
    """Cache the original files in the memory of one process."""
    return epochs(job, bytecache.fill_once(maxbytes=job.maxbytes)(read))


def shared(job: Job) -> Epochs:
    """Cache the original files in /dev/shm, for all workers."""
    return epochs(job, bytecache.fill_once(shared=True, maxbytes=job.maxbytes)(read), job.workers)


def on_disk(job: Job) -> Epochs:
    """Cache the original files, which are remote, on the local disk."""
    store = bytecache.SharedStore(f"{job.scratch}/store", maxbytes="100 GB")
    return epochs(job, bytecache.fill_once(store=store)(read))


def shrunk(job: Job) -> Epochs:
    """Cache files that are re-encoded when first read, at the resolution that the network needs."""

    @bytecache.fill_once(maxbytes=job.maxbytes)
    def read_shrunk(path: str) -> bytes:
        return bytecache.shrink_jpeg(read(path), max_side=round(job.side * 4 / 3))

    return epochs(job, read_shrunk)


def decoded(job: Job) -> Epochs:
    """Cache decoded pixels, if memory allows: nothing is decoded twice."""

    @bytecache.fill_once(maxbytes=job.maxbytes)
    def read_decoded(path: str) -> Any:
        return decode(read(path), job.side)

    return epochs(job, read_decoded)
