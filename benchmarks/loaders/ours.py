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
from .image_files import cached, decode_faster, read, read_all, reading


def epochs(job: Job, load: Callable[..., Any], workers: int = 0, **caching: Any) -> Epochs:
    """Load batches through `load`; decoding uses all processors even without workers. caching: options of the set."""
    data = ImageDataset(job.paths, np.arange(job.count), load=load, size=(job.side, job.side), **caching)
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
    load = cached_results(job, partial(decode_faster, side=job.side), maxbytes=job.maxbytes)
    return epochs(job, load)


def shared_decoded(job: Job) -> Epochs:
    """Cache decoded pixels in /dev/shm, for all workers."""
    load = cached_results(job, partial(decode_faster, side=job.side), shared=True, maxbytes=job.maxbytes)
    return epochs(job, load, job.workers)


def automatic(job: Job) -> Epochs:
    """Let the data set keep files or pixels, in the memory of one process."""
    return epochs(job, **reading(job), maxbytes=job.maxbytes, shared=False)


def automatic_shared(job: Job) -> Epochs:
    """Do the same in /dev/shm, for all workers."""
    return epochs(job, **reading(job), workers=job.workers, maxbytes=job.maxbytes)


def cached_results(job: Job, make: Callable[[bytes], Any], **options: Any) -> Callable[[str], Any]:
    """Return a cached function of what is made of a file; of a batch's, on a thread per processor of the process."""
    pool = ThreadPoolExecutor(1 if "shared" in options else job.workers)

    def make_all(paths: list[str]) -> list[Any]:
        if job.remote:
            return list(pool.map(make, read_all(paths)))
        return list(pool.map(lambda path: make(read(path)), paths))

    return bytecache.fill_once(batched=True, **options)(make_all)
