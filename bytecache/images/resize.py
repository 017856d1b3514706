"""Antialiased resizing of decoded images, by cykooz-resizer if it is installed, else by Pillow.

Both release the GIL and survive a fork. Both apply the triangle filter over the area that a pixel covers; their results
differ by 1 at most.
"""

from __future__ import annotations

import ctypes
import math
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any, TypeAlias

import numpy as np

from .arrays import Array
from .crops import Box

_Resize: TypeAlias = Callable[[Array, Array, Box, "bytes | None"], None]
_MAX_SCRATCH = 4 << 20  # bytes that each thread keeps; images for networks are smaller once they are scaled


class Scratch:
    """Memory of so many bytes, one or more, for an image that is decoded to be resized; `pixels` is what is in it.

    cykooz-resizer takes nothing but bytes. These are made and written to as the C API allows for an object that nobody
    else has. A copy of an array would do, but the C library gives large blocks back to the system as soon as they are
    free, and a process that has to get them anew for each image loses more time to that than to copying.
    """

    def __init__(self, nbytes: int) -> None:
        self.pixels: bytes = _new_bytes(None, nbytes)
        data = _address(self.pixels), False
        self.__array_interface__ = {"version": 3, "typestr": "|u1", "shape": (nbytes,), "data": data}

    def array(self, shape: tuple[int, ...]) -> Array:
        """Return the memory as a writable array of this shape, uint8, of as many bytes; it keeps the memory alive."""
        array: Array = np.asarray(self).reshape(shape)
        return array


_new_bytes: Any = ctypes.PYFUNCTYPE(ctypes.py_object, ctypes.c_char_p, ctypes.c_ssize_t)(
    ("PyBytes_FromStringAndSize", ctypes.pythonapi)
)
_address: Any = ctypes.PYFUNCTYPE(ctypes.c_void_p, ctypes.py_object)(("PyBytes_AsString", ctypes.pythonapi))
_of_thread = threading.local()


@contextmanager
def scratch(nbytes: int) -> Iterator[Scratch]:
    """Lend memory with arbitrary contents; a later block in this thread has the same if it is for as many bytes."""
    mine = _of_thread.__dict__.pop("scratch", None)  # a block within this one, as a destructor's, has its own
    if mine is None or len(mine.pixels) != nbytes:
        mine = Scratch(nbytes)
    try:
        yield mine
    finally:
        if nbytes <= _MAX_SCRATCH:
            _of_thread.scratch = mine


def resize(image: Array, out: Array, box: Box | None = None, pixels: bytes | None = None) -> None:
    """Resize `image`, uint8 (H, W, C), or the part in `box`, into `out`, uint8 (h, w, C), by the triangle filter.

    box: (top, left, height, width) in pixels, which may be fractions; pixels around it count for its edges, as they do
    for Pillow's ``resize(box=)``. C is 1 or 3. pixels: the bytes of `image` in C order, if the caller has
    them, which saves a copy.

    Raises ImportError if neither package is installed, TypeError for another dtype.
    """
    box = box or (0, 0, *image.shape[:2])
    top, left, height, width = box
    if (height, width) == out.shape[:2] and top == int(top) and left == int(left):
        out[...] = image[int(top) : int(top + height), int(left) : int(left + width)]
        return
    if image.dtype != np.uint8:
        raise TypeError(f"only uint8 images can be resized, got {image.dtype}: omit size= and resize it in transform=")
    rows, columns = _reach(top, height, out.shape[0], image.shape[0]), _reach(left, width, out.shape[1], image.shape[1])
    part = image[rows, columns]
    pixels = pixels if part.shape == image.shape else None
    _implementation()(part, out, (top - rows.start, left - columns.start, height, width), pixels)


def _reach(start: float, length: float, new_length: int, end: int) -> slice:
    """Return the pixels that the filter reads along one axis: the box and its radius on both sides."""
    radius = max(1.0, length / new_length)
    return slice(max(0, math.floor(start - radius)), min(end, math.ceil(start + length + radius)))


@cache
def _implementation() -> _Resize:
    try:
        import cykooz_resizer as package
    except ImportError:
        return _by_pillow
    return _make_cykooz_resize(package)


def _make_cykooz_resize(package: Any) -> _Resize:
    algorithm = package.ResizeAlg.convolution(package.FilterType.bilinear)
    pixel_types = {1: package.PixelType.U8, 3: package.PixelType.U8x3}
    of_thread = threading.local()  # a Resizer has a buffer and a mutex: one for each thread

    def resize_by_cykooz(image: Array, out: Array, box: Box, pixels: bytes | None) -> None:
        (height, width, channels), (new_height, new_width, _) = image.shape, out.shape
        if channels not in pixel_types:
            return _by_pillow(image, out, box, pixels)
        resizer = getattr(of_thread, "resizer", None)
        if resizer is None:
            resizer = of_thread.resizer = package.Resizer()
        source = package.ImageData(width, height, pixel_types[channels], pixels or image.tobytes())
        target = package.ImageData(new_width, new_height, pixel_types[channels])
        top, left, box_height, box_width = box
        options = package.ResizeOptions(algorithm, crop_box=package.CropBox(left, top, box_width, box_height))
        resizer.resize(source, target, options)
        out[...] = np.frombuffer(target.get_buffer(), np.uint8).reshape(out.shape)

    return resize_by_cykooz


def _by_pillow(image: Array, out: Array, box: Box, pixels: bytes | None) -> None:
    try:
        from PIL import Image
    except ImportError:
        raise ImportError("resizing needs the Pillow package: pip install 'bytecache[images]'") from None
    source = Image.fromarray(image[..., 0] if image.shape[2] == 1 else image)
    top, left, height, width = box
    resized = source.resize(out.shape[1::-1], Image.Resampling.BILINEAR, (left, top, left + width, top + height))
    out[...] = np.asarray(resized).reshape(out.shape)
