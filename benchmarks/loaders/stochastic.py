"""stocaching's SharedCache: decoded images in shared memory, as many as fit, never evicted."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Sequence
from typing import Any

import torch
from stocaching import SharedCache

from . import Epochs, Job
from .image_files import Files
from .plain import loader


class Cached(torch.utils.data.Dataset[Any]):
    """The data set from its documentation, which reads what a batch lacks in one call."""

    def __init__(self, job: Job) -> None:
        self._files = Files(job)
        with contextlib.redirect_stdout(sys.stderr):  # it prints its capacity
            self._cache = SharedCache(job.maxbytes / (1 << 30), job.count, (job.side, job.side, 3), torch.uint8)

    def __len__(self) -> int:
        return len(self._files)

    def __getitem__(self, index: int) -> Any:
        return self.__getitems__([index])[0]

    def __getitems__(self, indices: Sequence[int]) -> list[Any]:
        images = {index: self._cache.get_slot(index) for index in indices}
        for image, index in self._files.__getitems__([index for index in indices if images[index] is None]):
            images[index] = torch.tensor(image)
            self._cache.set_slot(index, images[index])
        return [(images[index], index) for index in indices]


def decoded(job: Job) -> Epochs:
    """Let the worker that first decodes an image store it; all memory is allocated and zeroed at the start."""
    batches = loader(Cached(job), job)
    return lambda epoch: batches
