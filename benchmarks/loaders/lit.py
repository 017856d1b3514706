"""LitData: chunks in its own format, memory-mapped; remote ones are downloaded to the local disk."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import Any

from filelock import FileLock, Timeout
from litdata import StreamingDataLoader, StreamingDataset
from litdata.streaming import Cache
from litdata.streaming.downloader import Downloader, register_downloader
from litdata.streaming.resolver import Dir

from . import Epochs, Job
from .image_files import decoder
from .shards import SHARD_BYTES, download, read_files


class FromServer(Downloader):
    """A downloader for plain HTTP, like LitData's own ones for cloud storage."""

    def download_file(self, remote_filepath: str, local_filepath: str) -> None:
        with suppress(Timeout), FileLock(f"{local_filepath}.lock", timeout=0):
            if not os.path.exists(local_filepath):
                download(remote_filepath, local_filepath)


register_downloader("http://", FromServer)


def convert(files: str, folder: str, count: int) -> None:
    """Write chunks as `litdata.optimize` does, but without starting processes."""
    cache = Cache(folder, chunk_bytes=SHARD_BYTES)
    for label, data in read_files(files, range(count)):
        cache[label] = (data, label)
    cache.done()
    cache.merge()


def chunks(job: Job) -> Epochs:
    """Shuffle the chunks and the images within each chunk every epoch."""
    decode = decoder(job)

    def transform(sample: Any) -> Any:
        return decode(sample[0]), sample[1]

    where: Any = f"{job.root}/litdata"
    if job.remote:
        where = Dir(path=f"{job.scratch}/litdata", url=where)
        os.mkdir(where.path)
    data = StreamingDataset(where, shuffle=True, drop_last=False, seed=job.seed, transform=transform)
    batches = StreamingDataLoader(data, batch_size=job.batch, num_workers=job.workers, persistent_workers=True)
    return lambda epoch: batches
