"""Workers of every start method get instances with cached functions, and functions without their caches."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from helpers.threads import PATIENCE_S

import bytecache

METHODS = ["fork", "forkserver", "spawn"]
JOB = Path(__file__).parents[1] / "jobs" / "pickled_instances.py"


def job(method: str, script: Path = JOB) -> Any:
    """Return what a job prints, run with a start method."""
    path = os.pathsep.join([str(Path(bytecache.__file__).parents[1]), str(Path(__file__).parents[1])])
    done = subprocess.run(
        [sys.executable, script, method],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=5 * PATIENCE_S,  # torch is imported twice
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.skipif(sys.platform != "linux", reason="shared stores, and fork")
@pytest.mark.parametrize("method", METHODS)
def test_pickled_instances_work(method: str) -> None:
    """What is cached in memory starts empty, with its options; what is shared finds the parent's values.

    Three calls: of a value read anew two hit; of one that the parent has stored all three hit; uncached none does.
    """
    found = job(method)
    for kind, expected in ("memory", [2, 1]), ("shared", [3, 0]):
        functions = found[kind]
        assert [name for name, (_, same, *_) in functions.items() if not same] == []
        for name in "of_partial", "of_bound", "of_function", "of_object":
            assert functions[name][2:4] == expected, (kind, name)
        values = {name: value for name, (value, *_) in functions.items()}
        assert values["of_partial"] == values["of_partial.uncached"] == values["method"] == values["of_bound"] == "aa"
        assert (values["of_function"], values["of_object"], values["of_builtin"]) == ("pp", "cc", "\0\0")
        assert functions["of_builtin"][2:4] == [2, 1] and functions["method"][2] == 2
        assert functions["method"][4] == 10
        assert functions["shared_method"][2:4] == [3, 0]
        for name, (_, _, hits, misses, maxsize) in functions.items():
            if name.endswith("uncached") or name in ("1", "2", "3"):
                assert (hits, maxsize) == (0, 0) and misses >= 3, name
    assert [found["memory"][name][0] for name in "0123"] == ["aa", "aa", "rr", "ss"]


DATALOADER = """
import json, sys
from torch.utils.data import ConcatDataset, DataLoader
import bytecache
from bytecache.torch import ImageDataset, collate
from helpers.images import flat_jpeg

class Files:
    @bytecache.fill_once
    def read(self, n):
        return flat_jpeg(16, 16, 9)

@bytecache.fill_once
def read(n):
    return flat_jpeg(16, 16, 9)

if __name__ == "__main__":
    loads = read.uncached, Files().read.uncached, Files().read
    data = ConcatDataset([ImageDataset(range(2), range(2), load=load, size=(16, 16)) for load in loads])
    loader = DataLoader(data, batch_size=2, num_workers=1, collate_fn=collate, multiprocessing_context=sys.argv[1])
    sizes = [list(images.shape) for images, _ in loader]
    print(json.dumps([sizes, read.cache_info(), read.uncached.cache_info()]))
"""


@pytest.mark.parametrize("method", METHODS)
def test_a_dataloader_reads_uncached(method: str, tmp_path: Path) -> None:
    """Workers of a DataLoader take ``read.uncached``, of a function or an instance, and nothing is stored here."""
    pytest.importorskip("torch", reason="the DataLoader is torch's")
    script = tmp_path / "script.py"
    script.write_text(DATALOADER)
    sizes, *infos = job(method, script)
    assert sizes == [[2, 3, 16, 16]] * 3
    assert infos == [[0, 0, None, 0], [0, 0, 0, 0]]


@pytest.mark.skipif(sys.platform != "linux", reason="shared stores")
@pytest.mark.parametrize("pickler", ["cloudpickle", "dill"])
def test_a_class_of_a_script_reaches_a_process_that_cannot_import_it(pickler: str) -> None:
    """Its methods, static methods and class methods are copied with it: empty in memory, at work in a shared store.

    What is one function in the script is one in the copy: a reader's method counts for the bound one beside it too.
    """
    pytest.importorskip(pickler)
    found = job(pickler, JOB.with_name("methods_by_value.py"))
    values, counts = [row[:2] for row in found], [row[2:] for row in found]
    assert values == [[text] * 2 for text in ("aa", "ss", "ss", "aa", "aa", "aa", "ss", "RR", "aa", "aa")]
    assert counts == [[2, 1], [1, 1], [0, 2], [2, 0], [0, 2], [4, 1], [3, 1], [1, 1], [4, 0], [0, 4]]
