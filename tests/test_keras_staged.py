"""keras.ImageDataset(maxbytes=): the batches are those without it, and what is kept is shared by all workers."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
from helpers.samples import CASES, SIZE, Load, N, damage, read_all, write_samples

import bytecache

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # TensorFlow's own, while it is imported
    pytest.importorskip("keras", reason="the Keras adapter needs keras")
    from bytecache.keras import CacheReport, ImageDataset
pytest.importorskip("PIL", reason="PNG files and masks are decoded by Pillow")


def dataset(paths, kind="file", **options):
    return ImageDataset(paths, np.arange(N), **{"batch_size": 5, "load": Load(kind), **options})


def batches_of(data):
    """Return the batches of a pass as (inputs, targets), the inputs as a tuple of arrays."""
    assert data.num_batches == len(data)  # begins a pass
    batches = [data[number] for number in range(len(data))]
    return [(each[0] if isinstance(each[0], tuple) else (each[0],), each[1]) for each in batches]


def assert_equal(batches, expected):
    for (inputs, targets), (others, numbers) in zip(batches, expected, strict=True):
        np.testing.assert_array_equal(targets, numbers)
        assert [each.dtype for each in inputs] == [each.dtype for each in others]
        for array, other in zip(inputs, others, strict=True):
            np.testing.assert_array_equal(array, other)


@pytest.mark.parametrize("shared", [True, None], ids=["shared", "private"])
@pytest.mark.parametrize("maxbytes", [40_000, "1 MiB"], ids=["some", "all"])
@pytest.mark.parametrize("name", CASES)
def test_batches_are_those_without_a_cache(tmp_path, name, maxbytes, shared):
    """Bit for bit, in each epoch, whatever of them is kept and wherever; damaged ones fail as they do without it."""
    kind, options = CASES[name]
    paths = write_samples(tmp_path, orientations="orient" in options)
    if "damaged" in name:
        damage(paths)
    plain = dataset(paths, kind, **options)
    cached = dataset(paths, kind, maxbytes=maxbytes, shared=shared, **options)
    for _ in range(3):
        assert_equal(batches_of(cached), batches_of(plain))
    assert cached.skipped == plain.skipped
    assert cached.load.cache_info().currsize > 0


def test_only_worker_processes_share_by_default(tmp_path):
    """A cache in memory has the keys of its values, a shared store has not."""
    paths = write_samples(tmp_path)
    for options in ({}, {"workers": 0}, {"workers": 4}, {"workers": 0, "use_multiprocessing": True}):
        assert dataset(paths, maxbytes="3 MiB", **options, **SIZE).load.cache_keys() == []
    for options in ({"workers": 2, "use_multiprocessing": True}, {"shared": True}):
        with pytest.raises(TypeError, match="digests"):
            dataset(paths, maxbytes="3 MiB", **options, **SIZE).load.cache_keys()


def test_transforms_get_copies_of_what_is_kept(tmp_path):
    """They may write to them."""
    paths = write_samples(tmp_path)

    def invert(image):
        np.subtract(255, image, out=image)
        return image

    plain = dataset(paths, transform=invert, **SIZE)
    cached = dataset(paths, transform=invert, maxbytes="1 MiB", **SIZE)
    for _ in range(2):
        assert_equal(batches_of(cached), batches_of(plain))


def test_a_batched_function_reads_the_misses_of_a_batch_in_one_call(tmp_path):
    """As HttpReader does."""
    paths, calls = write_samples(tmp_path), []

    def load(batch):
        calls.append(len(batch))
        return read_all(batch)

    data = dataset(paths, load=load, batched=True, maxbytes="1 MiB", read_ahead=0, **SIZE)
    plain = dataset(paths, **SIZE)
    for _ in range(2):
        assert_equal(batches_of(data), batches_of(plain))
    assert sorted(calls) == [4, 5, 5, 5, 5]


def test_the_plan_is_printed_once(tmp_path, capsys):
    """After the first epoch; the report has the cache's counters."""
    data = dataset(write_samples(tmp_path), maxbytes="1 MiB", verbose=True, **SIZE)
    report = CacheReport(data.load)
    for hit_rate in (0.0, 1.0, 1.0):
        batches_of(data)
        logs = {}
        report.on_epoch_end(0, logs)
        assert (logs["hit_rate"], logs["maxbytes"]) == (hit_rate, 1 << 20)
    assert capsys.readouterr().out.count(f"{N} items in 1.0 MiB") == 1


SCRIPT = """
import json, multiprocessing, sys
sys.path[:0] = sys.argv[2:]
import numpy as np
from helpers.samples import Load, N, write_samples
from pathlib import Path

if __name__ == "__main__":
    from bytecache.keras import ImageDataset
    paths, found = write_samples(Path(sys.argv[1])), {}
    for method in ("fork", "spawn"):
        multiprocessing.set_start_method(method, force=True)
        options = {"workers": 2, "use_multiprocessing": True, "maxbytes": f"{1 + len(found)} MiB"}
        data = ImageDataset(paths, np.arange(N), batch_size=4, load=Load(), size=(32, 48), **options)
        found[method] = []
        for _ in range(2):
            data.num_batches
            targets = sorted(int(n) for i in range(len(data)) for n in data[i][1])
            found[method].append([targets == list(range(N)), data.load.cache_stats("all").misses])
    print(json.dumps(found))
"""


def test_worker_processes_have_one_cache(tmp_path):
    """Each file is read once by all of them, however they start."""
    script, folder = tmp_path / "script.py", tmp_path / "images"
    folder.mkdir()
    script.write_text(SCRIPT)
    here = Path(__file__).parent
    environment = os.environ | {"KERAS_BACKEND": "tensorflow", "TF_CPP_MIN_LOG_LEVEL": "2"}
    command = [sys.executable, "-W", "ignore", script, folder, here, here.parent]
    run = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert run.returncode == 0, run.stderr[-3000:]
    assert json.loads(run.stdout.splitlines()[-1]) == {method: [[True, N], [True, N]] for method in ("fork", "spawn")}


def test_options_that_contradict_each_other_are_refused(stores):
    """The message says what to give instead."""
    with pytest.raises(TypeError, match="give its budget as maxbytes="):
        dataset(["a.jpg"] * N, shared=True)
    with pytest.raises(TypeError, match="load is cached already"):
        dataset(["a.jpg"] * N, load=bytecache.fill_once(Load()), maxbytes=9)
    with pytest.raises(TypeError, match="the budget is the store's"):
        dataset(["a.jpg"] * N, maxbytes=9, store=stores())
    with pytest.raises(TypeError, match="verbose prints the plan of a cache"):
        dataset(["a.jpg"] * N, verbose=True)
