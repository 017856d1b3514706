"""Tests for stores of your own, for pytest, and a store that fails by seed.

A store is a subclass of :class:`bytecache.stores.base.Store`, whose partitions are subclasses of ``Partition`` there.
:class:`StoreTests` says whether ``fill_once(store=...)`` can rely on it::

    import pytest
    from bytecache.testing import StoreTests

    class TestMyStore(StoreTests):
        @pytest.fixture
        def store(self):  # empty, with room for `capacity` values of `nbytes` bytes, as the store counts them
            store = MyStore(maxbytes=self.capacity * (self.nbytes + self.overhead))
            yield store
            store.close()

        @pytest.fixture
        def roomy(self):  # the same with room for a few KB, for values of other types
            store = MyStore(maxbytes="1 MiB")
            yield store
            store.close()

The functions' values must be bytes-like objects, and may be what :mod:`bytecache.stores.codec` encodes: name in
``refuses`` the types that the store does not keep. A test that cannot hold for a store is overridden in the subclass.

:class:`FaultyStore` puts faults into a store: with it a test shows that no fault changes a value, and what it costs::

    store = FaultyStore(MyStore(maxbytes="1 GiB"), seed=1, rate=0.1)
    load = bytecache.fill_once(store=store)(read)
"""

from __future__ import annotations

try:
    import pytest
except ImportError:
    raise ImportError("bytecache.testing needs the pytest package: pip install pytest", name="pytest") from None

pytest.register_assert_rewrite("bytecache.conformance")  # before it is imported: a failed assert shows its values

from .conformance.faulty import FaultyStore  # noqa: E402
from .conformance.function_tests import StoreTests  # noqa: E402

__all__ = ["FaultyStore", "StoreTests"]
