"""Targets of any kind, one per sample: held compactly, and given out as copies."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..images.arrays import Array, is_numeric
from .paths import pack


class Fields:
    """Targets of several fields; a sample's target is the dict, or tuple, of its entry in each."""

    def __init__(self, fields: dict[str, Any] | tuple[Any, ...]) -> None:
        self.fields = fields

    def __getitem__(self, index: int) -> Any:
        if isinstance(self.fields, dict):
            return {name: field[index] for name, field in self.fields.items()}
        return tuple(field[index] for field in self.fields)


class Ragged:
    """Arrays (k, ...) of one dtype whose first axis differs, k may be 0, in one array: worker processes copy none."""

    def __init__(self, arrays: Sequence[Array]) -> None:
        filled = [array for array in arrays if array.size] or arrays[:1]
        rest = filled[0].shape[1:]
        dtype = np.result_type(*(array.dtype for array in filled))
        rows = [array if array.size else np.empty((0, *rest), dtype) for array in arrays]
        self.values, self._ends = np.concatenate(rows), np.cumsum([0, *map(len, rows)])

    def __getitem__(self, index: int) -> Array:
        start, end = self._ends[index : index + 2]
        rows: Array = self.values[start:end]
        return rows


def as_targets(targets: Any, n: int, name: str = "targets") -> Any:
    """Return what has the target of sample i at index i, or None; ``take_batch`` gives them out.

    Numbers become one array (n, ...). Lists and arrays that differ in their first axis alone, such as the boxes of
    each image, become arrays of one dtype; an empty list of boxes has the shape (0, 4) then. A dict of fields with n
    entries each, or a tuple of arrays of n rows each, is one such target per sample. Anything else of n entries stays
    as it is. Raises TypeError or ValueError for what has no entry for each of n samples.
    """
    if targets is None:
        return None
    if isinstance(targets, Mapping):
        _check_names(targets, name)
        return Fields({key: as_targets(field, n, f"{name}[{key!r}]") for key, field in targets.items()})
    if isinstance(targets, tuple) and targets and all(_rows(field) == n for field in targets):
        if len(targets) == n:
            raise ValueError(
                f"{name} may be {n} targets or {n} fields of all targets, got a tuple of {n} arrays of length {n}: "
                "pass a list for the first, a dict for the second"
            )
        return Fields(tuple(as_targets(field, n, f"{name}[{i}]") for i, field in enumerate(targets)))
    _check_entries(targets, n, name)
    return _compact(targets)


def _check_names(targets: Mapping[Any, Any], name: str) -> None:
    if not targets or not all(isinstance(key, str) for key in targets):
        keys = ", ".join(map(repr, list(targets)[:3]))
        raise TypeError(
            f"{name} as a dict must map names of fields to one entry per path each, got the keys {keys or 'of none'}: "
            "for a lookup by path pass [targets[path] for path in paths]"
        )


def _check_entries(targets: Any, n: int, name: str) -> None:
    """Raise TypeError or ValueError unless the targets can be indexed from 0 to n - 1."""
    try:
        length = len(targets)
    except TypeError:
        length = None
    if length is None or isinstance(targets, (str, bytes)) or not hasattr(targets, "__getitem__"):
        kind = type(targets).__name__
        raise TypeError(f"{name} must be indexable with one entry per path, got {kind}: pass a list or an array")
    if length != n:
        raise ValueError(f"{name} must have one entry per path, got {length} for {n}")


def _rows(field: Any) -> int | None:
    """Return the length of an array of any library, None of anything else."""
    shape = getattr(field, "shape", None)
    return int(shape[0]) if shape is not None and len(shape) else None


def _compact(targets: Any) -> Any:
    if isinstance(targets, (list, tuple)):
        return _compact_list(list(targets))
    if isinstance(targets, range):
        return np.asarray(targets)
    if not hasattr(targets, "__array__"):
        return targets
    try:
        converted = np.asarray(targets)  # also of a Series, by its positions
    except (TypeError, RuntimeError):  # tensors on a device, or of a dtype that numpy has not
        return targets
    if is_numeric(converted) or (isinstance(targets, np.ndarray) and converted.dtype.kind not in "OU"):
        return native(converted)
    return _compact_list(list(converted) if converted.ndim > 1 else converted.tolist())


def _compact_list(targets: list[Any]) -> Any:
    compact = _tensors_as_arrays(targets)
    kinds = (bool, int, float, complex, np.generic, np.ndarray, list, tuple)
    # A namedtuple is more than its numbers.
    if not all(isinstance(target, kinds) for target in compact) or hasattr(targets[0], "_fields"):
        return pack(targets)
    try:
        numbers = np.asarray(compact)
        exact = is_numeric(numbers) and not _is_rounded(numbers, compact)
        return native(numbers) if exact else targets
    except ValueError:  # of unequal shape
        return _ragged(compact) or targets


def _tensors_as_arrays(targets: list[Any]) -> list[Any]:
    """Return plain tensors of torch as arrays, as a spawned worker would open a file for each of them.

    What numpy cannot hold, such as bfloat16, stays a tensor, as do those of a class of their own, such as tv_tensors.
    """
    if type(targets[0]).__module__ != "torch":
        return targets
    try:
        return [target.numpy() if type(target).__module__ == "torch" else target for target in targets]
    except (TypeError, RuntimeError):  # on a device, of a dtype that numpy has not, or with gradients
        return targets


def _is_rounded(numbers: Array, targets: list[Any]) -> bool:
    """Return whether numbers are floats made of ints alone, as numpy does with ints on both sides of 2**63."""
    if numbers.dtype.kind != "f" or not (np.abs(numbers) >= 2.0**63).any():
        return False
    return all(isinstance(number, (int, np.integer)) for target in targets for number in np.array(target, object).flat)


def _ragged(targets: list[Any]) -> Ragged | None:
    """Return lists or arrays of numbers as Ragged; None if other axes than the first differ, or if not numbers."""
    if not all(isinstance(target, (list, np.ndarray)) for target in targets):
        return None
    try:
        arrays = [np.asarray(target) for target in targets]
    except ValueError:
        return None
    filled = [array for array in arrays if array.size]
    if any(array.ndim == 0 for array in arrays) or len({array.shape[1:] for array in filled}) > 1:
        return None
    if not all(map(is_numeric, filled)) or not _have_common_dtype(filled):
        return None
    ragged = Ragged(arrays)
    return None if _is_rounded(ragged.values, targets) else ragged


def _have_common_dtype(arrays: Sequence[Array]) -> bool:
    """Return whether one array holds all of these; ints of 64 bits with and without sign would become floats."""
    dtypes = {array.dtype for array in arrays}
    return len(dtypes) < 2 or np.result_type(*dtypes).kind in {dtype.kind for dtype in dtypes}


def native(array: Array) -> Array:
    """Return the array in the byte order of this machine, the only one of torch."""
    return array.astype(array.dtype.newbyteorder("="), copy=False)


class Chosen(Sequence[Any]):
    """The targets of these samples, each None if there are none; copies, which share no memory with what is held."""

    def __init__(self, targets: Any, indices: Array) -> None:
        self._targets, self._indices = targets, indices

    def __len__(self) -> int:
        return len(self._indices)

    def __getitem__(self, index: Any) -> Any:
        return None if self._targets is None else copied(self._targets[self._indices[index]])


def take_batch(targets: Any, indices: Array) -> Any:
    """Return the targets of these samples as a batch, see ``batched``; it shares no memory with what is held."""
    if isinstance(targets, np.ndarray):
        return targets[indices]
    if isinstance(targets, Fields):
        if isinstance(targets.fields, dict):
            return {name: take_batch(field, indices) for name, field in targets.fields.items()}
        return tuple(take_batch(field, indices) for field in targets.fields)
    return batched(list(Chosen(targets, indices)))


def copied(value: Any) -> Any:
    """Return the value with copies of the arrays, tensors and Pillow images in its dicts, lists and tuples.

    Objects of other classes are not copied.
    """
    if isinstance(value, np.ndarray):
        return value.copy()
    if type(value) is tuple:
        return tuple(map(copied, value))
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*map(copied, value))
    if isinstance(value, (dict, list)):
        own = copy.copy(value)  # of the same class, which may be an OrderedDict
        for key, entry in value.items() if isinstance(value, dict) else enumerate(value):
            own[key] = copied(entry)
        return own
    if hasattr(value, "clone") and hasattr(value, "shape"):
        return value.clone()
    return value.copy() if hasattr(value, "getpixel") else value


def batched(entries: Sequence[Any]) -> Any:
    """Return a batch of targets: arrays and numbers of one shape as one array, dicts and tuples field by field.

    What cannot be an array, such as strings and arrays of unequal shape, is the list of the entries.
    """
    first = entries[0]
    if isinstance(first, dict) and all(isinstance(entry, dict) and entry.keys() == first.keys() for entry in entries):
        return {key: batched([entry[key] for entry in entries]) for key in first}
    if isinstance(first, tuple) and all(isinstance(entry, tuple) and len(entry) == len(first) for entry in entries):
        return tuple(batched(parts) for parts in zip(*entries, strict=True))
    try:
        arrays = [np.asarray(entry) for entry in entries]
    except (TypeError, ValueError, RuntimeError):  # lists of unequal lengths, tensors that require gradients
        return list(entries)
    one_shape = len({array.shape for array in arrays}) == 1 and all(map(is_numeric, arrays))
    return np.stack(arrays) if one_shape and _have_common_dtype(arrays) else list(entries)
