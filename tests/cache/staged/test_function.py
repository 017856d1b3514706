"""What staged returns as an object: what the door refuses, how it is called, copied and described."""

from __future__ import annotations

import copy
import json
import os
import pickle
import random
import subprocess
import sys
import warnings
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.threads import PATIENCE_S

import bytecache

JOB = Path(__file__).parents[2] / "jobs" / "staged_workers.py"


def read(key: str) -> bytes:
    return key.encode()


def decode(data: bytes) -> str:
    return data.decode()


def a_generator(key: str) -> Any:
    yield key


@pytest.mark.parametrize(
    ("stages", "options", "error", "message"),
    [
        ((), {"maxbytes": 9}, TypeError, "staged needs at least one stage"),
        ((read, 5), {"maxbytes": 9}, TypeError, "expected a stage, a function of one argument, got 5"),
        ((a_generator,), {"maxbytes": 9}, TypeError, "is a generator function"),
        ((bytecache.fill_once(read),), {"maxbytes": 9}, TypeError, "a stage must not be cached"),
        ((read,), {}, TypeError, 'staged fills a budget: give one, such as maxbytes="4 GiB"'),
        ((read,), {"shared": True}, TypeError, "staged fills a budget"),
        ((read,), {"maxbytes": 0}, ValueError, "maxbytes must be a positive int"),
        ((read,), {"maxbytes": "lots"}, ValueError, "maxbytes must be a positive int"),
        (
            (read,),
            {"store": 5},
            TypeError,
            "store must be a bytecache.SharedStore or another store, a list of such, or None, got 5",
        ),
        ((read,), {"maxbytes": 9, "version": 1}, TypeError, "version distinguishes values in a shared store"),
        ((read,), {"maxbytes": 9, "items": 0}, ValueError, "items must be an int of 1 or more"),
        ((read,), {"maxbytes": 9, "items": []}, ValueError, "items must be an int of 1 or more"),
        ((read,), {"maxbytes": 9, "items": 1.5}, TypeError, "items must be"),
        ((read,), {"maxbytes": 9, "items": "path"}, TypeError, "items must be"),
        ((read,), {"maxbytes": 9, "cost": 1.0}, ValueError, "cost must have one entry for each of the 1 stages"),
        ((read, decode), {"maxbytes": 9, "cost": [1]}, ValueError, "cost must have one entry for each of the 2 stages"),
        ((read,), {"maxbytes": 9, "cost": [-1]}, TypeError, "a stage's cost must be seconds, 0 or more"),
        ((read,), {"maxbytes": 9, "cost": ["1"]}, TypeError, "a stage's cost must be seconds, 0 or more"),
        ((read, decode), {"maxbytes": 9, "cost": [0, 0]}, ValueError, "more than 0 for one stage at least"),
        ((read,), {"maxbytes": 9, "typed": True}, TypeError, "unexpected keyword argument 'typed'"),
    ],
)
def test_wrong_arguments_are_refused(stages: Any, options: Any, error: Any, message: str) -> None:
    """The message says which argument, and what it must be."""
    with pytest.raises(error, match=message):
        bytecache.staged(*stages, **options)


def test_a_budget_and_a_store_exclude_each_other(stores: Any) -> None:
    """The budget is the store's."""
    with pytest.raises(TypeError, match="the budget is the store's"):
        bytecache.staged(read, store=stores(), maxbytes=9)


def test_items_may_be_the_keys_themselves() -> None:
    """A list of paths, an array or a number say how many there are."""
    for items in ["a", "b"], np.arange(2), 2, np.int64(2), {"a", "b"}:
        load = bytecache.staged(read, decode, maxbytes=1000, items=items)
        load("a")
        assert load.plan().items == 2


def test_any_key_that_can_be_hashed(stores: Any) -> None:
    """Paths, tuples, numbers and scalars of numpy are keys as in fill_once; others are a TypeError."""
    for place in {"maxbytes": 10_000}, {"store": stores()}:
        load = bytecache.staged(lambda key: str(key), len, **place)
        for key in "a", Path("a"), ("a", 1), 3, b"b", None, np.int64(7):
            assert load(key) == load(key) == len(str(key))
        assert load.cache_contains(7) and load.cache_info()[:2] == (7, 7)
        with pytest.raises(TypeError):
            load([])
        with pytest.raises(TypeError):
            load("a", "b")
        with pytest.raises(TypeError):
            load(key="a")
        assert load.cache_info()[:2] == (7, 7)


def test_a_hit_is_the_very_object() -> None:
    """In memory a hit of the last stage returns what it returned, not a copy."""
    load = bytecache.staged(read, list, maxbytes=10_000, cost=[1.0, 1.0], items=2)
    assert load("abc") is load("abc") is load.map(["abc"])[0]


def test_keys_of_all_stages() -> None:
    """cache_keys has the keys of what is kept after any stage; a store has only digests."""
    load = bytecache.staged(read, decode, lambda text: text * 300, maxbytes=4000, cost=[1.0, 0.0, 1.0], items=40)
    for _ in range(3):
        load.map(map(str, range(40)))
    kept = [stage.currsize for stage in load.cache_stats().stages]
    assert sum(kept) == len(load.cache_keys()) == len(set(load.cache_keys())) > 0
    assert all(load.cache_contains(key) for key in load.cache_keys())


def test_keys_of_a_store_are_not_known(stores: Any) -> None:
    """A store has digests alone."""
    with pytest.raises(TypeError, match="cache_keys is for caches in memory"):
        bytecache.staged(read, store=stores()).cache_keys()


def test_uncached(stores: Any) -> None:
    """``uncached`` runs all stages, keeps nothing, and counts for itself."""
    for place in {"maxbytes": 10_000}, {"store": stores()}:
        load = bytecache.staged(read, decode, **place)
        assert load.uncached("a") == "a" and load.uncached.map("ab") == ["a", "b"]
        assert load.cache_info() == (0, 0, None, 0) and load.uncached.cache_info()[:2] == (0, 3)


def test_copies_and_pickles(stores: Any) -> None:
    """copy and deepcopy return the function; a pickle in memory starts empty, over a store it finds the values."""
    in_memory = bytecache.staged(read, decode, maxbytes=10_000)
    shared = bytecache.staged(read, decode, store=stores(), cost=[1.0, 1.0])
    for load, found in (in_memory, (0, 1)), (shared, (1, 0)):
        load("a")
        assert copy.copy(load) is copy.deepcopy(load) is load
        for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
            again = pickle.loads(pickle.dumps(load, protocol))
            before = again.cache_info()
            assert again("a") == "a" and again.__name__ == load.__name__ == "staged(read, decode)"
            assert tuple(np.subtract(again.cache_info()[:2], before[:2])) == found


@pytest.mark.skipif(sys.platform != "linux", reason="shared stores, and fork")
@pytest.mark.parametrize("method", ["fork", "forkserver", "spawn"])
def test_workers_of_every_start_method(method: str, tmp_path: Path) -> None:
    """What is cached in memory starts empty, what is shared finds the parent's values; the plan is known in each."""
    path = os.pathsep.join([str(Path(bytecache.__file__).parents[1]), str(Path(__file__).parents[2])])
    done = subprocess.run(
        [sys.executable, JOB, method, tmp_path / "store"],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=5 * PATIENCE_S,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    for values, *_, items, name in found.values():
        assert (values, items, name) == ([1, 2, 1, 2, 3, 4, 5], 10, "staged(read, decode)")
    assert found["memory"][1] == [2, 5]
    for kind in "store", "shared", "tiers":
        own, everybody = found[kind][1:3]
        assert everybody == [9, 5] and own in ([7, 0], [9, 5])  # a forked child goes on counting in its own row


def test_it_is_freed_at_once(plain_gc: None) -> None:
    """It is in no reference cycle: when it is dropped, so are its values."""

    class Value:
        def __init__(self, key: str) -> None:
            self.key = key

    load = bytecache.staged(Value, lambda value: value, maxbytes=100_000)
    alive = weakref.ref(load("a"))
    for key in "abcdefgh":
        load(key)
    assert alive() is not None
    del load
    assert alive() is None


# The plan


def test_there_is_no_plan_before_a_first_item(stores: Any) -> None:
    """plan() raises RuntimeError; after one item it has what was measured."""
    for place in {"maxbytes": 10_000}, {"store": stores()}:
        load = bytecache.staged(read, decode, **place)
        with pytest.raises(RuntimeError, match=r"staged\(read, decode\) has measured nothing yet"):
            load.plan()
        load("a")
        plan = load.plan()
        assert [stage.name for stage in plan.stages] == ["read", "decode"] and plan.items == 1
        assert str(plan) and 0 <= plan.share <= 1 + 1e-9


def test_the_plan_counts_what_is_kept() -> None:
    """Items and bytes of each stage are those of cache_stats; what can be saved is saved after two epochs."""
    load = bytecache.staged(
        lambda key: bytes(100 + key), lambda data: data * 4, maxbytes=50_000, items=200, cost=[1.0, 0.5]
    )
    for epoch in range(3):
        for key in random.Random(epoch).sample(range(200), 200):
            load(key)
    plan, stages = load.plan(), load.cache_stats().stages
    assert [(one.items, one.kept_bytes) for one in plan.stages] == [(one.currsize, one.currbytes) for one in stages]
    assert plan.items == 200 and plan.share > 0.95 and plan.maxbytes == 50_000
    assert plan.choices["nothing"] == pytest.approx(300.0)
    assert plan.bound_s <= plan.epoch_s <= min(plan.choices.values()) * 1.03


# Warnings


@pytest.mark.parametrize("fraction", [0.02, 0.1, 0.5, 2])
@pytest.mark.parametrize("n", [100, 3000])
def test_a_pipeline_that_helps_says_nothing(fraction: float, n: int) -> None:
    """Whatever share of the data it has room for, over shuffled passes; warnings are errors here."""
    load = bytecache.staged(lambda key: bytes(200), lambda data: data * 3, maxbytes=int(fraction * 233 * n), items=n)
    keys = list(range(n))
    for epoch in range(3):
        random.Random(epoch).shuffle(keys)
        for key in keys:
            load(key)
    assert load.cache_stats().warnings == 0


def test_a_budget_in_which_nothing_fits() -> None:
    """It says so, once, and nothing else."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        load = bytecache.staged(lambda key: bytes(200), lambda data: data * 3, maxbytes=100, items=50)
        for _ in range(4):
            for key in range(50):
                load(key)
    assert [str(one.message) for one in caught] == [
        f"the cache of {load.__name__} does not help: no value fits in the budget of 100 bytes: raise maxbytes"
    ]
    assert load.cache_stats().rejected == 200


def test_a_pipeline_is_named_after_its_stages() -> None:
    """A partial by its function, an object by its class."""
    from functools import partial

    class Reader:
        def __call__(self, key: str) -> bytes:
            return b""

    load = bytecache.staged(Reader(), partial(decode), bytes.__len__, maxbytes=1000)
    assert repr(load) == "<staged(Reader, decode, __len__)>" and load.__module__
