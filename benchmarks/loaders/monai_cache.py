"""MONAI's CacheDataset, which caches the results of transforms."""

from __future__ import annotations

from typing import Any

from monai.data import CacheDataset
from monai.transforms import Compose, Transform

from . import Epochs, Job
from .image_files import Files
from .plain import loader

READERS = 16  # threads that fill the cache: decoding releases the GIL, and reading waits


class Decode(Transform):
    """A transform from an index to `(image, label)`; it is deterministic, so its results are cached."""

    def __init__(self, files: Files) -> None:
        self._files = files

    def __call__(self, index: int) -> Any:
        return self._files[index]


def decoded(job: Job) -> Epochs:
    """Cache as many decoded images as fit before the first epoch; forked workers inherit them."""
    transform = Compose([Decode(Files(job))])
    capacity = job.maxbytes // (3 * job.side * job.side)
    options = {"cache_num": capacity, "num_workers": READERS, "progress": False, "copy_cache": False}
    batches = loader(CacheDataset(range(job.count), transform, **options), job)
    return lambda epoch: batches
