"""The contracts of every cached function, over two shared stores as tiers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from contracts.batched import BatchedContract
from contracts.bulk import BulkContract
from contracts.calls import CallContract
from contracts.single_flight import SingleFlightContract
from helpers.pickling import PickledFunction

import bytecache
from bytecache import SharedStore
from bytecache.stores.shared.locks import OFD_LOCKS_AVAILABLE
from bytecache.system.byte_sizes import parse_size

pytestmark = pytest.mark.skipif(not OFD_LOCKS_AVAILABLE, reason="a shared store needs open file description locks")


@pytest.fixture(params=["below", "above"])
def tiered(request: pytest.FixtureRequest, stores: Callable[..., SharedStore]) -> Any:
    """A decorator over two tiers, of which the lower or the upper one has room for next to nothing."""

    def decorator(*args: Any, maxbytes: int | str = 1 << 22, **options: Any) -> Any:
        tiers = [stores(1), stores(max(1, parse_size(maxbytes) - 1))]
        return bytecache.fill_once(*args, store=tiers if request.param == "below" else tiers[::-1], **options)

    return decorator


class TestBatched(BatchedContract):
    """fill_once over tiers."""

    @pytest.fixture
    def decorate(self, tiered: Any) -> Any:
        return tiered


class Pickled:
    """The functions of these contracts return anything."""

    @pytest.fixture
    def decorate(self, tiered: Any) -> Any:
        return lambda *args, **options: lambda function: PickledFunction(function, tiered(*args, **options))


class TestCalls(Pickled, CallContract):
    """fill_once over tiers."""


class TestSingleFlight(Pickled, SingleFlightContract):
    """fill_once over tiers."""


class TestBulk(Pickled, BulkContract):
    """fill_once over tiers, whose files are open before: an interrupt while one is opened leaves a descriptor."""

    @pytest.fixture
    def decorate(self, tiered: Any) -> Any:
        def decorator(*args: Any, **options: Any) -> Any:
            def opened(function: Any) -> Any:
                cached = PickledFunction(function, tiered(*args, **options))
                cached.map([])
                return cached

            return opened

        return decorator
