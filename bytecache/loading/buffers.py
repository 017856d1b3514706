"""A pool of batch arrays that are reused once nothing refers to them any more."""

from __future__ import annotations

import sys
import threading
from typing import Any

import numpy as np

from ..images.arrays import Array
from ..system.collection import no_collection

_MAX_ARRAYS = 16


class BufferPool:
    """A pool of arrays whose memory is lent again once no view or tensor of it is left.

    Whatever uses an array, or shares its memory, holds a reference to it: numpy's views do, and so do the tensors that
    TensorFlow and torch create over an array without a copy. So an array that only the pool refers to is free.
    Safe for threads.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()  # guards _arrays
        self._arrays: list[Array] = []

    def borrow(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
        """Return an array of this shape and dtype, with arbitrary contents; a new one if all in the pool are in use.

        The pool keeps a limited number of arrays; one beyond that is freed after use.
        """
        with no_collection, self._lock:
            for index in range(len(self._arrays)):
                if sys.getrefcount(self._arrays[index]) == _references_when_free():
                    if self._arrays[index].shape != shape or self._arrays[index].dtype != dtype:
                        self._arrays[index] = np.empty(shape, dtype)
                    return self._arrays[index][:]
            array = np.empty(shape, dtype)
            if len(self._arrays) < _MAX_ARRAYS:
                self._arrays.append(array)
            return array[:]


def _references_when_free() -> int:
    arrays = [np.empty(0)]
    return sys.getrefcount(arrays[0])
