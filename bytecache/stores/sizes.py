"""How many bytes of memory a value takes, with all that it keeps alive."""

from __future__ import annotations

import array
import collections
import copyreg
import enum
import io
import itertools
import logging
import mmap
import sys
import threading
import types
import weakref
from typing import Any

import numpy as np

from .foreign_sizes import Part, header_size, measure_foreign

PLAIN = frozenset({bytes, str, int, float, bool, type(None)})  # refer to nothing else
_ARRAY_HEADER = sys.getsizeof(np.ndarray(()))
_CONTAINERS: tuple[Any, ...] = (tuple, list, set, frozenset, collections.deque)
_BUFFERS = (bytes, str, bytearray, array.array, io.BytesIO, io.StringIO, int, float, complex, np.generic)
# What belongs to the program, not to the value that refers to it; and what is small.
_SHARED: tuple[type, ...] = (
    type, types.ModuleType, types.FunctionType, types.BuiltinFunctionType, types.CodeType, enum.Enum, np.dtype,
    logging.Logger, weakref.ref, type(threading.Lock()), type(threading.RLock()),
)  # fmt: skip
_MOST_OBJECTS = 10_000  # that are measured as pickle sees them


def measure(value: Any) -> tuple[int, type | None]:
    """Return the bytes of a value, see :func:`bytecache.sizeof`, and a type of which too little is known, or None.

    Never raises. Runs what pickle would run of classes that say how they are pickled.
    """
    if type(value) in PLAIN:
        return sys.getsizeof(value), None
    total, pending, unknown, opened = 0, [value], None, 0
    seen: dict[int, Any] = {}  # by id; the objects stay alive, or another one could get their id
    while pending:
        item = pending.pop()
        if id(item) in seen:
            continue
        seen[id(item)] = item
        kind = type(item)
        if kind in PLAIN:
            total += sys.getsizeof(item)
            continue
        part = _measure_one(item, kind)
        total += part.nbytes
        pending.extend(part.refers_to)
        opened += part.opened
        if not part.known or opened > _MOST_OBJECTS:
            unknown = unknown or kind
        if opened > _MOST_OBJECTS:
            break
    return total, unknown


def contents(item: Any, kind: type) -> list[Any]:
    """Return what a tuple, list, set, deque or dict of this type contains; nothing for any other.

    By the built-in methods, even for subclasses such as named tuples: no code of the user's runs here.
    """
    if issubclass(kind, dict):
        return [*dict.keys(item), *dict.values(item)]
    return next((list(base.__iter__(item)) for base in _CONTAINERS if issubclass(kind, base)), [])


# By the type itself in each case: an object's __class__ may say another one, as that of a mock or proxy does.


def _measure_one(item: Any, kind: type) -> Part:
    try:
        if issubclass(kind, np.ndarray):
            return _measure_array(item, kind)
        if issubclass(kind, (dict, *_CONTAINERS)):
            return Part(_own_size(item), [*contents(item, kind), *_attributes(item, kind)])
        if issubclass(kind, memoryview):
            seen = Part(_own_size(item) + item.nbytes)
            return Part(_own_size(item), [item.obj]) if _is_measurable(item.obj) else seen
        if issubclass(kind, _SHARED):
            return Part(0)
        if issubclass(kind, _BUFFERS):
            return Part(_own_size(item), _attributes(item, kind))
        if issubclass(kind, types.MappingProxyType):
            return Part(_own_size(item), [dict(item)])
        part = measure_foreign(item, kind)
        return part if part is not None else _measure_as_pickled(item, kind)
    except Exception:  # of the user's code, or a library's: whatever it is, the value can still be used
        return Part(_own_size(item), known=False)


def _own_size(item: Any) -> int:
    """Return the bytes of the object itself, with the buffers that a class of Python's own has."""
    try:
        return sys.getsizeof(item)
    except Exception:
        return object.__sizeof__(item)


def _measure_array(item: Any, kind: type) -> Part:
    """Measure an array as the whole buffer that it keeps alive, even if it is a small view."""
    owner: Any = item
    while issubclass(type(owner), np.ndarray) and owner.base is not None:
        owner = owner.base
    while type(owner) is memoryview:
        owner = owner.obj
    elements = item.ravel().tolist() if item.dtype.kind in "OT" else []
    fields = [item[name] for name in item.dtype.names or ()] if item.dtype.hasobject else []
    refers_to = [*elements, *fields, *([] if kind is np.ndarray else _attributes(item, kind))]
    if owner is item or not _is_measurable(owner):
        return Part(_ARRAY_HEADER + item.nbytes, refers_to)
    return Part(_ARRAY_HEADER, [owner, *refers_to])


def _is_measurable(owner: Any) -> bool:
    """Whether the owner of a buffer can be measured; what is mapped from a file is not in this process's memory."""
    return owner is not None and not isinstance(owner, mmap.mmap) and not type(owner).__name__ == "PyCapsule"


def _attributes(item: Any, kind: type) -> list[Any]:
    """Return the attributes of an instance, those in slots too, without running its code."""
    found = []
    for base in kind.__mro__:
        for descriptor in vars(base).values():
            if type(descriptor) is types.MemberDescriptorType and descriptor.__objclass__ is base:
                try:
                    found.append(descriptor.__get__(item))
                except AttributeError:
                    continue
    names = vars(item) if kind.__dictoffset__ else {}
    return [*found, *names.values()]


def _measure_as_pickled(item: Any, kind: type) -> Part:
    """Measure an object of any make as what pickle would save of it; if it cannot be pickled, by its attributes."""
    try:
        reduce = copyreg.dispatch_table.get(kind)
        reduced: Any = reduce(item) if reduce is not None else item.__reduce_ex__(4)
        if isinstance(reduced, str):  # pickled by its name: the program's
            return Part(0)
        _, arguments, *state = reduced
        refers_to = [*arguments, *state[:1]]
        for items in state[1:3]:
            refers_to += [] if items is None else itertools.islice(items, _MOST_OBJECTS + 1)
        return Part(header_size(item, kind), refers_to, opened=max(1, len(refers_to) - 2))
    except Exception:
        attributes = _attributes(item, kind)
        return Part(_own_size(item), attributes, known=bool(attributes), opened=1)
