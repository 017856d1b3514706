"""Values as bytes that another process can read, without pickle: reading a value never runs code."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from .arrays import decode_array, encode_array, is_plain
from .structures import MAX_DEPTH, Unsupported, decode_structure, encode_structure

BYTES, MEMORYVIEW, NDARRAY, STRUCTURE = range(4)


class Encoded(NamedTuple):
    """A value as bytes. payload: C-contiguous. description: what :func:`decode` needs to know of it, as text."""

    kind: int
    payload: memoryview
    description: bytes


def encode(value: Any) -> Encoded:
    """Return a value in the form that :func:`decode` reads.

    That is a bytes-like object; an ndarray or scalar of a plain dtype (numbers, bool, text, dates); None, a bool, int,
    float, complex or str; or a tuple, list or dict with keys of str of all these, at most MAX_DEPTH deep.

    Raises TypeError for anything else, and says where in the value it is: objects, sets, named tuples and other
    subclasses, arrays of objects or with fields, typed buffers.
    """
    kind = type(value)
    if kind is bytes or kind is bytearray:
        return Encoded(BYTES, memoryview(value), b"")
    if kind is np.ndarray and is_plain(value):
        return Encoded(NDARRAY, *encode_array(value))
    try:
        view = None if isinstance(value, (bytes, bytearray, np.generic, np.ndarray)) else memoryview(value)
        if view is not None and view.ndim == 1 and view.contiguous and view.format == "B":
            return Encoded(MEMORYVIEW, view, b"")
        if view is not None:
            value = view  # is refused with its format and shape
    except TypeError:
        pass
    try:
        return Encoded(STRUCTURE, *encode_structure(value))
    except Unsupported as exc:
        raise TypeError(
            f"{exc}; the codec of a shared store takes bytes-like objects, ndarrays of plain dtypes (numbers, bool, "
            "text, dates), None, bool, int, float, complex, str, and tuples, lists and dicts with keys of str of "
            f"these, at most {MAX_DEPTH} deep, no subclasses: return such a value, or cache the function that reads "
            "the bytes instead"
        ) from None


def decode(kind: int, view: memoryview, description: bytes = b"") -> Any:
    """Return the value: bytes (also for a bytearray) as a copy, any other bytes-like object as `view`, arrays over it.

    Containers are made anew at each call, with copies of the bytes in them. view: read-only, and so are the arrays and
    memoryviews over it. Raises ValueError for bytes that :func:`encode` did not make.
    """
    if kind == BYTES:
        return bytes(view)
    if kind == MEMORYVIEW:
        return view
    try:
        if kind == NDARRAY:
            return decode_array(view, description)
        if kind == STRUCTURE:
            return decode_structure(view, description)
    except Exception as exc:  # numpy, json and struct have many words for it; the bytes may be anybody's
        raise ValueError(f"the bytes are not a value that was encoded here: {exc!r:.200}") from None
    raise ValueError(f"the kind of a value must be one of {BYTES} to {STRUCTURE}, got {kind}")
