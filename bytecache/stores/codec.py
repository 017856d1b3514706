"""Values as bytes that another process can read, without pickle: reading a value never runs code."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

BYTES, MEMORYVIEW, NDARRAY = range(3)
_PLAIN_KINDS = frozenset("?biufcmMSU")  # of dtypes whose bytes are the values: no objects, no fields


class Encoded(NamedTuple):
    """A value as bytes. payload: C-contiguous. description: of an ndarray, its dtype and shape as text."""

    kind: int
    payload: memoryview
    description: bytes


def encode(value: Any) -> Encoded:
    """Return a bytes-like object or an ndarray in the form that :func:`decode` reads.

    Raises TypeError for anything else: objects, arrays of objects or with fields, subclasses of ndarray, typed buffers.
    """
    if isinstance(value, np.ndarray):
        return _encode_array(value)
    try:
        view = memoryview(value)
    except TypeError:
        raise _unsupported(f"got {_name(value)}") from None
    if view.ndim != 1 or not view.contiguous or view.format != "B":
        raise _unsupported(f"got a buffer of format {view.format!r} and shape {view.shape}: give it as an ndarray")
    return Encoded(BYTES if isinstance(value, (bytes, bytearray)) else MEMORYVIEW, view.cast("B"), b"")


def _encode_array(array: np.ndarray[Any, Any]) -> Encoded:
    if type(array) is not np.ndarray or array.dtype.kind not in _PLAIN_KINDS:
        raise _unsupported(f"got {_name(array)} with dtype {array.dtype}")
    description = f"{array.dtype.str} {' '.join(map(str, array.shape))}".encode()
    plain: Any = np.ascontiguousarray(array).reshape(-1).view(np.uint8) if array.size else b""
    return Encoded(NDARRAY, memoryview(plain).cast("B"), description)


def decode(kind: int, view: memoryview, description: bytes = b"") -> Any:
    """Return the value: bytes (also for a bytearray) as a copy, any other bytes-like object as `view`, arrays over it.

    view: read-only, and so are the arrays. Raises ValueError or TypeError for bytes that :func:`encode` did not make.
    """
    if kind == BYTES:
        return bytes(view)
    if kind == MEMORYVIEW:
        return view
    if kind != NDARRAY:
        raise ValueError(f"the kind of a value must be {BYTES}, {MEMORYVIEW} or {NDARRAY}, got {kind}")
    text, *dimensions = description.decode().split(" ")
    dtype, shape = np.dtype(text), [int(dimension) for dimension in dimensions if dimension]
    if dtype.kind not in _PLAIN_KINDS or min(shape, default=0) < 0 or math.prod(shape) * dtype.itemsize != view.nbytes:
        raise ValueError(f"{view.nbytes} bytes do not fit the array {description!r}")
    array = np.ndarray(shape, dtype, view if view.nbytes else None)
    array.flags.writeable = False
    return array


def _name(value: Any) -> str:
    return f"a {type(value).__module__}.{type(value).__qualname__}"


def _unsupported(what: str) -> TypeError:
    return TypeError(
        "the codec of a shared store takes bytes, bytearrays, memoryviews and ndarrays of plain dtypes (numbers, bool, "
        f"text, dates), {what}: return such a value, or cache the function that reads the bytes instead"
    )
