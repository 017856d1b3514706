"""Antialiased resizing of decoded images, by cykooz-resizer if it is installed, else by Pillow.

Both release the GIL and survive a fork. Both apply the triangle filter over the area that a pixel covers; their results
differ by 1 at most.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import cache
from typing import Any, TypeAlias

import numpy as np

from .arrays import Array

_Resize: TypeAlias = Callable[[Array, Array], None]


def resize(image: Array, out: Array) -> None:
    """Resize `image`, uint8 (H, W, C), into `out`, uint8 (h, w, C), by the triangle filter; C is 1 or 3.

    Raises ImportError if neither package is installed, TypeError for another dtype.
    """
    if image.dtype != np.uint8:
        raise TypeError(f"only uint8 images can be resized, got {image.dtype}: omit size= and resize it in transform=")
    if image.shape == out.shape:
        out[...] = image
    else:
        _implementation()(image, out)


@cache
def _implementation() -> _Resize:
    try:
        import cykooz_resizer as package
    except ImportError:
        return _by_pillow
    return _make_cykooz_resize(package)


def _make_cykooz_resize(package: Any) -> _Resize:
    options = package.ResizeOptions(resize_alg=package.ResizeAlg.convolution(package.FilterType.bilinear))
    pixel_types = {1: package.PixelType.U8, 3: package.PixelType.U8x3}
    of_thread = threading.local()  # a Resizer has a buffer and a mutex: one for each thread

    def resize_by_cykooz(image: Array, out: Array) -> None:
        (height, width, channels), (new_height, new_width, _) = image.shape, out.shape
        if channels not in pixel_types:
            return _by_pillow(image, out)
        resizer = getattr(of_thread, "resizer", None)
        if resizer is None:
            resizer = of_thread.resizer = package.Resizer()
        source = package.ImageData(width, height, pixel_types[channels], image.tobytes())
        target = package.ImageData(new_width, new_height, pixel_types[channels])
        resizer.resize(source, target, options)
        out[...] = np.frombuffer(target.get_buffer(), np.uint8).reshape(out.shape)

    return resize_by_cykooz


def _by_pillow(image: Array, out: Array) -> None:
    try:
        from PIL import Image
    except ImportError:
        raise ImportError("resizing needs the Pillow package: pip install 'bytecache[images]'") from None
    source = Image.fromarray(image[..., 0] if image.shape[2] == 1 else image)
    height, width, channels = out.shape
    out[...] = np.asarray(source.resize((width, height), Image.Resampling.BILINEAR)).reshape(height, width, channels)
