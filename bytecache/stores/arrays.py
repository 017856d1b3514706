"""Arrays, and the scalars of numpy, as bytes and a description."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

_PLAIN_KINDS = frozenset("?biufcmMSU")  # of dtypes whose bytes are the values: no objects, no fields


def is_plain(value: np.ndarray[Any, Any] | np.generic) -> bool:
    """Return whether it is an ndarray or a scalar of numpy's own, whose bytes are its values."""
    return value.dtype.kind in _PLAIN_KINDS and type(value) in (np.ndarray, value.dtype.type)


def encode_array(array: np.ndarray[Any, Any]) -> tuple[memoryview, bytes]:
    """Return the bytes of a plain array in C order, and its dtype and shape as text."""
    description = f"{array.dtype.str} {' '.join(map(str, array.shape))}".encode()
    plain: Any = np.ascontiguousarray(array).reshape(-1).view(np.uint8) if array.nbytes else b""
    return memoryview(plain).cast("B"), description


def decode_array(view: memoryview, description: bytes) -> np.ndarray[Any, Any]:
    """Return a read-only array over `view`; raise an exception of some kind if they do not belong together."""
    text, *dimensions = description.decode().split(" ")
    dtype, shape = np.dtype(text), [int(dimension) for dimension in dimensions if dimension]
    if dtype.kind not in _PLAIN_KINDS or min(shape, default=0) < 0 or math.prod(shape) * dtype.itemsize != view.nbytes:
        raise ValueError(f"{view.nbytes} bytes do not fit the array {description!r}")
    array: np.ndarray[Any, Any] = np.ndarray(shape, dtype, view if view.nbytes else None)
    array.flags.writeable = False
    return array
