"""bytecache.keras.ImageDataset, iterated over as `fit` does it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

import bytecache
from bytecache.keras import ImageDataset

from . import Epochs, Job
from .image_files import read


def private(job: Job) -> Epochs:
    """Cache the original files in the memory of one process; threads load the batches."""
    load = bytecache.fill_once(maxbytes=job.maxbytes)(read)
    data = ImageDataset(
        job.paths,
        np.arange(job.count),
        batch_size=job.batch,
        load=load,
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
