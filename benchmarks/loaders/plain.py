"""PyTorch's DataLoader over files: no cache but the operating system's."""

from __future__ import annotations

from typing import Any

from torch.utils.data import DataLoader

from . import Epochs, Job
from .image_files import Files, decode, decode_pillow


def loader(data: Any, job: Job, **options: Any) -> Any:
    """A DataLoader with workers that stay, in which the batches are shuffled anew each epoch."""
    return DataLoader(
        data,
        batch_size=job.batch,
        shuffle=True,
        num_workers=job.workers,
        persistent_workers=job.workers > 0,
        **options,
    )


def pillow(job: Job) -> Epochs:
    """Decodes with Pillow."""
    batches = loader(Files(job.paths, job.side, decode_pillow), job)
    return lambda epoch: batches


def simplejpeg(job: Job) -> Epochs:
    """Decodes with simplejpeg."""
    batches = loader(Files(job.paths, job.side, decode), job)
    return lambda epoch: batches
