"""Helpers for loaders that read the images from shards in their own format."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from urllib.request import urlretrieve

from . import Job

SHARD_BYTES = 64 << 20  # close to what all of them recommend
BUFFERED_BYTES = 100_000  # the assumed size of a file in a shuffle buffer, which is not known before it is read


def read_files(files: str, labels: range) -> Iterator[tuple[int, bytes]]:
    """Yield labels and the bytes of their files."""
    for label in labels:
        yield label, Path(f"{files}/{label:06d}.jpg").read_bytes()


def split(files: str, count: int, workers: int = 2) -> list[range]:
    """Return the labels of each shard: shards of equal size, the same number for each worker."""
    total = sum(os.path.getsize(f"{files}/{label:06d}.jpg") for label in range(count))
    shards = workers * max(1, round(total / SHARD_BYTES / workers))
    return [range(count * shard // shards, count * (shard + 1) // shards) for shard in range(shards)]


def buffer(job: Job) -> int:
    """Return the images in a worker's shuffle buffer: 1000 as in the documentation, at most a quarter of the budget."""
    return min(1000, job.maxbytes // 4 // job.workers // BUFFERED_BYTES)


def download(url: str, path: str) -> None:
    """Download to a file that appears only when complete, even if other processes download it too."""
    partial = f"{path}.{os.getpid()}"
    urlretrieve(url, partial)
    os.replace(partial, path)
