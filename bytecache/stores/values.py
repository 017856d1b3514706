"""Values in memory: which can be stored, how many bytes they take, and how their arrays are made read-only."""

from __future__ import annotations

import collections.abc
import io
import types
from collections.abc import Iterable
from typing import Any

import numpy as np

from .sizes import PLAIN, contents, measure

_REUSABLE = PLAIN | {np.ndarray}
_OPENED = PLAIN | {tuple, list, dict}


def sizeof(value: Any) -> int:
    """Return how many bytes of memory `value` takes, with all that it keeps alive, each object once.

    A view of an ndarray, of a torch tensor or of any other buffer counts as the whole buffer that it keeps alive; of a
    mapped file the part that is seen counts. Known are also tensors of TensorFlow and jax, Pillow's images with their
    pixels, tables of pandas and pyarrow, and Python's containers. An object of any other make counts with what pickle
    would save of it, up to some thousand objects, or if it cannot be pickled with its attributes. Functions, classes
    and modules do not count.

    Of some objects less is found than they take: those without attributes that cannot be pickled, tensors with a graph
    of gradients, and slices of TensorFlow and polars. A cache with a budget then warns, once for each type: give it
    ``sizeof=``, a function that knows better.
    """
    return measure(value)[0]


def check_reusable(value: Any) -> None:
    """Raise TypeError for a value that can be used only once, also inside a tuple, list or dict."""
    kind = type(value)
    if kind in _REUSABLE:
        return
    for item in contents(value, kind) if kind in _OPENED else [value]:
        if type(item) in _REUSABLE:
            continue
        found = _used_only_once(item, type(item))
        if found is not None:
            if isinstance(item, types.CoroutineType):
                item.close()  # or Python warns that it was never awaited
            what, instead = found
            raise TypeError(
                f"a value that is stored must be usable again and again, got {what} (a {type(item).__module__}."
                f"{type(item).__qualname__}), which would be spent at the second call: {instead}"
            )


def _used_only_once(item: Any, kind: type) -> tuple[str, str] | None:
    """Return what can be used only once, and what to return instead of it; None for other values."""
    if issubclass(kind, io.IOBase) or _is_file_wrapper(item, kind):
        return None if _is_closed(item) else ("an open file or stream", "return what is read from it")
    if not hasattr(kind, "__getitem__"):
        if getattr(kind, "__next__", None) is not None:
            return "an iterator", "return a list of its items"
        if getattr(kind, "__anext__", None) is not None:
            return "an asynchronous iterator", "return a list of its items"
    if issubclass(kind, collections.abc.Coroutine):
        return "a coroutine", "cache a plain function that returns the final value"
    if any(getattr(item, name, None) is False for name in ("_content_consumed", "is_stream_consumed")):
        return "a response whose body was not read", "return its content"  # of requests and httpx
    return None


def _is_file_wrapper(item: Any, kind: type) -> bool:
    """Whether it is a file by its methods, such as a temporary one, which is no IOBase."""
    if not hasattr(kind, "__iter__"):
        return False
    return callable(getattr(item, "readline", None)) and isinstance(getattr(item, "closed", None), bool)


def _is_closed(file: Any) -> bool:
    try:
        return bool(file.closed)
    except ValueError:  # a detached one
        return True


def make_read_only(value: Any) -> list[np.ndarray[Any, Any]]:
    """Make every ndarray in `value` read-only, also inside tuples, lists and dicts, but not the base of a view.

    Nothing else can be made so in place without becoming another type: not a bytearray, a list or a tensor. Return
    those that were writable.
    """
    if type(value) in PLAIN:
        return []
    pending, seen, changed = [value], set(), []
    while pending:
        item = pending.pop()
        if issubclass(type(item), np.ndarray):
            if item.flags.writeable:
                item.flags.writeable = False
                changed.append(item)
        elif type(item) not in PLAIN and id(item) not in seen:
            seen.add(id(item))
            pending.extend(contents(item, type(item)))
    return changed


def make_writable(arrays: Iterable[np.ndarray[Any, Any]]) -> None:
    """Undo make_read_only."""
    for item in arrays:
        item.flags.writeable = True
