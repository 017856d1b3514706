"""How many different keys have come."""

from __future__ import annotations

from typing import Any

import pytest

from bytecache.cache.staged.seen import Seen, lot_of


@pytest.mark.parametrize("count", [0, 1, 100, 50_000, 300_000])
@pytest.mark.parametrize("kind", [int, "/data/{}.jpg".format, lambda n: n.to_bytes(16, "big")], ids=["int", "str", "b"])
def test_keys_are_counted(count: int, kind: Any) -> None:
    """Within a percent, however often they come, numbers in order too."""
    seen = Seen()
    for n in range(count):
        seen.add(lot_of(kind(n)))
    for n in range(0, count, 7):
        seen.add(lot_of(kind(n)))
    assert seen.count() == pytest.approx(count, rel=0.01)
