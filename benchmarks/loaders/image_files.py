"""Reading and decoding image files, for loaders that leave both to the user."""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO
from typing import Any

import numpy as np
import simplejpeg
from PIL import Image

Array = np.ndarray[Any, Any]


def read(path: str) -> bytes:
    """Return the bytes of a file or a URL."""
    if path.startswith("http"):
        import fsspec

        return fsspec.filesystem("http").cat_file(path)  # type: ignore[no-any-return]
    with open(path, "rb") as f:
        return f.read()


def decode(data: bytes, side: int) -> Array:
    """Return uint8 (side, side, 3), by simplejpeg (libjpeg-turbo) and Pillow's resize."""
    return resize(Image.fromarray(simplejpeg.decode_jpeg(data)), side)


def decode_pillow(data: bytes, side: int) -> Array:
    """Return uint8 (side, side, 3), by Pillow alone."""
    return resize(Image.open(BytesIO(data)).convert("RGB"), side)


def resize(image: Image.Image, side: int) -> Array:
    """Return the image resized to a square, with the filter that bytecache uses."""
    return np.array(image.resize((side, side), Image.Resampling.BILINEAR))


class Files:
    """A map-style data set as users write it: `(image, label)`, image a uint8 tensor (side, side, 3)."""

    def __init__(self, paths: list[str], side: int, decode: Callable[[bytes, int], Array] = decode) -> None:
        self._paths, self._side, self._decode = paths, side, decode

    def __len__(self) -> int:
        return len(self._paths)

    def __getitem__(self, index: int) -> tuple[Array, int]:
        return self._decode(read(self._paths[index]), self._side), index
