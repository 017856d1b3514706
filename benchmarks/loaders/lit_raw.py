"""LitData's StreamingRawDataset: individual files, many at a time on an event loop."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from litdata import StreamingRawDataset
from litdata.raw.indexer import BaseIndexer, FileMetadata
from litdata.streaming.downloader import Downloader, register_downloader
from litdata.streaming.resolver import Dir
from torch.utils.data import Dataset

from . import Epochs, Job
from .image_files import decoder
from .plain import loader
from .shards import BUFFERED_BYTES


class FromServer(Downloader):
    """A downloader for plain HTTP by obstore, which is what LitData's own ones for cloud storage use."""

    _store: Any = None

    async def adownload_fileobj(self, remote_filepath: str) -> bytes:
        import obstore
        from obstore.store import HTTPStore

        if self._store is None:  # in a worker: what obstore has started does not survive a fork
            self._store = HTTPStore.from_url(self._remote_dir, client_options={"allow_http": True})
        found = await obstore.get_async(self._store, remote_filepath.removeprefix(f"{self._remote_dir}/"))
        return bytes(await found.bytes_async())


register_downloader("http://", FromServer)


class Known(BaseIndexer):
    """The list of files, for storage that cannot be listed and so that nothing is written next to them."""

    def __init__(self, job: Job) -> None:
        self._job = job

    def discover_files(self, input_dir: str, storage_options: dict[str, Any] | None) -> list[FileMetadata]:
        return [FileMetadata(path, BUFFERED_BYTES) for path in self._job.paths]

    def build_or_load_index(self, input_dir: str, *arguments: Any) -> list[FileMetadata]:
        return self.discover_files(input_dir, None)


class Labelled(Dataset[Any]):
    """The images with their labels, which a StreamingRawDataset has not."""

    def __init__(self, images: StreamingRawDataset) -> None:
        self._images = images

    def __len__(self) -> int:
        return len(self._images)

    def __getitems__(self, indices: Sequence[int]) -> list[Any]:
        return list(zip(self._images.__getitems__(list(indices)), indices, strict=True))


def epochs(job: Job, **options: Any) -> Epochs:
    """Read and decode the files of a batch concurrently, in each worker."""
    where = f"{job.root}/files"
    cache = f"{job.scratch}/litdata"
    os.mkdir(cache)
    images = StreamingRawDataset(
        Dir(path=None if job.remote else where, url=where if job.remote else None),  # type: ignore[arg-type]
        cache_dir=cache,
        indexer=Known(job),
        transform=decoder(job),
        **options,
    )
    batches = loader(Labelled(images), job)
    return lambda epoch: batches


def files(job: Job) -> Epochs:
    """Use no cache but the page cache."""
    return epochs(job)


def cached(job: Job) -> Epochs:
    """Keep all files on the local disk."""
    return epochs(job, cache_files=True)
