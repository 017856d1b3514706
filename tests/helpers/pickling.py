"""Functions of any values over a store of bytes."""

from __future__ import annotations

import functools
import pickle
import warnings
from collections.abc import Callable
from typing import Any

from helpers.internals import check_function


class PickledFunction:
    """A cached function whose values are pickled, so that a store of bytes can keep lists and the like."""

    def __init__(self, function: Callable[..., Any], decorate: Callable[..., Any]) -> None:
        check_function(function)
        functools.update_wrapper(self, function)

        @functools.wraps(function)
        def as_bytes(*args: Any, **kwds: Any) -> bytes:
            return pickle.dumps(function(*args, **kwds))

        self._cached = cached = decorate(as_bytes)
        self.cache_info, self.cache_stats = cached.cache_info, cached.cache_stats
        self.cache_clear, self.cache_parameters = cached.cache_clear, cached.cache_parameters
        self.cache_contains, self.cache_discard = cached.cache_contains, cached.cache_discard

    def __call__(self, /, *args: Any, **kwds: Any) -> Any:
        return pickle.loads(self._cached(*args, **kwds))

    def map(self, keys: Any, threads: Any = None, **options: Any) -> list[Any]:
        values = self._cached.map(keys, threads, **options)
        return [pickle.loads(value) if isinstance(value, bytes) else value for value in values]

    def warm(self, keys: Any, threads: Any = None, **options: Any) -> Any:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            stats = self._cached.warm(keys, threads, **options)
        for warning in caught:
            assert warning.filename == __file__, "the warning does not point at the caller of warm"
            warnings.warn(warning.message, warning.category, stacklevel=2)
        return stats
