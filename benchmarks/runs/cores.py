"""Decoding on threads and loaders with workers, in a process that is confined to a number of cores."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from time import perf_counter

import numpy as np

import bytecache
from benchmarks.loaders import TORCH, Job, Loader
from benchmarks.peers.batch_decoding import bare_threads
from benchmarks.workloads.images import make_jpeg_files, make_jpegs

BATCH, SIDE = 96, 256
BOUND = "simplejpeg on bare threads"
LOADERS = {
    "bytecache ImageDataset, threads": Loader("ours:private", TORCH),
    "bytecache ImageDataset, workers": Loader("ours:shared", TORCH),
    "DataLoader, simplejpeg, workers": Loader("plain:simplejpeg", TORCH),
    "DataLoader, Pillow, workers": Loader("plain:pillow", TORCH),
}


def worker(cores: int, job: Job) -> Callable[[str], float]:
    """Confine this process to some cores; return a function from a contender's name to its images per second."""
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:cores])  # before it has threads, which would keep theirs
    work = decoding(cores)

    def per_s(name: str) -> float:
        if name not in work:
            work[name] = epochs(LOADERS[name], job)
            work[name]()  # the first epoch fills the cache and starts the workers
        start = perf_counter()
        images = work[name]()
        return images / (perf_counter() - start)

    return per_s


def decoding(threads: int) -> dict[str, Callable[[], int]]:
    """Return decode_batch into an array, and the same by threads that share nothing but an iterator."""
    files = make_jpegs(BATCH, SIDE, SIDE)
    out = np.empty((BATCH, SIDE, SIDE, 3), np.uint8)

    def bare() -> int:
        bare_threads(files, out, threads)
        return BATCH

    return {BOUND: bare, "decode_batch": lambda: len(bytecache.decode_batch(files, threads=threads, out=out))}


def epochs(loader: Loader, job: Job) -> Callable[[], int]:
    """Return a function that iterates over the next epoch and returns its number of images."""
    batches_of = loader.load()(job)
    numbers = iter(range(10**9))
    return lambda: sum(len(labels) for _, labels in batches_of(next(numbers)))


def make_job(folder: Path, count: int) -> Job:
    """Write images to a folder; return the job of a loader whose cache can store all of them."""
    paths = make_jpeg_files(folder / "files", count, 375, 500)
    return Job(str(folder), count, 2 * sum(os.path.getsize(path) for path in paths), str(folder))
