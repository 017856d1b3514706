"""The tests that stores of others inherit: they fail for a store that breaks the contract, and say what they need."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import bytecache

STORE = """
import pytest
from bytecache.stores.base import MISSING
from bytecache.testing import StoreTests
from helpers.dict_store import DictPartition, DictStore, StoreByName, made

class Broken(DictPartition):
{broken}

class BrokenStore(StoreByName):
    def partition(self, function_id, name, maxsize=None):
        return self.partitions.setdefault(function_id, Broken(self, maxsize))

class TestBroken(StoreTests):
    @pytest.fixture
    def store(self):
        store = BrokenStore(self.capacity * self.nbytes)
        made[id(store)] = store
        return store

    @pytest.fixture
    def roomy(self):
        return BrokenStore(1 << 20)
"""
BROKEN = {
    "nothing": ("pass", None),
    "a hit is not counted": (
        "def get(self, key, copy=True): return DictPartition.get(self, key) if key not in self.values else "
        "__import__('bytecache').stores.codec.decode(*self.values[key])",
        "test_a_hit_is_a_get_that_finds",
    ),
    "a value of an earlier generation is stored": (
        "def put(self, key, value, generation): return super().put(key, value, self.generation)",
        "test_what_was_read_before_a_clear",
    ),
    "a value is replaced": (
        "def put(self, key, value, generation): self.values.pop(key, None); return super().put(key, value, generation)",
        "test_a_value_is_never_replaced",
    ),
    "discard says nothing": ("def discard(self, key): super().discard(key)", "test_discard"),
    "what is put is handed out": (
        "def put(self, key, value, generation): return super().put(key, value, generation)._replace(value=value)",
        "test_bytes_come_back_as_bytes_that_nobody_changes",
    ),
    "the budget is not kept": ("full = False", "test_a_full_partition"),
}


def run(code: str, *options: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run pytest over a file of this code, in a process of its own."""
    (cwd / "test_broken.py").write_text(code)
    roots = [Path(bytecache.__file__).parents[1], Path(__file__).parent]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, roots))}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", "TestBroken", "test_broken.py"]
    return subprocess.run([*command, *options], cwd=cwd, env=environment, capture_output=True, text=True)


@pytest.mark.parametrize("what", BROKEN)
def test_a_store_that_breaks_the_contract_fails(what: str, tmp_path: Path) -> None:
    """The test that says so fails, and shows the values; one that keeps it passes all of them."""
    broken, test = BROKEN[what]
    done = run(STORE.format(broken=f"    {broken}"), cwd=tmp_path)
    if test is None:
        assert done.returncode == 0 and "failed" not in done.stdout, done.stdout
    else:
        assert done.returncode == 1 and f"FAILED test_broken.py::TestBroken::{test}" in done.stdout, done.stdout
        assert "\nE       " in done.stdout


def test_a_class_without_a_store_says_what_it_needs(tmp_path: Path) -> None:
    """Its tests end with an error that names the fixture."""
    code = "from bytecache.testing import StoreTests\nclass TestBroken(StoreTests): ..."
    done = run(code, "-x", cwd=tmp_path)
    assert "TestBroken needs a fixture `store`, which makes the store to be tested" in done.stdout


def test_pytest_is_needed() -> None:
    """Without it the import says so; bytecache itself does not import it."""
    code = "import sys; sys.modules['pytest'] = None; import bytecache; import bytecache.testing"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "ImportError: bytecache.testing needs the pytest package: pip install pytest" in done.stderr
