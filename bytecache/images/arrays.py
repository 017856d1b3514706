"""Image arrays: their types, and the checks of a requested size and of an output array."""

from __future__ import annotations

from operator import index
from typing import Any, TypeAlias

import numpy as np

Array: TypeAlias = np.ndarray[Any, Any]
Image: TypeAlias = np.ndarray[Any, np.dtype[np.uint8]]


def is_numeric(array: Array) -> bool:
    """Return whether the array has bools or numbers, not objects, strings, dates or fields."""
    return array.dtype.kind in "biufc"


def check_size(size: Any, name: str) -> tuple[int, int]:
    """Return `size` as (height, width); raise ValueError unless it is two positive ints."""
    try:
        height, width = map(index, size)
        if height > 0 and width > 0:
            return height, width
    except (TypeError, ValueError):
        pass
    raise ValueError(f"{name} must be two positive ints, (height, width) in pixels, got {size!r}")


def check_out(out: Any, shape: tuple[int, ...]) -> None:
    """Raise TypeError or ValueError unless `out` can be decoded into: the decoder itself does not check."""
    if not isinstance(out, np.ndarray):
        raise TypeError(f"out must be a numpy array, got {type(out).__name__}")
    expected = f"out must be a writable C-contiguous uint8 array of shape {shape}"
    if out.dtype != np.uint8 or out.shape != shape:
        raise ValueError(f"{expected}, got {out.dtype} {out.shape}")
    if not out.flags.c_contiguous or not out.flags.writeable:
        raise ValueError(f"{expected}, got one that is {'not C-contiguous' if out.flags.writeable else 'read-only'}")
