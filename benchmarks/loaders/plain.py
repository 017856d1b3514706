"""PyTorch's DataLoader over files, with no cache but the page cache."""

from __future__ import annotations

from functools import partial
from typing import Any

from torch.utils.data import DataLoader

from . import Epochs, Job
from .image_files import Files, decode_pillow


def loader(data: Any, job: Job, **options: Any) -> Any:
    """Return a DataLoader with persistent workers that shuffles every epoch."""
    return DataLoader(
        data,
        batch_size=job.batch,
        shuffle=True,
        num_workers=job.workers,
        persistent_workers=job.workers > 0,
        **options,
    )


def pillow(job: Job) -> Epochs:
    """Decode with Pillow."""
    batches = loader(Files(job, partial(decode_pillow, side=job.side)), job)
    return lambda epoch: batches


def simplejpeg(job: Job) -> Epochs:
    """Decode with simplejpeg."""
    batches = loader(Files(job), job)
    return lambda epoch: batches
