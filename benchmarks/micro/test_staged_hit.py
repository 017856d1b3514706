"""Hits of a pipeline's last stage, beside those of fill_once, a hundred in a loop; hits that go on from the first."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import bytecache
from benchmarks.hit import KEYS
from benchmarks.workloads.files import MEMORY, scratch

VALUE = bytes(8000)


def read(key: Any) -> bytes:
    return VALUE


def same(data: bytes) -> bytes:
    return data


READERS: dict[str, Callable[..., Any]] = {
    "fill_once": lambda **place: bytecache.fill_once(**place)(read),
    "staged": lambda **place: bytecache.staged(read, same, items=len(KEYS), cost=[1.0, 1.0], **place),
    "staged, first of two stages": lambda **place: bytecache.staged(read, same, cost=[1.0, 0.0], **place),
}


@pytest.fixture(params=["memory", "store"])
def place(request: pytest.FixtureRequest) -> Iterator[dict[str, Any]]:
    """Where the values are kept."""
    if request.param == "memory":
        yield {"maxbytes": "100 MiB"}
        return
    with scratch(MEMORY) as folder:
        store = bytecache.SharedStore(folder / "store", maxbytes="100 MiB")
        yield {"store": store}
        store.close()


@pytest.mark.parametrize("kind", [str, Path])
@pytest.mark.parametrize("name", READERS)
@pytest.mark.benchmark(group=f"{len(KEYS)} hits of pipelines on values of 8 KB")
def test_staged_hit(benchmark: Any, name: str, kind: Any, place: dict[str, Any]) -> None:
    """Every value is the function's, and nothing is read again."""
    keys = [kind(key) for key in KEYS]
    load = READERS[name](**place)
    assert [load(key) for key in keys] == [VALUE] * len(keys)
    values = benchmark(lambda: [load(key) for key in keys])
    assert values == [VALUE] * len(keys) and load.cache_info().misses == len(keys)
