"""MONAI's CacheDataset, which holds what transforms gave."""

from __future__ import annotations

from typing import Any

from monai.data import CacheDataset
from monai.transforms import Compose, Transform

from . import Epochs, Job
from .image_files import Files
from .plain import loader

READERS = 16  # threads that fill the cache: decoding leaves the interpreter alone, and reading may wait


class Decode(Transform):
    """The index of a file becomes `(image, label)`; a Transform without chance, so that it is cached."""

    def __init__(self, files: Files) -> None:
        self._files = files

    def __call__(self, index: int) -> Any:
        return self._files[index]


def decoded(job: Job) -> Epochs:
    """As many decoded pictures as fit, read before the first epoch; workers find them in their memory after a fork."""
    transform = Compose([Decode(Files(job.paths, job.side))])
    room = job.maxbytes // (3 * job.side * job.side)
    options = {"cache_num": room, "num_workers": READERS, "progress": False, "copy_cache": False}
    batches = loader(CacheDataset(range(job.count), transform, **options), job)
    return lambda epoch: batches
