"""admit="dense": the smallest files are kept, in memory and in shared stores."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.counting import counting

import bytecache


def read_bytes(path: Any) -> bytes:
    return Path(path).read_bytes()


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    """Files of 1,000 to 20,000 bytes, the largest first."""
    paths = [tmp_path / f"{n}.jpg" for n in range(20)]
    for n, path in enumerate(paths):
        path.write_bytes(bytes(1000 * (20 - n)))
    return paths


@pytest.fixture(params=["memory", "shared", "batched"])
def decorate(request: pytest.FixtureRequest, stores: Any) -> Any:
    """fill_once with admit="dense" and a budget, for functions of one path."""

    def decorator(items: Any, maxbytes: int, **options: Any) -> Any:
        if request.param == "shared":
            return bytecache.fill_once(admit="dense", items=items, store=stores(maxbytes), **options)
        if request.param == "memory":
            return bytecache.fill_once(admit="dense", items=items, maxbytes=maxbytes, **options)
        batched = bytecache.fill_once(admit="dense", items=items, maxbytes=maxbytes, batched=True, **options)
        return lambda function: batched(lambda paths: [function(path) for path in paths])

    return decorator


def test_the_smallest_are_kept(decorate: Any, files: list[Path]) -> None:
    """Whatever comes first; the others are read at each call, and counted as rejected."""
    f, ran = counting(decorate(files, 16_000), read_bytes)
    for _ in range(2):
        assert [len(value) for value in f.map(files)] == [path.stat().st_size for path in files]
    assert f.cache_info().currsize == 5 and [f.cache_contains(path) for path in files[-6:]] == [False] + [True] * 5
    stats = f.cache_stats()
    assert (stats.hits, stats.misses, stats.rejected) == (5, 35, 30) and len(ran) == 35
    assert f.cache_parameters()["largest"] in range(5000, 5100)


def test_a_budget_for_all(decorate: Any, files: list[Path]) -> None:
    """If all files fit, all are stored, also ones that are not among the items."""
    f, _ = counting(decorate(files[1:], 1 << 20), read_bytes)
    f.map(files)
    assert f.cache_info().currsize == 20 and "largest" not in f.cache_parameters()


def test_a_budget_for_none(decorate: Any, files: list[Path]) -> None:
    """If the smallest file is too large, nothing is stored."""
    f, _ = counting(decorate(files, 500), read_bytes)
    assert f(files[-1]) == bytes(1000)
    assert f.cache_info().currsize == 0


def test_warm_passes_over_what_is_too_large(decorate: Any, files: list[Path]) -> None:
    """No file is read that will not be stored."""
    f, ran = counting(decorate(files, 16_000), read_bytes)
    assert f.warm(files, threads=1).currsize == 5 and ran == files[-5:]


def test_as_many_hits_as_predicted(tmp_path: Path) -> None:
    """At a fifth of the bytes and sizes that are log-normal (0.6), 38 % of the files are kept, as simulate predicts."""
    sizes = np.random.default_rng(5).lognormal(8, 0.6, 2000).astype(int)
    paths = [tmp_path / str(n) for n in range(len(sizes))]
    for path, size in zip(paths, sizes.tolist(), strict=True):
        path.write_bytes(bytes(size))
    budget = int(sizes.sum()) // 5
    f = bytecache.fill_once(maxbytes=budget, admit="dense", items=paths)(read_bytes)
    rng = np.random.default_rng(6)
    for _ in range(2):
        before = f.cache_stats()
        for n in rng.permutation(len(paths)).tolist():
            f(paths[n])
    hit_rate = (f.cache_stats() - before).hit_rate
    trace = [n for _ in range(2) for n in rng.permutation(len(paths)).tolist()]
    simulated = bytecache.simulate(trace, "dense", budget, sizes=lambda n: int(sizes[n]) + bytecache.sizeof(b""))
    predicted = simulated["dense"].part(len(paths)).hit_rate
    assert f.cache_info().currsize >= 0.38 * len(paths) and abs(hit_rate - predicted) < 0.01


def test_a_method_and_a_copy(files: list[Path]) -> None:
    """The limit belongs to the method, and goes along when a function is copied by value."""

    class Reader:
        @bytecache.fill_once(maxbytes=16_000, admit="dense", items=files)
        def read(self, path: Path) -> bytes:
            return path.read_bytes()

    reader = Reader()
    reader.read.map(files)
    assert Reader.read.cache_info().currsize == 5
    cached = bytecache.fill_once(maxbytes=16_000, admit="dense", items=files)(Path.read_bytes)
    copy = pickle.loads(pickle.dumps(cached))
    copy.map(files)
    assert copy.cache_info().currsize == 5


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"admit": "dense"}, TypeError, "needs items=, the paths of all files that will be read, got None"),
        ({"admit": "dense", "items": "a.jpg"}, TypeError, "needs items=, .* got 'a.jpg'"),
        ({"admit": "dense", "items": ["a.jpg"]}, FileNotFoundError, "a.jpg"),
        ({"admit": "dense", "items": [], "sizeof": len}, TypeError, "leave sizeof out"),
        ({"admit": "dense", "items": [], "maxbytes": None}, TypeError, "fills a budget: give one"),
        ({"admit": "small"}, ValueError, 'admit must be "first", or "dense" with items=, got \'small\''),
        ({"items": []}, ValueError, "got 'first' and items="),
    ],
)
def test_wrong_arguments(options: dict[str, Any], error: type[Exception], message: str) -> None:
    """Each is refused when the function is decorated, and the message says what was expected."""
    with pytest.raises(error, match=message):
        bytecache.fill_once(**{"maxbytes": 1000, **options})
