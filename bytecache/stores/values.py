"""Values in memory: how many bytes they take, and how their arrays are made read-only."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

_ARRAY_HEADER = sys.getsizeof(np.ndarray(()))
_PLAIN = frozenset({bytes, str, int, float, bool, type(None)})  # refer to nothing else
_CONTAINERS: tuple[Any, ...] = (tuple, list, set, frozenset)


def sizeof(value: Any) -> int:
    """Return how many bytes of memory `value` takes.

    An ndarray counts as the whole buffer that it keeps alive, even if it is a small view. Tuples, lists, sets and
    dicts, and subclasses of these, count with everything in them, each object once. Any other object counts as
    ``sys.getsizeof`` says, plus its ``nbytes`` if it has them, as tensors do, but not what it refers to: pass
    ``sizeof=`` for classes that refer to large objects.
    """
    if type(value) in _PLAIN:
        return sys.getsizeof(value)
    total, seen, pending = 0, set(), [value]
    while pending:
        item = pending.pop()
        if id(item) in seen:
            continue
        seen.add(id(item))
        if isinstance(item, np.ndarray):
            total += _array_bytes(item)
        else:
            nbytes = getattr(item, "nbytes", 0)  # of a memoryview or a tensor, whose header is counted too
            total += sys.getsizeof(item) + (nbytes if isinstance(nbytes, int) else 0)
            pending.extend(_contents(item))
    return total


def _array_bytes(array: np.ndarray[Any, Any]) -> int:
    owner: Any = array
    while isinstance(owner, np.ndarray) and owner.base is not None:
        owner = owner.base
    while isinstance(owner, memoryview):
        owner = owner.obj
    if isinstance(owner, (bytes, bytearray)):
        return _ARRAY_HEADER + sys.getsizeof(owner)
    return _ARRAY_HEADER + (owner.nbytes if isinstance(owner, np.ndarray) else array.nbytes)


def _contents(item: Any) -> list[Any]:
    # By the built-in methods, even for subclasses such as named tuples: no code of the user's runs here.
    if isinstance(item, dict):
        return [*dict.keys(item), *dict.values(item)]
    return next((list(kind.__iter__(item)) for kind in _CONTAINERS if isinstance(item, kind)), [])


def make_read_only(value: Any) -> None:
    """Make every ndarray in `value` read-only, also inside tuples, lists and dicts, but not the base of a view."""
    if type(value) in _PLAIN:
        return
    pending, seen = [value], set()
    while pending:
        item = pending.pop()
        if isinstance(item, np.ndarray):
            item.flags.writeable = False
        elif id(item) not in seen:
            seen.add(id(item))
            pending.extend(_contents(item))
