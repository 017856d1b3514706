"""TurboLoader: a tar file that threads in C++ read and decode; images float32 from 0 to 1."""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from io import BytesIO
from typing import Any

import turboloader

from . import Epochs, Job
from .shards import read_files


def convert(files: str, folder: str, count: int) -> None:
    """Write one tar file in the order of the labels."""
    with tarfile.open(f"{folder}/images.tar", "w") as tar:
        for label, data in read_files(files, range(count)):
            member = tarfile.TarInfo(f"{label:06d}.jpg")
            member.size = len(data)
            tar.addfile(member, BytesIO(data))


def loader(job: Job, antialias: bool) -> Epochs:
    """Shuffle all images every epoch; an image's label is its place in the tar file."""
    batches = turboloader.DataLoader(
        f"{job.root}/one_tar/images.tar",
        batch_size=job.batch,
        num_workers=job.workers,
        shuffle=True,
        seed=job.seed,
        image_size=job.side,
        output_format="numpy",
        antialias=antialias,
    )

    def run(epoch: int) -> Iterator[Any]:
        batches.set_epoch(epoch)
        return ((images, meta["indices"]) for images, meta in batches)

    return run


def antialiased(job: Job) -> Epochs:
    """Resize with its antialiasing, which is off by default."""
    return loader(job, antialias=True)


def aliased(job: Job) -> Epochs:
    """Resize with its default, bilinear without antialiasing: faster, and pixels that differ from all others'."""
    return loader(job, antialias=False)
