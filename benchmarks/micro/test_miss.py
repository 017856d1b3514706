"""Misses of decorated functions, which store what they read: a hundred new keys in each round."""

from __future__ import annotations

from itertools import count
from pathlib import Path
from typing import Any

import pytest

from benchmarks.peers.decorators import DECORATORS, decorated

MISSES, ROUNDS = 100, 50


@pytest.mark.parametrize("name", DECORATORS)
@pytest.mark.benchmark(group=f"{MISSES} misses, one str argument")
def test_miss(benchmark: Any, name: str, tmp_path: Path) -> None:
    """Every key is read once."""
    numbers, calls = count(), []
    read = decorated(name, lambda key: calls.append(key) or key.upper(), tmp_path)

    def setup() -> tuple[tuple[list[str]], dict[str, Any]]:
        return ([f"/data/train/{next(numbers):06d}.jpg" for _ in range(MISSES)],), {}

    values = benchmark.pedantic(lambda keys: [read(key) for key in keys], setup=setup, rounds=ROUNDS, warmup_rounds=1)
    assert values == [key.upper() for key in calls[-MISSES:]]
    assert len(calls) == len(set(calls)) == MISSES * (ROUNDS + 1)
