"""The pictures of a set: found, counted by their folders' names, split, and read from storage."""

from __future__ import annotations

import functools
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

import bytecache

from .problem import Problem

ENDINGS = (".jpg", ".jpeg")


class Split(NamedTuple):
    """The paths of one part of the set and their counts, float32 (n,)."""

    paths: list[str]
    counts: np.ndarray

    @property
    def nbytes(self) -> int:
        return sum(os.path.getsize(path) for path in self.paths)


def find_images(folder: Path) -> Split:
    """Every JPEG file below `folder`; the parent folder's name is the number of fish."""
    if not folder.is_dir():
        raise Problem(f"--data must be a folder with files COUNT/NAME.jpg, {folder} is none: see make_data --help")
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in ENDINGS and path.is_file())
    if not paths:
        raise Problem(f"--data {folder} holds no .jpg or .jpeg file: make some with make_data --out {folder}")
    return Split([str(path) for path in paths], np.array([_count(path) for path in paths], np.float32))


def _count(path: Path) -> float:
    try:
        count = float(path.parent.name)
        if 0 <= count < float("inf"):
            return count
    except ValueError:
        pass
    raise Problem(
        f"the folder of {path} must be named by the number of fish in its pictures, such as 7, got "
        f"{path.parent.name!r}: rename or move it"
    )


def split_images(images: Split, seed: int) -> tuple[Split, Split, Split]:
    """Training, validation and test: 80, 10 and 10 %, disjoint, the same for the same files and seed."""
    order = np.random.default_rng(seed).permutation(len(images.paths))
    tenth = len(order) // 10
    if tenth == 0:
        raise Problem(
            f"--data must hold 10 images or more, to set some apart for validation and test: {len(order)} found"
        )
    parts = order[2 * tenth :], order[tenth : 2 * tenth], order[:tenth]
    train, val, test = (Split([images.paths[i] for i in part], images.counts[part]) for part in parts)
    return train, val, test


def image_size(path: str) -> tuple[int, int]:
    """(height, width) of a picture in pixels, from its header."""
    try:
        header = bytecache.jpeg_header(Path(path).read_bytes())
    except (OSError, bytecache.JpegError) as error:
        raise Problem(f"{path}: {error}: remove the file or make it anew") from error
    return header.height, header.width


def reader(storage_ms: float) -> Callable[[str], bytes]:
    """A read function for files; with `storage_ms` each read takes that much longer, as from remote storage.

    It can be pickled, for worker processes that are not forked.
    """
    return functools.partial(read, storage_ms)


def read(storage_ms: float, path: str) -> bytes:
    """The bytes of a file, after a delay."""
    if storage_ms:
        time.sleep(storage_ms / 1000)
    with open(path, "rb") as file:
        return file.read()


def check_storage_ms(storage_ms: float) -> str:
    """What every output says about the delay; empty where there is none."""
    if not 0 <= storage_ms < 60_000:
        raise Problem(f"--storage-ms must be from 0 to 60000, got {storage_ms}")
    return f"each read from storage delayed by {storage_ms:g} ms" if storage_ms else ""
