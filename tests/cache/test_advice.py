"""One warning if a cache does not help: with the likely reason, once, and never for a cache that does."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.internals import cache_of

import bytecache
from bytecache import SharedStore, fill_once, lru_cache


def passes(read: Callable[..., Any], items: list[Any], n: int) -> None:
    """Call `read` with each item in a new order in each of n passes."""
    rng = random.Random(0)
    for _ in range(n):
        rng.shuffle(items)
        for item in items:
            read(item)


@pytest.fixture
def told() -> Iterator[Callable[[], list[str]]]:
    """A function that returns the warnings so far."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield lambda: [str(warning.message) for warning in caught]


@pytest.mark.exhaustive
@pytest.mark.parametrize("n", [10, 63, 64, 65, 200, 3000])
@pytest.mark.parametrize("fraction", [0.01, 0.1, 0.5, 1.0, None])
@pytest.mark.parametrize("decorator", [fill_once, lru_cache])
def test_a_cache_that_helps_says_nothing(decorator: Any, fraction: float | None, n: int) -> None:
    """Whatever share of the data it has room for, over shuffled passes; warnings are errors here."""
    maxsize = None if fraction is None else max(1, int(n * fraction))
    if maxsize is not None and 10 * maxsize < n:
        n = 10 * maxsize  # it cannot know that a pass over more is not over yet
    read = decorator(maxsize)(lambda item: item)
    passes(read, list(range(n)), 3 if decorator is fill_once else 1)
    assert read.cache_stats().warnings == 0


def test_an_evicting_cache_smaller_than_a_pass(told: Callable[[], list[str]]) -> None:
    """In the same order each time, LRU hits nothing."""
    read = lru_cache(50)(lambda item: item)
    for item in [*range(100)] * 5:
        read(item)
    (message,) = told()
    assert message.endswith(
        "does not help: each value is evicted before it is asked for again: fill_once keeps what fits"
    )
    assert read.cache_stats().warnings == 1


@pytest.mark.parametrize("n", [5, 64, 500])
def test_a_budget_below_one_value(told: Callable[[], list[str]], n: int) -> None:
    """Nothing is ever stored."""
    read = fill_once(maxbytes=1000)(lambda item: bytes(2000))
    passes(read, list(range(n)), 5)
    (message,) = told()
    assert "no value fits in the budget of 1000 bytes: raise maxbytes" in message


def test_a_key_that_changes(told: Callable[[], list[str]]) -> None:
    """As file_key's does for files that are written again before each pass."""
    numbers = iter(range(10**6))
    read = fill_once(key=lambda item: (item, next(numbers)))(lambda item: item)
    passes(read, list(range(30)), 4)
    (message,) = told()
    assert "the same arguments get another key each time (key=, or typed=, changes it)" in message


def test_an_argument_that_changes(told: Callable[[], list[str]]) -> None:
    """The number of the epoch, say: the warning tells which it is."""
    read = fill_once(50)(lambda path, epoch: path)
    for epoch in range(30):
        for path in range(100):
            read(path, epoch)
    (message,) = told()
    assert "argument 2 changes in each call; unless your data has more than 1,024 items" in message


def test_instances_that_are_gone_before_they_are_asked_again(told: Callable[[], list[str]]) -> None:
    """A method of an instance that is made for each call never hits; one that is kept says nothing."""

    class Reader:
        @fill_once(maxbytes="1 MiB")
        def read(self, item: int) -> int:
            return item

    kept = Reader()
    for item in range(2000):
        kept.read(item % 500)
    assert told() == []
    Reader.read.cache_clear()
    for item in range(2000):
        Reader().read(item % 10)
    (message,) = told()
    assert "each instance is gone before its method is called again" in message and "keep_alive=True" in message


def test_keys_that_never_repeat(told: Callable[[], list[str]]) -> None:
    """A full cache that nothing has hit in ten times as many calls as it has entries."""
    read = fill_once(200)(lambda item: item)
    for item in range(2000):
        read(item)
    assert told() == []
    for item in range(2000, 2400):
        read(item)
    (message,) = told()
    assert "no call has come again so far" in message


def test_a_store_full_of_another_functions_values(tmp_path: Path, told: Callable[[], list[str]]) -> None:
    """Its budget is spent, and nothing is stored under this function."""
    store = SharedStore(tmp_path / "store", maxbytes=100_000)
    first = fill_once(store=store)(lambda item: bytes(9000))
    passes(first, list(range(50)), 1)
    second = fill_once(store=store)(lambda item: bytes(9000)[:-1])
    passes(second, list(range(20)), 4)
    store.close()
    (message,) = told()
    assert (
        "left of the store's 100000 bytes: raise maxbytes, or clear what other functions, and earlier vers" in message
    )


def test_a_store_full_under_other_keys(tmp_path: Path, told: Callable[[], list[str]]) -> None:
    """What an earlier run stored under text is not found under paths, and there is no room for it again."""
    items = [f"images/{number}.jpg" for number in range(100)]
    for convert in str, Path:
        store = SharedStore(tmp_path / "store", maxbytes=450_000)
        read = fill_once(store=store, version=1)(lambda item: bytes(9000))
        passes(read, [convert(item) for item in items], 3)
        store.close()
    (message,) = told()
    assert "it is full, and its 50 values are not found under the keys of these calls" in message


def test_clears_and_errors_are_no_trouble() -> None:
    """Values that were cleared are read again, and so are those whose read failed."""
    read = fill_once(lambda item: np.zeros(3))
    for _ in range(5):
        passes(read, list(range(40)), 1)
        read.cache_clear()
    failing = fill_once(lambda item: 1 // item)
    for _ in range(100):
        with pytest.raises(ZeroDivisionError):
            failing(0)
    assert read.cache_stats().warnings == failing.cache_stats().warnings == 0


def test_no_argument_is_hashed_again() -> None:
    """functools promises that one use of it hashes it once."""

    class Argument:
        hashed = 0

        def __hash__(self) -> int:
            self.hashed += 1
            return 1

    argument = Argument()
    read = fill_once(lambda item: 1)
    read(argument)
    assert argument.hashed == 1


def test_arguments_without_a_hash() -> None:
    """Only `key` is looked at then, and nothing is said."""
    read = fill_once(key=lambda item: item["id"])(lambda item: item["id"])
    passes(read, [{"id": n} for n in range(100)], 3)
    assert read.cache_info()[:2] == (200, 100)


SCRIPT = """
import sys
from torch.utils.data import DataLoader, Dataset
import bytecache

@bytecache.fill_once
def square(number):
    return number * number

class Squares(Dataset):
    def __len__(self):
        return 8

    def __getitem__(self, index):
        return square(index)

if __name__ == "__main__":
    loader = DataLoader(Squares(), batch_size=2, num_workers=int(sys.argv[2]), multiprocessing_context=sys.argv[1])
    assert len(list(loader)) == 4
"""


@pytest.mark.parametrize("context", ["fork", "forkserver", "spawn"])
@pytest.mark.parametrize("count", [1, 2])
def test_workers_with_a_cache_each(tmp_path: Path, context: str, count: int) -> None:
    """The first of several says so; a single one may stay, and then it has all."""
    pytest.importorskip("torch", reason="needs torch")
    script = tmp_path / "train.py"
    script.write_text(SCRIPT)
    environment = {**os.environ, "PYTHONPATH": str(Path(bytecache.__file__).parents[1])}
    command = [sys.executable, script, context, str(count)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    message = 'each of the 2 workers fills a cache of its own: fill_once(shared=True, maxbytes="...") gives them one'
    assert done.stderr.count(message) == count - 1


def test_another_thread_forgets_the_calls() -> None:
    """That is no error of a read, also between the look for a call and what is known of it."""
    read = lru_cache(2)(lambda item: item)
    advice = cache_of(read).advice

    class Forgotten(dict[Any, Any]):
        def __contains__(self, call: object) -> bool:
            advice._calls = {}
            return super().__contains__(call)

    for item in range(16):
        read(item)
    advice._calls, advice._again = Forgotten(advice._calls), 15
    assert read(0) == 0
