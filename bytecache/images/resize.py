"""Antialiased resizing of decoded images, by Pillow: it releases the GIL, and it survives fork."""

from __future__ import annotations

import numpy as np

from .arrays import Array


def resize(image: Array, out: Array) -> None:
    """Resize `image`, uint8 (H, W, C), into `out`, uint8 (h, w, C), by the triangle filter; C is 1 or 3.

    Raises ImportError if Pillow is not installed, TypeError for another dtype.
    """
    if image.dtype != np.uint8:
        raise TypeError(f"only uint8 images can be resized, got {image.dtype}: omit size= and resize it in transform=")
    if image.shape == out.shape:
        out[...] = image
        return
    try:
        from PIL import Image
    except ImportError:
        raise ImportError("resizing needs the Pillow package: pip install 'bytecache[resize]'") from None
    source = Image.fromarray(image[..., 0] if image.shape[2] == 1 else image)
    height, width, channels = out.shape
    out[...] = np.asarray(source.resize((width, height), Image.Resampling.BILINEAR)).reshape(height, width, channels)
