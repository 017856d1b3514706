"""Hits of decorated functions, a hundred in a loop."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from benchmarks.hit import KEYS
from benchmarks.peers.decorators import DECORATORS, decorated


@pytest.mark.parametrize("name", DECORATORS)
@pytest.mark.benchmark(group=f"{len(KEYS)} hits, one str argument")
def test_hit(benchmark: Any, name: str, tmp_path: Path) -> None:
    """Every value is the function's, and the function is not called again."""
    calls: list[str] = []

    def function(key: str) -> str:
        calls.append(key)
        return key.upper()

    read = decorated(name, function, tmp_path)
    expected = [read(key) for key in KEYS]
    assert benchmark(lambda: [read(key) for key in KEYS]) == expected == [key.upper() for key in KEYS]
    assert calls == KEYS
