"""The arguments of `load`, one per sample, held so that worker processes do not copy them."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import PurePath
from typing import Any

import numpy as np


class PackedStrings(Sequence[Any]):
    """A sequence of n str, or of what `make` makes of each, in two objects: the characters as UTF-8, and the offsets.

    A list of str is copied into each forked worker page by page, as reading an element writes its reference count; of
    this, all processes see one copy. Any str is returned as it came, lone surrogates included. Immutable.
    """

    def __init__(self, strings: Iterable[Any], make: Callable[[str], Any] = str) -> None:
        encoded = [str(string).encode("utf-8", "surrogatepass") for string in strings]
        self._ends = np.cumsum([0, *map(len, encoded)])
        self._bytes = b"".join(encoded)
        self._make = make

    def __len__(self) -> int:
        return len(self._ends) - 1

    def __getitem__(self, index: Any) -> Any:
        n = len(self)
        if not -n <= index < n:
            raise IndexError(f"index {index} is out of range: there are {n}")
        index %= n
        start, end = self._ends.item(index), self._ends.item(index + 1)
        return self._make(self._bytes[start:end].decode("utf-8", "surrogatepass"))


class _Elements(Sequence[Any]):
    """The elements of an array as Python's objects: those of numpy by ``item``, those of Arrow by ``as_py``."""

    def __init__(self, array: Any) -> None:
        self._array = array

    def __len__(self) -> int:
        return len(self._array)

    def __getitem__(self, index: Any) -> Any:
        if not -len(self) <= index < len(self):
            raise IndexError(f"index {index} is out of range: there are {len(self)}")
        element = self._array[int(index)]
        return element.as_py() if hasattr(element, "as_py") else element.item()


def as_paths(paths: Any) -> Any:
    """Return the paths as a sequence whose elements are those that came; of numpy's and Arrow's arrays, Python objects.

    paths: any iterable but a set. Lists of str or of pathlib's paths are packed; an array or a sequence of a class of
    its own is kept as it is, not copied into a list; a pandas Series counts by position. Raises TypeError for a single
    str, a set, or what is not iterable.
    """
    if isinstance(paths, (str, bytes)):
        raise TypeError(f"paths must be a sequence of paths, got the single one {paths!r}: put it into a list")
    if isinstance(paths, (set, frozenset)):
        raise TypeError("paths must have an order, got a set, whose order differs from run to run: pass sorted(paths)")
    if hasattr(paths, "iloc"):
        paths = np.asarray(paths)
    if isinstance(paths, np.ndarray) and paths.ndim == 1:
        return pack(paths.tolist()) if paths.dtype == object else _Elements(paths)
    if isinstance(paths, (list, tuple)) or not _is_indexable(paths):
        try:
            return pack(list(paths))
        except TypeError:
            raise TypeError(f"paths must be a sequence with one path per sample, got {paths!r}") from None
    return _Elements(paths) if len(paths) and hasattr(paths[0], "as_py") else paths


def check_paths(paths: Any, load: Any, on_error: Any) -> Sequence[Any]:
    """Return ``as_paths``; raise TypeError or ValueError if no samples can be read of these."""
    sequence: Sequence[Any] = as_paths(paths)
    if not len(sequence):
        raise ValueError("paths is empty: pass at least one")
    if on_error not in ("raise", "skip"):
        raise ValueError(f'on_error must be "raise" or "skip", got {on_error!r}')
    if not callable(load):
        raise TypeError(f"load and transform must be functions, got load={load!r}")
    return sequence


def pack(values: list[Any]) -> Sequence[Any]:
    """Return the values packed if they all are str, or paths of one class of pathlib, else the list."""
    kind = type(values[0]) if values else None
    is_path = kind is not None and issubclass(kind, PurePath) and kind.__module__.partition(".")[0] == "pathlib"
    if kind is not None and (kind is str or is_path) and all(type(value) is kind for value in values):
        return PackedStrings(values, kind)
    return values


def _is_indexable(paths: Any) -> bool:
    if isinstance(paths, np.ndarray):
        return paths.ndim > 0
    return hasattr(paths, "__getitem__") and hasattr(paths, "__len__") and not isinstance(paths, Mapping)


def check_index(index: int, n: int) -> int:
    """Return the index of a sample of n, from 0; raise TypeError or IndexError if there is none."""
    try:
        i = operator.index(index)
    except TypeError:
        hint = ": pass a sampler that yields lists as batch_sampler=" if isinstance(index, (list, tuple)) else ""
        raise TypeError(f"a sample's index must be an int, got {index!r}{hint}") from None
    if not -n <= i < n:
        raise IndexError(f"sample {i} is out of range: the dataset has {n} samples")
    return i % n
