"""From paths to batches: order, passes, the pool of arrays, samples that fail, batches made ahead."""

from __future__ import annotations

import os
import pickle
import signal
import threading
from concurrent.futures import BrokenExecutor

import numpy as np
import pytest
from helpers.images import flat_jpeg
from helpers.processes import in_child

import bytecache
from bytecache.loading.batches import BatchLoader, SampleError
from bytecache.loading.buffers import BufferPool
from bytecache.loading.epochs import EpochTracker, epoch_order
from bytecache.loading.prefetch import Prefetcher


@pytest.fixture
def files(tmp_path):
    """Ten JPEG files of 24 x 32 pixels, each of its own gray."""
    paths = [tmp_path / f"{i}.jpg" for i in range(10)]
    for i, path in enumerate(paths):
        path.write_bytes(flat_jpeg(24, 32, i * 20))
    return paths


def read(path):
    return path.read_bytes()


def maker(paths, **options):
    return BatchLoader(paths, np.arange(len(paths)), **{"batch_size": 4, "load": read, **options})


def grays(batch):
    """Which of the files each image of a batch is."""
    return np.round(batch.images.mean(axis=(1, 2, 3)) / 20).astype(int).tolist()


# order


def test_an_epochs_order_is_a_permutation_that_depends_on_seed_and_epoch_alone():
    """Equal (seed, epoch) give equal orders, others differ, and each holds every index once."""
    assert np.array_equal(epoch_order(100, 3, 5), epoch_order(100, 3, 5))
    orders = {tuple(epoch_order(100, seed, epoch)) for seed in range(3) for epoch in range(3)}
    assert len(orders) == 9
    assert all(sorted(order) == list(range(100)) for order in orders)
    assert epoch_order(5, 0, 3, shuffle=False).tolist() == [0, 1, 2, 3, 4]


def test_a_whole_pass_ends_its_epoch_and_a_broken_one_begins_again():
    """Requests ahead of training and passes broken off leave the epoch as it is."""
    passes = EpochTracker(3, in_request_order=True)
    assert [passes.locate(i) for i in (0, 1)] == [(0, 0), (0, 1)]  # looked at ahead of training
    passes.start_pass()
    assert [passes.locate(i) for i in (2, 0, 1)] == [(0, 0), (0, 1), (0, 2)]
    passes.start_pass()
    passes.start_pass()  # however often it is called
    assert [passes.locate(i) for i in (1, 2)] == [(1, 0), (1, 1)]
    assert passes.locate(1) == (1, 0)  # asked again: broken off, and begun anew without a call of begin
    passes.epoch = 7
    assert passes.locate(2) == (7, 0)


def test_without_shuffle_a_batch_is_the_one_that_was_asked_for():
    """By index, the position of a request is its index."""
    passes = EpochTracker(4, in_request_order=False)
    assert [passes.locate(i) for i in (3, 1)] == [(0, 3), (0, 1)]


# pool


def test_an_array_is_given_out_again_only_when_nobody_refers_to_it():
    """A view, however derived, keeps its array in use; without one the memory is used again."""
    pool = BufferPool()
    first = pool.borrow((4, 2), np.dtype(np.uint8))
    address = first.ctypes.data
    part = first[1:3].reshape(-1)
    del first
    other = pool.borrow((4, 2), np.dtype(np.uint8))
    assert other.ctypes.data != address
    del part
    again = pool.borrow((4, 2), np.dtype(np.uint8))
    assert again.ctypes.data == address
    assert again.flags.writeable and again.shape == (4, 2)


def test_a_torch_tensor_over_an_array_keeps_it_in_use():
    """torch.from_numpy shares the memory, so it is not given out while the tensor lives."""
    torch = pytest.importorskip("torch")
    pool = BufferPool()
    tensor = torch.from_numpy(pool.borrow((2, 2), np.dtype(np.float32)))
    assert pool.borrow((2, 2), np.dtype(np.float32)).ctypes.data != tensor.data_ptr()


def test_the_ring_keeps_no_more_arrays_than_it_may():
    """Arrays beyond the most are fresh ones that the pool forgets."""
    pool = BufferPool(most=2)
    taken = [pool.borrow((2,), np.dtype(np.uint8)) for _ in range(5)]
    assert len({array.ctypes.data for array in taken}) == 5
    assert len(pool._arrays) == 2


def test_another_shape_replaces_a_free_array():
    """A free array of another shape is not given out as it is."""
    pool = BufferPool()
    pool.borrow((4, 2), np.dtype(np.uint8))
    assert pool.borrow((3, 3), np.dtype(np.float32)).shape == (3, 3)
    assert len(pool._arrays) == 1


# batches


@pytest.mark.parametrize("cached", [False, True])
def test_an_epochs_batches_hold_each_sample_once_with_its_target(files, cached):
    """Images and targets of an epoch are those of the epoch's order, the last batch being smaller."""
    load = bytecache.fill_once(read) if cached else read
    batches = [maker(files, load=load, seed=1).load(2, p) for p in range(3)]
    expected = epoch_order(10, 1, 2).tolist()
    assert [i for batch in batches for i in batch.targets.tolist()] == expected
    assert [i for batch in batches for i in grays(batch)] == expected
    assert [batch.images.shape for batch in batches] == [(4, 24, 32, 3), (4, 24, 32, 3), (2, 24, 32, 3)]
    assert batches[0].images.dtype == np.uint8


def test_a_batch_in_use_is_not_overwritten(files):
    """Batches that are kept stay as they were made, while others are made."""
    source = maker(files, shuffle=False)
    kept = [source.load(0, 0), source.load(0, 1)]
    for epoch in range(1, 20):
        source.load(epoch, 0)
    assert [grays(batch) for batch in kept] == [[0, 1, 2, 3], [4, 5, 6, 7]]


def test_no_fresh_array_is_made_per_batch(files):
    """Batches used one after the other share one array."""
    source = maker(files)
    assert len({source.load(epoch, 0).images.ctypes.data for epoch in range(10)}) == 1


def test_a_bad_sample_raises_with_its_path(files):
    """The error names the path and the reason, and chains what was raised."""
    files[5].write_bytes(b"\x89PNG no picture")
    with pytest.raises(SampleError, match=r"5\.jpg: JpegError: .*a PNG, not a JPEG") as caught:
        maker(files, shuffle=False).load(0, 1)
    assert caught.value.path == files[5]
    assert isinstance(caught.value.__cause__, bytecache.JpegError)


def test_a_missing_file_raises_with_its_path(files):
    """What the read function raises is reported likewise."""
    files[0].unlink()
    with pytest.raises(SampleError, match=r"0\.jpg: FileNotFoundError"):
        maker(files, shuffle=False).load(0, 0)


def test_a_picture_of_another_size_raises_with_its_path(files):
    """Without size= the first picture's shape is everybody's, and the way out is named."""
    files[6].write_bytes(flat_jpeg(30, 30, 0))
    with pytest.raises(SampleError, match=r"6\.jpg: ValueError: .*\(30, 30, 3\).*\(24, 32, 3\): give size="):
        maker(files, shuffle=False).load(0, 1)


@pytest.mark.parametrize("damage", ["missing", "bytes", "shape"])
def test_skip_leaves_a_bad_sample_out_and_keeps_the_others(files, damage):
    """The batch is one shorter, its images and targets still belong together, and the path is reported."""
    if damage == "missing":
        files[1].unlink()
    else:
        files[1].write_bytes(b"nonsense" if damage == "bytes" else flat_jpeg(8, 8, 0))
    batch = maker(files, shuffle=False, on_error="skip").load(0, 0)
    assert batch.images.shape == (3, 24, 32, 3)
    assert grays(batch) == batch.targets.tolist() == [0, 2, 3]
    assert [path for path, _ in batch.skipped] == [files[1]]


def test_a_batch_without_one_good_sample_raises_though_skipping(files):
    """An empty batch would be no batch: the error says that all failed."""
    for path in files[:4]:
        path.write_bytes(b"")
    with pytest.raises(SampleError, match="every sample of this batch failed"):
        maker(files, shuffle=False, on_error="skip").load(0, 0)


def test_arrays_may_be_loaded_in_place_of_bytes(files):
    """load may give arrays, of another dtype where dtype= says so."""
    images = [np.full((4, 5, 3), i, np.float32) for i in range(10)]
    batch = maker(range(10), load=images.__getitem__, dtype="float32", shuffle=False).load(0, 2)
    assert batch.images.dtype == np.float32
    assert batch.images[:, 0, 0, 0].tolist() == [8, 9]
    with pytest.raises(SampleError, match="float32, which does not fit dtype='uint8'"):
        maker(range(10), load=images.__getitem__).load(0, 0)


def test_one_odd_picture_does_not_make_the_others_odd(files):
    """The shape is that of most of the first batch, also where its first sample is the odd one."""
    files[0].write_bytes(flat_jpeg(10, 10, 0))
    batch = maker(files, shuffle=False, on_error="skip").load(0, 0)
    assert batch.images.shape == (3, 24, 32, 3)
    assert [path for path, _ in batch.skipped] == [files[0]]


def test_samples_of_other_channels_are_refused(files):
    """A decoded sample is never written into a row that it does not fill."""
    pytest.importorskip("PIL", reason="resizing needs Pillow")
    rgba = [np.zeros((16, 16, 4), np.uint8)] * 3

    def load(i):
        return flat_jpeg(16, 16, 200) if i == 3 else rgba[i]

    with pytest.raises(SampleError, match=r"^3: ValueError: the sample has shape \(16, 16, 3\)"):
        maker(range(4), load=load, size=(16, 16), shuffle=False).load(0, 0)


def test_a_bound_method_may_be_the_read_function(files):
    """A cached method is called for each path."""

    class Store:
        @bytecache.fill_once
        def read(self, path):
            return path.read_bytes()

    batch = maker(files, load=Store().read, shuffle=False).load(0, 0)
    assert grays(batch) == [0, 1, 2, 3]
    assert Store.read.cache_info().misses == 4


def test_a_missing_package_is_never_skipped(files):
    """An ImportError is no fault of the sample, so it is raised though samples may be skipped."""

    def load(path):
        if path == files[2]:
            raise ImportError("no such package")
        return read(path)

    with pytest.raises(SampleError, match="ImportError: no such package"):
        maker(files, load=load, shuffle=False, on_error="skip").load(0, 0)


def test_a_float_transform_fits_a_float_batch(files):
    """float64 goes into dtype="float32"; a float does not go into uint8 unseen."""
    batch = maker(files, transform=lambda image: image / 255, dtype="float32").load(0, 0)
    assert batch.images.dtype == np.float32 and batch.images.max() <= 1
    with pytest.raises(SampleError, match="float64, which does not fit dtype='uint8'"):
        maker(files, transform=lambda image: image / 255).load(0, 0)


def test_transform_sees_each_image_and_may_change_its_shape(files):
    """What transform returns is what stands in the batch."""
    batch = maker(files, shuffle=False, transform=lambda image: image[:8, ::-1]).load(0, 0)
    assert batch.images.shape == (4, 8, 32, 3)


def test_size_resizes_bytes_and_arrays_alike(files):
    """With size= every sample gets it."""
    pytest.importorskip("PIL", reason="resizing needs Pillow")
    files[1].write_bytes(flat_jpeg(100, 80, 20))
    assert grays(maker(files, size=(12, 16), shuffle=False).load(0, 0)) == [0, 1, 2, 3]
    arrays = [np.full((30, 20 + i, 3), i * 20, np.uint8) for i in range(4)]
    batch = maker(range(4), load=arrays.__getitem__, size=(12, 16), shuffle=False).load(0, 0)
    assert batch.images.shape == (4, 12, 16, 3)


@pytest.mark.parametrize(
    "options, message",
    [
        ({"paths": []}, "paths is empty"),
        ({"targets": [1]}, "one entry per path, got 1 for 2"),
        ({"batch_size": 0}, "batch_size must be an int of 1 or more, got 0"),
        ({"on_error": "ignore"}, 'on_error must be "raise" or "skip"'),
        ({"load": "read"}, "load and transform must be functions"),
        ({"size": (0, 5)}, "size must be two positive ints"),
        ({"seed": -1}, "seed must be an int of 0 or more, got -1"),
        ({"seed": None}, "seed must be an int of 0 or more, got None"),
        ({"batch_size": True}, "batch_size must be an int of 1 or more, got True"),
        ({"transform": 3}, "load and transform must be functions"),
    ],
)
def test_bad_options_are_refused_at_the_door(options, message):
    """The constructor says what was expected and what came."""
    arguments = {"paths": ["a", "b"], "targets": [1, 2], "batch_size": 2, "load": read, **options}
    with pytest.raises((ValueError, TypeError), match=message):
        BatchLoader(arguments.pop("paths"), arguments.pop("targets"), **arguments)


def test_a_maker_pickles(files):
    """Its copy makes the same batches."""
    source = maker(files)
    copy = pickle.loads(pickle.dumps(source))
    assert np.array_equal(copy.load(3, 1).images, source.load(3, 1).images)


# ahead


def end(ahead):
    """Waits until the workers are gone, and closes."""
    if ahead._executor is not None:
        ahead._executor.shutdown()
    ahead.close()


@pytest.mark.parametrize("processes", [False, True], ids=["threads", "processes"])
@pytest.mark.filterwarnings("ignore:.*use of fork.*:DeprecationWarning")
def test_workers_make_the_same_batches_as_the_maker(files, processes):
    """Threads or processes change nothing in what a batch is."""
    source = maker(files)
    ahead = Prefetcher(source, workers=2, processes=processes, depth=3)
    try:
        for epoch in range(3):
            for position in range(3):
                batch, expected = ahead.get(epoch, position), source.load(epoch, position)
                assert np.array_equal(batch.images, expected.images)
                assert np.array_equal(batch.targets, expected.targets)
    finally:
        end(ahead)


@pytest.mark.parametrize("processes", [False, True], ids=["threads", "processes"])
@pytest.mark.filterwarnings("ignore:.*use of fork.*:DeprecationWarning")
def test_a_workers_error_reaches_the_caller_with_its_path(files, processes):
    """SampleError crosses the process boundary whole."""
    files[0].unlink()
    ahead = Prefetcher(maker(files, shuffle=False), workers=2, processes=processes, depth=1)
    try:
        with pytest.raises(SampleError, match=r"0\.jpg: FileNotFoundError") as caught:
            ahead.get(0, 0)
        assert caught.value.path == files[0]
    finally:
        end(ahead)


def test_the_next_batches_are_made_before_they_are_asked_for(files):
    """After two batches were given, the third is read without a request."""
    reads, third = [], threading.Event()

    def load(path):
        reads.append(path)
        if len(reads) == 10:
            third.set()
        return path.read_bytes()

    ahead = Prefetcher(maker(files, load=load, shuffle=False), workers=2, processes=False, depth=1)
    try:
        ahead.get(0, 0), ahead.get(0, 1)
        assert third.wait(timeout=10)
    finally:
        end(ahead)


@pytest.mark.parametrize("workers, processes", [(2, False), (2, True)], ids=["threads", "processes"])
@pytest.mark.filterwarnings("ignore:.*use of fork.*:DeprecationWarning")
def test_the_shape_is_settled_before_workers_start(files, workers, processes):
    """Whoever makes a batch, the same batches are good and the same raise."""
    for path in files[4:8]:
        path.write_bytes(flat_jpeg(10, 10, 0))

    def outcomes(get):
        for epoch in range(3):
            for position in range(3):
                try:
                    yield get(epoch, position).images.shape
                except SampleError as exc:
                    yield exc.path

    ahead = Prefetcher(maker(files, shuffle=False), workers=workers, processes=processes, depth=3)
    try:
        assert list(outcomes(ahead.get)) == list(outcomes(maker(files, shuffle=False).load))
    finally:
        end(ahead)


@pytest.mark.parametrize("cached", [False, True])
def test_samples_that_are_skipped_hold_no_batch(files, cached, plain_gc):
    """The exceptions of samples left out are in no cycle with the batch: its array is used again at once."""
    files[1].write_bytes(b"nonsense")
    files[2].unlink()
    source = maker(files, load=bytecache.fill_once(read) if cached else read, on_error="skip", shuffle=False)
    for epoch in range(10):
        for position in range(3):
            source.load(epoch, position)
    assert len(source._buffers._arrays) <= 2  # one, and one of the smaller last batch


def test_batches_asked_for_out_of_order_are_made_alone(files):
    """Nothing is read in vain where the next request cannot be foretold."""
    reads = []
    ahead = Prefetcher(
        maker(files, load=lambda p: reads.append(p) or read(p), batch_size=1), 2, processes=False, depth=5
    )
    try:
        for position in (9, 4, 7, 2, 0, 8, 6, 1, 5, 3):
            ahead.get(0, position)
        ahead.close()
    finally:
        end(ahead)
    assert len(reads) == 10


def test_a_forked_child_makes_batches_with_workers_of_its_own(files):
    """The parent's threads are not there, and nobody waits for them."""
    ahead = Prefetcher(maker(files), workers=2, processes=False, depth=1)
    try:
        expected = ahead.get(0, 0).targets.tolist()
        assert in_child(lambda: Prefetcher.get(ahead, 0, 0).targets.tolist() == expected) is True
    finally:
        end(ahead)


@pytest.mark.filterwarnings("ignore:.*use of fork.*:DeprecationWarning")
def test_after_a_killed_worker_process_others_take_over(files):
    """The call whose worker died raises BrokenExecutor; the next one is answered."""
    ahead = Prefetcher(maker(files), workers=1, processes=True, depth=1)
    try:
        ahead.get(0, 0), ahead.get(0, 1)  # the first one is made here
        os.kill(next(iter(ahead._executor._processes)), signal.SIGKILL)
        answers = []
        for epoch in range(1, 4):
            try:
                answers.append(ahead.get(epoch, 0).images.shape)
            except BrokenExecutor:
                answers.append(None)
        assert None in answers[:2] and answers[2] == (4, 24, 32, 3)
    finally:
        end(ahead)
