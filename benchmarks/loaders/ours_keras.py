"""bytecache.keras.ImageDataset, iterated over as `fit` does it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from bytecache.keras import ImageDataset

from . import Epochs, Job
from .image_files import cached


def private(job: Job) -> Epochs:
    """Cache the original files in the memory of one process; threads load the batches."""
    data = ImageDataset(
        job.paths,
        np.arange(job.count),
        batch_size=job.batch,
        load=cached(job, maxbytes=job.maxbytes),
        size=(job.side, job.side),
        seed=job.seed,
        workers=job.workers,
    )

    def run(epoch: int) -> Iterator[Any]:
        data.on_epoch_begin()
        for number in range(len(data)):
            yield data[number]
        data.on_epoch_end()

    return run
