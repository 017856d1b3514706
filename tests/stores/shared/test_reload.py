"""Modules that are loaded again, as by importlib.reload and IPython's %autoreload: their stores and values stay."""

from __future__ import annotations

import gc
import importlib
import multiprocessing
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from bytecache.stores.shared.run_folder import run_id

SOURCE = '''
import bytecache

made = [bytecache.SharedStore(maxbytes="1 MiB") for _ in range(2)]

def make():
    return bytecache.SharedStore(maxbytes="1 MiB")

made += [make(), make()]
ran = []

@bytecache.fill_once(store=made[0])
def stored(n):
    """Return n bytes."""
    ran.append(n)
    return b"x" * n

@bytecache.fill_once(shared=True, maxbytes="1 MiB")
def shared(n):
    """Return n bytes."""
    ran.append(n)
    return b"x" * n

def look():
    return stored(5) == shared(5), ran, [str(store.path) for store in made], str(shared._store.path)
'''


@pytest.fixture
def load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], ModuleType]]:
    """A function that loads a module of this source, or loads it again."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    name = f"loaded_{os.getpid()}_{tmp_path.name}"

    def load(source: str) -> ModuleType:
        (tmp_path / f"{name}.py").write_text(source)
        importlib.invalidate_caches()
        return importlib.reload(sys.modules[name]) if name in sys.modules else importlib.import_module(name)

    yield load
    del sys.modules[name]


def folders() -> set[str]:
    """Return the folders of this run's stores."""
    gc.collect()
    return {str(path) for path in Path("/dev/shm").glob(f"bytecache-{os.geteuid()}-{run_id()}-*")}


def test_a_module_that_is_loaded_again_goes_on_with_its_stores(load: Any) -> None:
    """A reload finds the values of all stores of the module, made in a loop or by a function, and makes no others."""
    before = folders()
    first = load(SOURCE).look()
    made = folders()
    assert (first[:2], len(made - before), len(set(first[2]))) == ((True, [5, 5]), 5, 4)
    for source in SOURCE, SOURCE.replace("Return n bytes.", "Return some bytes,\n    n of them."):
        again = load(source).look()
        assert (again, folders()) == ((True, [], *first[2:]), made)


@pytest.mark.foreign_threads
def test_a_child_that_loads_the_module_once_shares_with_a_parent_that_loaded_it_twice(load: Any) -> None:
    """Spawned children of a parent that has reloaded the module find its stores and its values."""
    load(SOURCE)
    module = load(SOURCE)
    here = module.look()
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.apply(module.look) == (True, [], *here[2:])


def test_an_edited_module_leaves_nothing_of_the_one_before(load: Any) -> None:
    """Stores that the edited module no longer makes, and those of edited functions, are removed with it."""
    before = folders()
    load(SOURCE).look()
    moved = load("\n\n" + SOURCE.replace('b"x"', 'b"y"')).look()
    assert (moved[1], len(folders() - before)) == ([5, 5], 5)
    assert folders() - before == {*moved[2], moved[3]}
