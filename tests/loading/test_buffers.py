"""The pool of batch arrays: memory that anything refers to is never lent twice."""

from __future__ import annotations

import numpy as np
import pytest

from bytecache.loading import buffers
from bytecache.loading.buffers import BufferPool


def test_an_array_is_lent_again_only_when_nothing_refers_to_it():
    """A view, however derived, keeps its array in use; without one the memory is reused."""
    pool = BufferPool()
    first = pool.borrow((4, 2), np.dtype(np.uint8))
    address = first.ctypes.data
    part = first[1:3].reshape(-1)
    del first
    other = pool.borrow((4, 2), np.dtype(np.uint8))
    assert other.ctypes.data != address
    del part
    again = pool.borrow((4, 2), np.dtype(np.uint8))
    assert again.ctypes.data == address
    assert again.flags.writeable and again.shape == (4, 2)


def test_a_torch_tensor_over_an_array_keeps_it_in_use():
    """torch.from_numpy shares the memory, so it is not lent while the tensor lives."""
    torch = pytest.importorskip("torch")
    pool = BufferPool()
    tensor = torch.from_numpy(pool.borrow((2, 2), np.dtype(np.float32)))
    assert pool.borrow((2, 2), np.dtype(np.float32)).ctypes.data != tensor.data_ptr()


def test_the_pool_keeps_a_limited_number_of_arrays(monkeypatch):
    """Arrays beyond the limit are new ones that the pool does not keep."""
    monkeypatch.setattr(buffers, "_MAX_ARRAYS", 2)
    pool = BufferPool()
    borrowed = [pool.borrow((2,), np.dtype(np.uint8)) for _ in range(5)]
    assert len({array.ctypes.data for array in borrowed}) == 5
    assert len(pool._arrays) == 2


def test_another_shape_replaces_a_free_array():
    """A free array of another shape is not lent as it is."""
    pool = BufferPool()
    pool.borrow((4, 2), np.dtype(np.uint8))
    assert pool.borrow((3, 3), np.dtype(np.float32)).shape == (3, 3)
    assert len(pool._arrays) == 1
