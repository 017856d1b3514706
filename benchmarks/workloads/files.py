"""What the benchmarks of shared stores have in common: files, their reading, LMDB, a folder to put things in."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

VALUE_BYTES = 8192
BUDGET = "2 GiB"  # room for everything
MEMORY = "/dev/shm" if Path("/dev/shm").is_dir() else None


def make_files(folder: Path, count: int) -> list[str]:
    """Paths of so many files, which are in the page cache then."""
    rng = np.random.default_rng(0)
    paths = [f"{folder}/{i:06d}.jpg" for i in range(count)]
    for path in paths:
        Path(path).write_bytes(rng.bytes(VALUE_BYTES))
    return paths


def read_file(path: str) -> bytes:
    """What a dataset does without a cache."""
    with open(path, "rb") as f:
        return f.read()


@contextmanager
def scratch(base: str | None = None) -> Iterator[Path]:
    """A folder that is gone afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="bench-", dir=base))
    try:
        yield folder
    finally:
        shutil.rmtree(folder)
