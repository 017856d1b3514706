"""What loaders that read the pictures from shards of their own share."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from urllib.request import urlretrieve

from . import Job

SHARD_BYTES = 64 << 20  # about what all of them recommend
BUFFERED_BYTES = 100_000  # taken for a picture in a shuffle buffer, of which the size is not known before it is read


def pictures(files: str, labels: range) -> Iterator[tuple[int, bytes]]:
    """Labels and the bytes of their files, unchanged."""
    for label in labels:
        yield label, Path(f"{files}/{label:06d}.jpg").read_bytes()


def split(files: str, count: int, workers: int = 2) -> list[range]:
    """Labels of each shard: shards of one size, as many for each worker."""
    total = sum(os.path.getsize(f"{files}/{label:06d}.jpg") for label in range(count))
    shards = workers * max(1, round(total / SHARD_BYTES / workers))
    return [range(count * shard // shards, count * (shard + 1) // shards) for shard in range(shards)]


def buffer(job: Job) -> int:
    """Pictures in a worker's shuffle buffer: 1000, which the documentation shows, or a quarter of the memory."""
    return min(1000, job.maxbytes // 4 // job.workers // BUFFERED_BYTES)


def download(url: str, path: str) -> None:
    """To a file that is there only once it is whole, whoever else may be fetching it."""
    partial = f"{path}.{os.getpid()}"
    urlretrieve(url, partial)
    os.replace(partial, path)
