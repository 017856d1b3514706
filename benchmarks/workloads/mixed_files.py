"""JPEG files of mixed sizes, from thumbnails to 12 megapixels, and the stages that make images of one size of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.workloads.images import make_jpeg_files
from bytecache import decode_jpeg
from bytecache.images import resize as resizing

Array = np.ndarray[Any, Any]
SIZE = (224, 224)
SHARES = {  # (height, width): the share of the files
    (120, 160): 0.25,
    (240, 320): 0.2,
    (480, 640): 0.2,
    (768, 1024): 0.15,
    (1200, 1600): 0.1,
    (1920, 2560): 0.06,
    (3000, 4000): 0.04,
}


def make_mixed_files(folder: Path, count: int) -> list[str]:
    """Write about `count` files into folders by size below `folder`, and return their paths below it."""
    paths = []
    for number, ((height, width), share) in enumerate(SHARES.items()):
        name = f"{height}x{width}"
        files = make_jpeg_files(folder / name, max(1, round(share * count)), height, width, seed=number)
        paths += [f"{name}/{Path(file).name}" for file in files]
    return paths


def decode(encoded: bytes) -> Array:
    """Return the pixels at the smallest scale that is large enough, uint8 (height, width, 3)."""
    return decode_jpeg(encoded, min_size=SIZE)


def resize(pixels: Array) -> Array:
    """Return the pixels in one size, uint8 (224, 224, 3)."""
    out = np.empty((*SIZE, 3), np.uint8)
    resizing.resize(pixels, out)
    return out
