"""Functions that take a list of keys: how they are called, and what they may return."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


class SingleCall:
    """A batched function as one of a single key, which raises an exception that is its value."""

    __slots__ = ("_function", "_most")

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function, self._most = function, _most_arguments(function)

    def __call__(self, /, *args: Any, **kwds: Any) -> Any:
        """Return the value of the last argument; a method's instance is before it."""
        if kwds or not 1 <= len(args) <= self._most:
            name = _name_of(self._function)
            got = ", ".join([*map(repr, args), *(f"{key}={value!r}" for key, value in kwds.items())])
            raise TypeError(f"{name} is batched: it is called with one key, by position, or by map; got {name}({got})")
        value = None
        try:
            (value,) = call_with_batch(self._function, args[:-1], [args[-1]])
            if isinstance(value, Exception):
                raise value
            return value
        finally:
            del value  # the exception's traceback keeps this frame alive


def call_with_batch(function: Callable[..., Any], bound: tuple[Any, ...], keys: list[Any]) -> list[Any]:
    """Return the values that a batched function returns for `keys`, each on its own memory.

    bound: what the function gets before the list. Raises TypeError or ValueError for what is no list of as many values,
    and what is a value but no Exception, such as the CancelledError of a task.
    """
    values = value = None
    try:
        values = function(*bound, keys.copy())
        _check_values(function, values, len(keys))
        for value in values:
            if isinstance(value, BaseException) and not isinstance(value, Exception):
                raise value
        return [_own(one) for one in values]
    finally:
        del values, value  # the exceptions' tracebacks may keep this frame alive


def _check_values(function: Callable[..., Any], values: Any, expected: int) -> None:
    is_array = isinstance(values, np.ndarray) and values.ndim > 0
    if not (is_array or isinstance(values, Sequence)) or isinstance(values, (str, bytes, bytearray, memoryview)):
        raise TypeError(
            f"{_name_of(function)} is batched: it must return a list with a value or an exception for each key of its "
            f"list, in order, got {type(values).__name__}"
        )
    if len(values) != expected:
        raise ValueError(
            f"{_name_of(function)} is batched: it must return a value or an exception for each of its {expected} "
            f"keys, in order, got {len(values)}; none of them was stored"
        )


def _own(value: Any) -> Any:
    """Return a row of an array as an array of its own: else each row would keep the whole one alive."""
    if isinstance(value, np.ndarray) and isinstance(value.base, np.ndarray) and value.base.nbytes > value.nbytes:
        return value.copy()
    return value


def _most_arguments(function: Callable[..., Any]) -> int:
    """Return how many arguments come before the end of a call with one key: two if the first is an instance."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):  # one in C
        return 2
    if any(parameter.kind is inspect.Parameter.VAR_POSITIONAL for parameter in parameters):
        return 2
    required = [one for one in parameters if one.kind in _POSITIONAL and one.default is inspect.Parameter.empty]
    return 2 if len(required) > 1 else 1


def _name_of(function: Callable[..., Any]) -> str:
    return getattr(function, "__qualname__", None) or repr(function)
