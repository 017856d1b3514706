"""The images of a data set: found, counted by their folders' names, split, and read from storage."""

from __future__ import annotations

import functools
import os
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

import bytecache

from .errors import UserError
from .storage import URL

if TYPE_CHECKING:
    from bytecache.http import HttpReader

SUFFIXES = (".jpg", ".jpeg")


class Split(NamedTuple):
    """One part of the data set: paths and their counts, float32 (n,)."""

    paths: list[str]
    counts: np.ndarray

    @property
    def nbytes(self) -> int:
        """The bytes of all files."""
        return sum(os.path.getsize(path) for path in self.paths)


def find_images(folder: Path) -> Split:
    """Return every JPEG file below `folder`; its parent folder's name is the number of fish."""
    if not folder.is_dir():
        raise UserError(f"--data must be a folder with files COUNT/NAME.jpg, got {folder}: see make_data --help")
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file())
    if not paths:
        raise UserError(f"--data {folder} contains no .jpg or .jpeg file: make some with make_data --out {folder}")
    return Split([str(path) for path in paths], np.array([_count(path) for path in paths], np.float32))


def _count(path: Path) -> float:
    try:
        count = float(path.parent.name)
        if 0 <= count < float("inf"):
            return count
    except ValueError:
        pass
    raise UserError(
        f"the folder of {path} must be named by the number of fish in its images, such as 7, got "
        f"{path.parent.name!r}: rename or move it"
    )


def split_images(images: Split, seed: int) -> tuple[Split, Split, Split]:
    """Split into training, validation and test: 80, 10 and 10 %, a pure function of the files and the seed."""
    order = np.random.default_rng(seed).permutation(len(images.paths))
    tenth = len(order) // 10
    if tenth == 0:
        raise UserError(
            f"--data must contain at least 10 images, to set some apart for validation and test: found {len(order)}"
        )
    parts = order[2 * tenth :], order[tenth : 2 * tenth], order[:tenth]
    train, val, test = (Split([images.paths[i] for i in part], images.counts[part]) for part in parts)
    return train, val, test


def image_size(paths: list[str], on_error: str) -> tuple[int, int]:
    """Return the (height, width) that the images have, from the header of the first one.

    on_error: with "skip", the size of most of the first 32, since any of them may be bad.
    """
    sizes: Counter[tuple[int, int]] = Counter()
    for path in paths[:32] if on_error == "skip" else paths[:1]:
        try:
            sizes[bytecache.image_size(Path(path).read_bytes())[:2]] += 1
        except (OSError, bytecache.JpegError) as error:
            problem = f"{path}: {error}: remove or replace the file, or pass --on-error skip"
    if not sizes:
        raise UserError(problem)
    return sizes.most_common(1)[0][0]


def read_file(path: str) -> bytes:
    """Return the bytes of a file."""
    with open(path, "rb") as file:
        return file.read()


def read_remote(paths: list[str]) -> list[bytes | Exception]:
    """Return the bytes of each file from the server that ``remote_storage`` has started, or why there are none."""
    return _http_reader(os.environ[URL])(map(os.path.abspath, paths))


@functools.cache
def _http_reader(url: str) -> HttpReader:
    from bytecache.http import HttpReader

    return HttpReader(url)


def storage_note(latency_ms: float, parallel: int) -> str:
    """Return what every output says about the storage: nothing if files are read from their folder."""
    if not latency_ms:
        return ""
    return f"from storage that answers {parallel} requests at a time, each in {latency_ms:g} ms"
