"""Values as bytes that another process can read: no pickle, so nothing that is read can run."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

BYTES, MEMORYVIEW, NDARRAY = range(3)
_PLAIN_KINDS = frozenset("?biufcmMSU")  # kinds of dtypes whose bytes are their values: no objects, no fields


class Encoded(NamedTuple):
    """payload: the value's bytes, C-contiguous. description: of an ndarray, its dtype and shape as text."""

    kind: int
    payload: memoryview
    description: bytes


def encode(value: Any) -> Encoded:
    """A bytes-like object or an ndarray, in a form that :func:`decode` makes the value of.

    Raises TypeError for anything else: objects, arrays of objects or of fields, subclasses of ndarray, typed buffers.
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
    """The value: bytes (also for a bytearray) as a copy, other bytes-like objects as the view, arrays lying on it.

    view: read-only, as what lies on it is. Raises ValueError or TypeError for bytes that :func:`encode` did not make.
    """
    if kind == BYTES:
        return bytes(view)
    if kind == MEMORYVIEW:
        return view
    if kind != NDARRAY:
        raise ValueError(f"the kind of a value must be 0 to 2, got {kind}")
    text, *sides = description.decode().split(" ")
    dtype, shape = np.dtype(text), [int(side) for side in sides if side]
    if dtype.kind not in _PLAIN_KINDS or min(shape, default=0) < 0 or math.prod(shape) * dtype.itemsize != view.nbytes:
        raise ValueError(f"{view.nbytes} bytes are no array {description!r}")
    array = np.ndarray(shape, dtype, view if view.nbytes else None)
    array.flags.writeable = False
    return array


def _name(value: Any) -> str:
    return f"a {type(value).__module__}.{type(value).__qualname__}"


def _unsupported(what: str) -> TypeError:
    return TypeError(
        "the codec of a shared store takes bytes, bytearrays, memoryviews and ndarrays of plain dtypes (numbers, bool, "
        f"text, dates), {what}: return such a value, or cache the function that makes it of the bytes"
    )
