"""Files of one size to read, and a temporary folder for them and for caches."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

VALUE_BYTES = 8192
BUDGET = "2 GiB"  # enough for all files of these benchmarks
MEMORY = "/dev/shm" if Path("/dev/shm").is_dir() else None


def make_files(folder: Path, count: int) -> list[str]:
    """Write `count` files of random bytes, which leaves them in the page cache, and return their paths."""
    rng = np.random.default_rng(0)
    paths = [f"{folder}/{i:06d}.jpg" for i in range(count)]
    for path in paths:
        Path(path).write_bytes(rng.bytes(VALUE_BYTES))
    return paths


def read_file(path: str) -> bytes:
    """Return the bytes of a file, as a data set without a cache does."""
    with open(path, "rb") as f:
        return f.read()


@contextmanager
def scratch(base: str | None = None) -> Iterator[Path]:
    """Create a folder below `base`, or in the temporary directory, and remove it afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="bench-", dir=base))
    try:
        yield folder
    finally:
        shutil.rmtree(folder)
