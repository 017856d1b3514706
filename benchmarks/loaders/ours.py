"""bytecache.torch.ImageDataset without a cache, and with each kind of cache."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import numpy as np
from torch.utils.data import DataLoader

import bytecache
from bytecache.torch import EpochSampler, ImageDataset, collate

from . import Epochs, Job
from .image_files import cached, decode_faster, read, read_all


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
    """Cache nothing, but read the files of a batch concurrently."""
    return epochs(job, cached(job, maxsize=0))


def private(job: Job) -> Epochs:
    """Cache the original files in the memory of one process."""
    return epochs(job, cached(job, maxbytes=job.maxbytes))


def by_fsspec(job: Job) -> Epochs:
    """Do the same with fsspec in place of HttpReader: a function of one path, on threads."""
    return epochs(job, bytecache.fill_once(maxbytes=job.maxbytes)(read))


def shared(job: Job) -> Epochs:
    """Cache the original files in /dev/shm, for all workers."""
    return epochs(job, cached(job, shared=True, maxbytes=job.maxbytes), job.workers)


def on_disk(job: Job) -> Epochs:
    """Cache the original files, which are remote, on the local disk."""
    return epochs(job, cached(job, store=bytecache.SharedStore(f"{job.scratch}/store", maxbytes="100 GB")))


def shrunk(job: Job) -> Epochs:
    """Cache files that are re-encoded when first read, at the resolution that the network needs."""

    def shrink(data: bytes) -> bytes:
        return bytecache.shrink_jpeg(data, max_side=round(job.side * 4 / 3))

    return epochs(job, cached_results(job, shrink, maxbytes=job.maxbytes))


def decoded(job: Job) -> Epochs:
    """Cache decoded pixels, as many as fit: these are not decoded twice."""
    return epochs(job, cached_results(job, partial(decode_faster, side=job.side), maxbytes=job.maxbytes))


def shared_decoded(job: Job) -> Epochs:
    """Cache decoded pixels in /dev/shm, for all workers."""
    make = partial(decode_faster, side=job.side)
    return epochs(job, cached_results(job, make, shared=True, maxbytes=job.maxbytes), job.workers)


def cached_results(job: Job, make: Callable[[bytes], Any], **options: Any) -> Callable[[str], Any]:
    """Return a cached function that reads a file and makes something of it: on threads, if there are no workers."""
    if not job.remote:
        return bytecache.fill_once(**options)(lambda path: make(read(path)))
    pool = ThreadPoolExecutor(1 if "shared" in options else job.workers)

    def read_many(paths: list[str]) -> list[Any]:
        return list(pool.map(make, read_all(paths)))

    return bytecache.fill_once(batched=True, **options)(read_many)
