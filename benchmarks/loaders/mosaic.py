"""MosaicML Streaming: shards in its MDS format; remote ones are downloaded to the local disk."""

from __future__ import annotations

import atexit
import sys
from typing import Any
from unittest.mock import MagicMock

from torch.utils.data import DataLoader

# Streaming imports these for its ready-made data sets and for its own DataLoader, which only adds resumption; they
# require torchvision and transformers, which are large and not needed here.
for name in ("streaming.multimodal", "streaming.text", "streaming.vision"):
    sys.modules.setdefault(name, MagicMock())
for name in ("transformers.feature_extraction_utils", "transformers.tokenization_utils_base"):
    sys.modules.setdefault(name, MagicMock())
from streaming import MDSWriter, StreamingDataset  # noqa: E402
from streaming.base.storage.download import DOWNLOADER_MAPPINGS, CloudDownloader  # noqa: E402
from streaming.base.util import clean_stale_shared_memory  # noqa: E402

from . import Epochs, Job  # noqa: E402
from .image_files import decoder  # noqa: E402
from .shards import SHARD_BYTES, download, read_files  # noqa: E402


class FromServer(CloudDownloader):
    """A downloader for plain HTTP; Streaming's own ones are for cloud storage."""

    @staticmethod
    def _client_identifier() -> str:
        return "http"

    def _download_file_impl(self, remote: str, local: str, timeout: float) -> None:
        download(remote, local)

    def clean_up(self) -> None:
        """Do nothing: no connection stays open."""


DOWNLOADER_MAPPINGS["http"] = FromServer


def convert(files: str, folder: str, count: int) -> None:
    """Write shards without compression, which cannot shrink JPEG files."""
    with MDSWriter(out=folder, columns={"image": "bytes", "label": "int"}, size_limit=SHARD_BYTES) as writer:
        for label, data in read_files(files, range(count)):
            writer.write({"image": data, "label": label})


class Images(StreamingDataset):
    """A StreamingDataset of decoded images."""

    def __init__(self, job: Job, **options: Any) -> None:
        super().__init__(**options)
        self._decode = decoder(job)

    def __getitem__(self, index: int) -> Any:
        sample = super().__getitem__(index)
        return self._decode(sample["image"]), sample["label"]


def shards(job: Job) -> Epochs:
    """Shuffle the shards, and the images within blocks of many shards, every epoch."""
    clean_stale_shared_memory()
    atexit.register(clean_stale_shared_memory)
    root = f"{job.root}/mds"
    where = {"remote": root, "local": f"{job.scratch}/mds"} if job.remote else {"local": root}
    data = Images(job, **where, shuffle=True, shuffle_seed=job.seed, batch_size=job.batch)
    batches = DataLoader(data, job.batch, num_workers=job.workers, persistent_workers=True)
    return lambda epoch: batches
