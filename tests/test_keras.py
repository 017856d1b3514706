"""The Keras adapter: on each backend in a process of its own, and its parts without training."""

from __future__ import annotations

import json
import logging
import os
import pickle
import subprocess
import sys
import threading
import warnings
from pathlib import Path

import numpy as np
import pytest
from helpers.images import count_headers, flat_jpeg, make_jpeg
from helpers.reads import Reads

import bytecache
from bytecache.loading.epochs import epoch_order

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # TensorFlow's own, while it is imported
    pytest.importorskip("keras", reason="the Keras adapter needs keras")
    from bytecache.keras import CacheReport, ImageDataset, SampleError

MODES = ["one worker", "two threads", "two processes"]
N = 40


def write_files(folder: Path, n: int) -> list[Path]:
    paths = [folder / f"{i:03d}.jpg" for i in range(n)]
    for i, path in enumerate(paths):
        path.write_bytes(flat_jpeg(16, 16, i * 6))
    return paths


@pytest.fixture(scope="module", params=["tensorflow", "torch"])
def training(request, tmp_path_factory):
    """The samples a model received in three epochs and one more, by kind of worker."""
    pytest.importorskip(request.param, reason=f"the {request.param} backend needs {request.param}")
    folder = tmp_path_factory.mktemp(request.param)
    write_files(folder, N)
    return run_script("keras_passes.py", request.param, folder)


def run_script(name, backend, *arguments):
    """Return what a script prints as JSON when it runs with a Keras backend."""
    script = Path(__file__).parent / "jobs" / name
    environment = os.environ | {"KERAS_BACKEND": backend, "TF_CPP_MIN_LOG_LEVEL": "2"}
    run = subprocess.run(
        [sys.executable, script, *map(str, arguments)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert run.returncode == 0, run.stderr[-3000:]
    return json.loads(run.stdout.splitlines()[-1])


@pytest.mark.parametrize("mode", MODES)
def test_each_epoch_gives_each_sample_once_in_the_order_of_seed_and_epoch(training, mode):
    """The training step receives every index of every epoch; a second fit continues with the next epoch."""
    orders = [[index for index, _ in epoch] for epoch in training[mode]["epochs"]]
    assert orders == [epoch_order(N, 7, epoch).tolist() for epoch in range(4)]


@pytest.mark.parametrize("mode", MODES)
def test_no_batch_is_overwritten_before_the_model_has_used_it(training, mode):
    """Each image is the one that belongs to its target."""
    for epoch in training[mode]["epochs"]:
        assert all(abs(pixel - index * 6) <= 2 for index, pixel in epoch)


@pytest.mark.parametrize("mode", ["one worker", "two threads"])
def test_the_history_contains_the_report(training, mode):
    """Every file is read once, in the first epoch, which has no hit though the backend requests some batches twice."""
    history = training[mode]["history"]
    assert history["misses"] == [N, 0, 0]
    assert history["hits"] == [0, N, N]
    assert history["hit_rate"] == [0.0, 1.0, 1.0]
    assert training[mode]["misses"] == N
    assert history["load_s"][0] > 0 and history["load_s"][1:] == [0, 0]
    assert history["currbytes"][0] == history["currbytes"][2] > N * 300
    assert history["maxbytes"] == [2**20] * 3


@pytest.mark.parametrize("mode", MODES)
def test_an_endless_dataset_goes_on_where_an_epoch_of_keras_ends(training, mode):
    """21 batches of 4 are two passes and the start of a third, each in its own order; a second fit starts that over."""
    orders = [index for epoch in range(3) for index in epoch_order(N, 7, epoch).tolist()]
    assert training[mode]["endless"]["first"] == orders[: 21 * 4]
    assert training[mode]["endless"]["second"] == orders[2 * N : 2 * N + 8]


def dataset(paths, **options):
    return ImageDataset(paths, np.arange(len(paths)), **{"batch_size": 4, "load": Path.read_bytes, **options})


def test_a_loop_over_the_dataset_is_an_epoch(tmp_path):
    """Iterating yields (images, targets) of each batch, and the next loop has another order."""
    data = dataset(write_files(tmp_path, 10))
    loops = [[int(i) for _, targets in data for i in targets] for _ in range(2)]
    assert loops == [epoch_order(10, 0, epoch).tolist() for epoch in range(2)]
    assert len(data) == 3
    assert data[0][0].dtype == np.uint8


def test_one_batch_is_made_ahead(tmp_path):
    """By default, while the last one is used; with workers=0 each is made when it is requested."""
    second, reads = threading.Event(), []

    def load(path):
        reads.append(path)
        if len(reads) == 12:
            second.set()
        return path.read_bytes()

    paths = write_files(tmp_path, 16)
    alone = dataset(paths, load=load, workers=0)
    alone[0], alone[1]
    assert len(reads) == 8
    reads.clear()
    ahead = dataset(paths, load=load)
    ahead[0], ahead[1]  # the first one tells the shape of all
    assert second.wait(30)


@pytest.mark.parametrize("options", [{}, {"workers": 2}, {"workers": 2, "use_multiprocessing": True}], ids=str)
@pytest.mark.filterwarnings("ignore:.*use of fork.*:DeprecationWarning")
def test_the_next_batch_of_a_worker_is_read_ahead(tmp_path, options):
    """While it makes one; each sample is read once, and in the order of the epoch."""
    step = 4 * options.get("workers", 1)
    reads = Reads(tmp_path / "log", {5: 4 + step})
    data = dataset(range(40), load=reads, shuffle=False, read_ahead=1, max_queue_size=1, **options)
    assert [int(i) for _, targets in data for i in targets] == list(range(40))
    assert sorted(reads.begun) == list(range(40))
    for executor in data._prefetcher._executors:
        executor.shutdown()
    with pytest.raises(ValueError, match="read_ahead must be an int of 0 or more, got -1"):
        dataset(range(40), read_ahead=-1)
    assert (data._prefetcher._read_ahead, dataset(range(40))._prefetcher._read_ahead) == (1, 0)
    assert dataset(range(40), load=bytecache.fill_once(reads))._prefetcher._read_ahead is None


@pytest.mark.parametrize("workers", [0, 1])
def test_errors_and_skips_come_with_their_batches(tmp_path, workers):
    """Whether batches are made ahead or not."""
    paths = write_files(tmp_path, 16)
    paths[9].unlink()
    data = dataset(paths, shuffle=False, on_error="skip", workers=workers)
    assert [(len(data[i][1]), data.skipped) for i in range(4)] == [(4, 0), (4, 0), (3, 1), (4, 1)]
    data = dataset(paths, shuffle=False, workers=workers)
    assert [len(data[i][1]) for i in range(2)] == [4, 4]
    with pytest.raises(SampleError, match=r"009\.jpg"):
        data[2]


@pytest.mark.parametrize("resize", ["crop", "pad", "random_crop"])
def test_resize_modes(tmp_path, resize):
    """A random crop is a pure function of (seed, epoch, sample), whoever makes the batch and whatever is in it."""
    path = tmp_path / "0.jpg"
    path.write_bytes(make_jpeg(60, 90))
    options = {"size": (20, 20), "resize": resize, "shuffle": False, "batch_size": 2}
    (images, _), (others, _) = dataset([path] * 4, **options)
    if resize != "random_crop":
        (expected,) = bytecache.decode_batch([path.read_bytes()], size=(20, 20), resize=resize)
        assert all(np.array_equal(image, expected) for image in (*images, *others))
        return
    assert len({image.tobytes() for image in (*images, *others)}) == 4
    again = dataset([path] * 4, **options | {"batch_size": 4, "workers": 2})
    assert np.array_equal(again[0][0], np.concatenate([images, others]))
    again.epoch = 1
    assert not np.array_equal(again[0][0][0], images[0])
    assert not np.array_equal(dataset([path] * 4, **options, seed=1)[0][0][0], images[0])
    narrow = dataset([path] * 4, **options, crop_scale=(1, 1), crop_ratio=(1.5, 1.5))[0][0][0]
    assert np.array_equal(narrow, bytecache.decode_batch([path.read_bytes()], size=(20, 20))[0])


def test_epoch_may_be_set_to_continue_an_earlier_run(tmp_path):
    """After data.epoch = 5 the order is that of epoch 5."""
    data = dataset(write_files(tmp_path, 10))
    data.epoch = 5
    assert [int(i) for _, targets in data for i in targets] == epoch_order(10, 0, 5).tolist()


def test_an_endless_dataset_has_no_last_batch(tmp_path):
    """A loop over it does not end, and len() is still that of a pass."""
    data = dataset(write_files(tmp_path, 8), endless=True)
    assert data.num_batches is None and len(data) == 2
    found = [targets.tolist() for _, (_, targets) in zip(range(5), data, strict=False)]
    assert sum(found[:4], []) == [*epoch_order(8, 0, 0).tolist(), *epoch_order(8, 0, 1).tolist()]


def test_a_first_batch_that_is_requested_again_is_not_read_again(tmp_path):
    """Keras requests one or two to find out their shapes; what was written into one of these is not in the next."""
    reads = []
    data = dataset(write_files(tmp_path, 12), load=lambda path: reads.append(path) or path.read_bytes(), workers=0)
    first = [data[0], data[1]]
    expected = [tuple(part.copy() for part in batch) for batch in first]
    for images, _ in first:
        images[...] = 255
    assert data.num_batches == 3
    found = [data[i] for i in range(3)]
    assert all(np.array_equal(*parts) for i in range(2) for parts in zip(found[i], expected[i], strict=True))
    assert len(reads) == 12
    assert not data._first._kept


def test_weights_structures_and_pictures(tmp_path):
    """A batch is (inputs, targets, weights); targets may be a dict or a tuple of arrays, inputs a tuple of pictures."""
    paths = write_files(tmp_path, 4)
    fields = {"label": np.arange(4), "box": [[1, 2, 3, 4]] * 4}
    ((_, targets, weights),) = dataset_of(paths, fields, sample_weight=np.arange(4) / 2)
    assert targets["box"].shape == (4, 4) and np.array_equal(weights, targets["label"] / 2)
    ((_, (labels, rows)),) = dataset_of(paths, (np.arange(4), np.zeros((4, 2))))
    assert labels.shape == (4,) and rows.shape == (4, 2)
    ((_, boxes),) = dataset_of(paths, [np.ones((i, 4)) for i in range(4)], shuffle=False)
    assert [each.shape for each in boxes] == [(0, 4), (1, 4), (2, 4), (3, 4)]
    (((left, right), labels),) = dataset_of(paths, np.arange(4), load=lambda path: (path.read_bytes(),) * 2)
    assert np.array_equal(left, right) and left.shape == (4, 16, 16, 3)
    mask = np.zeros((16, 16), np.int32)
    ((images, masks),) = dataset_of(paths, None, load=lambda path: (path.read_bytes(), mask), masks=1)
    assert images.shape == (4, 16, 16, 3) and masks.shape == (4, 16, 16) and masks.dtype == np.int32


def dataset_of(paths, targets, **options):
    return ImageDataset(paths, targets, **{"batch_size": 4, "load": Path.read_bytes, **options})


@pytest.mark.parametrize("version", ["3.0.5", "3.5.0", "2.15.0"])
def test_an_earlier_keras_is_refused_at_import(version):
    """It would repeat, drop or reorder batches silently; the error says which is there and the way out."""
    script = (
        "import sys, types; keras = types.ModuleType('keras'); sys.modules['keras'] = keras; "
        f"keras.__version__ = '{version}'; import bytecache.keras"
    )
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False)
    assert f"ImportError: bytecache.keras needs Keras 3.6 or later, this is {version}" in run.stderr
    assert "pip install --upgrade keras" in run.stderr


def test_without_targets_there_are_images_alone(tmp_path):
    """For predict, a batch is a tuple of one."""
    data = ImageDataset(write_files(tmp_path, 3), None, batch_size=2, load=Path.read_bytes, shuffle=False)
    assert [len(batch) for batch in data] == [1, 1]


def test_skip_counts_each_time_and_logs_each_path_once(tmp_path, caplog):
    """Two epochs over one bad file make two skips and one line in the log."""
    paths = write_files(tmp_path, 6)
    paths[2].write_bytes(b"bad")
    data = dataset(paths, on_error="skip")
    with caplog.at_level(logging.WARNING, "bytecache"):
        sizes = [sum(len(targets) for _, targets in data) for _ in range(2)]
    assert sizes == [5, 5]
    assert data.skipped == 2
    assert [record.message.startswith(f"skipped {paths[2]}") for record in caplog.records] == [True]


def test_an_error_is_kept_because_the_backend_wraps_it(tmp_path):
    """data.error is the original exception, which names the path."""
    paths = write_files(tmp_path, 2)
    paths[1].unlink()
    data = dataset(paths, shuffle=False)
    with pytest.raises(SampleError, match=r"001\.jpg"):
        data[0]
    assert data.error.path == paths[1]


def test_a_dataset_pickles_as_its_arguments(tmp_path):
    """Its copy yields the same batches and has the same options."""
    data = dataset(write_files(tmp_path, 6), workers=2, seed=3, dtype="float32")
    copy = pickle.loads(pickle.dumps(data))
    assert copy[0][0].dtype == np.float32
    assert [targets.tolist() for _, targets in copy] == [targets.tolist() for _, targets in data]


def test_the_report_does_not_count_validation(tmp_path):
    """Reads between on_test_begin and on_epoch_end are not counted, though the function is the same."""
    paths = write_files(tmp_path, 4)
    read = bytecache.fill_once(maxbytes=10**6)(Path.read_bytes)
    report, logs = CacheReport(read, prefix="train_"), {}
    read(paths[0]), read(paths[0])
    report.on_test_begin()
    read(paths[1]), read(paths[2])
    report.on_epoch_end(0, logs)
    assert (logs["train_hits"], logs["train_misses"], logs["train_hit_rate"]) == (1, 1, 0.5)
    assert logs["train_currbytes"] == read.cache_stats().currbytes
    read(paths[3])
    report.on_epoch_end(1, logs)
    assert (logs["train_hits"], logs["train_misses"], logs["train_hit_rate"]) == (0, 1, 0.0)


@pytest.mark.parametrize("options", [{"maxsize": 5}, {"maxbytes": 5000}, {"maxbytes": 10**6, "shared": True}], ids=str)
def test_the_logs_are_plain_numbers(tmp_path, options):
    """CSVLogger and TensorBoard accept floats and ints: unknown bytes and no limit are 0, in a shared store too."""
    read, logs = bytecache.fill_once(**options)(Path.read_bytes), {}
    report = CacheReport(read)
    read(write_files(tmp_path, 1)[0])
    report.on_epoch_end(0, logs)
    assert {name: type(value) for name, value in logs.items()} == {
        "hit_rate": float, "hits": int, "misses": int, "load_s": float, "currbytes": int, "maxbytes": int
    }  # fmt: skip
    assert logs["maxbytes"] == read.cache_stats().maxbytes or (logs["maxbytes"], options) == (0, {"maxsize": 5})


def test_each_header_is_read_once(tmp_path, monkeypatch):
    """In every batch, including the first, from which the shape of all batches comes."""
    data = dataset(write_files(tmp_path, 10), workers=0)
    headers = count_headers(monkeypatch)
    for index, expected in enumerate((4, 8, 10)):
        data[index]
        assert len(headers) == expected


@pytest.mark.parametrize("backend", ["tensorflow", "torch"])
def test_worker_processes_share_one_cache(backend, tmp_path):
    """Each file is read once in all epochs, under each start method; a store for half reads half in each epoch."""
    pytest.importorskip(backend, reason=f"the {backend} backend needs {backend}")
    for i in range(100):
        (tmp_path / f"{i:03}.jpg").write_bytes(flat_jpeg(16, 16, 2 * i).ljust(1000, b"\0"))
    found = run_script("keras_shared.py", backend, tmp_path, 1000)
    for method in ("fork", "forkserver", "spawn"):
        assert found[method] == {"misses": [100, 0, 0], "logged": 100}, method
    assert found["half"]["misses"][0] == 100
    assert [abs(misses - 50) <= 1 for misses in found["half"]["misses"][1:]] == [True, True]
