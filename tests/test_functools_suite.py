"""CPython's own tests of functools.lru_cache, run against bytecache.lru_cache."""

from __future__ import annotations

import functools
import unittest

import pytest

import bytecache

suite = pytest.importorskip("test.test_functools", reason="this Python has no test package")


@bytecache.lru_cache()
def cached_func(x, y):
    return 3 * x + y


class Module:
    """The names that the suite uses of the functools module."""

    lru_cache = staticmethod(bytecache.lru_cache)
    partial = functools.partial
    WRAPPER_ASSIGNMENTS = functools.WRAPPER_ASSIGNMENTS
    WRAPPER_UPDATES = functools.WRAPPER_UPDATES
    _CacheInfo = bytecache.CacheInfo


class TestDropIn(suite.TestLRU, unittest.TestCase):
    """All of its tests except for one intended difference, and annotations."""

    module = Module
    cached_func = (cached_func,)
    test_lru_cache_threaded2 = None  # asserts that each of simultaneous calls with equal arguments runs the function
    test_common_signatures = None  # asserts that cache_info and cache_clear have no annotations; ours have

    @bytecache.lru_cache()
    def cached_meth(self, x, y):
        return 3 * x + y

    @staticmethod
    @bytecache.lru_cache()
    def cached_staticmeth(x, y):
        return 3 * x + y
