"""bytecache.keras.ImageDataset, iterated over as `fit` does it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from bytecache.keras import ImageDataset

from . import Epochs, Job
from .image_files import cached, reading


def private(job: Job) -> Epochs:
    """Cache the original files in the memory of one process; threads load the batches."""
    return epochs(job, load=cached(job, maxbytes=job.maxbytes))


def automatic(job: Job) -> Epochs:
    """Let the data set keep files or pixels, in the memory of one process."""
    return epochs(job, **reading(job), maxbytes=job.maxbytes)


def epochs(job: Job, **reading: Any) -> Epochs:
    """Load batches as the options of the data set say; threads make them."""
    data = ImageDataset(
        job.paths,
        np.arange(job.count),
        batch_size=job.batch,
        size=(job.side, job.side),
        seed=job.seed,
        workers=job.workers,
        **reading,
    )

    def run(epoch: int) -> Iterator[Any]:
        data.on_epoch_begin()
        for number in range(len(data)):
            yield data[number]
        data.on_epoch_end()

    return run
