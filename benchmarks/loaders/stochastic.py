"""stocaching's SharedCache: decoded images in shared memory, as many as fit, never evicted."""

from __future__ import annotations

import contextlib
import sys
from typing import Any

import torch
from stocaching import SharedCache

from . import Epochs, Job
from .image_files import Files
from .plain import loader


class Cached(torch.utils.data.Dataset[Any]):
    """The data set from its documentation."""

    def __init__(self, job: Job) -> None:
        self._files = Files(job.paths, job.side)
        with contextlib.redirect_stdout(sys.stderr):  # it prints its capacity
            self._cache = SharedCache(job.maxbytes / (1 << 30), job.count, (job.side, job.side, 3), torch.uint8)

    def __len__(self) -> int:
        return len(self._files)

    def __getitem__(self, index: int) -> Any:
        image = self._cache.get_slot(index)
        if image is None:
            image = torch.tensor(self._files[index][0])
            self._cache.set_slot(index, image)
        return image, index


def decoded(job: Job) -> Epochs:
    """Let the worker that first decodes an image store it; all memory is allocated and zeroed at the start."""
    batches = loader(Cached(job), job)
    return lambda epoch: batches
