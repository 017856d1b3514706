"""Batches prefetched by worker threads and worker processes."""

from __future__ import annotations

import os
import signal
import threading
from concurrent.futures import BrokenExecutor

import numpy as np
import pytest
from helpers.batches import batch_loader, file_numbers, read
from helpers.images import flat_jpeg
from helpers.processes import in_child
from helpers.reads import Reads

from bytecache.loading.prefetching.prefetch import Prefetcher
from bytecache.loading.samples import SampleError

pytestmark = pytest.mark.filterwarnings("ignore:.*use of fork.*:DeprecationWarning")
kinds_of_workers = pytest.mark.parametrize("processes", [False, True], ids=["threads", "processes"])


def end(prefetcher):
    """Wait until the workers have ended, and close."""
    for executor in prefetcher._executors:
        executor.shutdown()
    prefetcher.close()


@kinds_of_workers
def test_workers_load_the_same_batches_as_the_loader(files, processes):
    """Threads or processes make no difference to a batch."""
    loader = batch_loader(files)
    prefetcher = Prefetcher(loader, workers=2, processes=processes, depth=3)
    try:
        for epoch in range(3):
            for position in range(3):
                batch, expected = prefetcher.get(epoch, position), loader.load(epoch, position)
                assert np.array_equal(batch.images, expected.images)
                assert np.array_equal(batch.targets, expected.targets)
    finally:
        end(prefetcher)


@kinds_of_workers
def test_a_workers_error_reaches_the_caller_with_its_path(files, processes):
    """SampleError crosses the process boundary complete."""
    files[0].unlink()
    prefetcher = Prefetcher(batch_loader(files, shuffle=False), workers=2, processes=processes, depth=1)
    try:
        with pytest.raises(SampleError, match=r"0\.jpg: FileNotFoundError") as caught:
            prefetcher.get(0, 0)
        assert caught.value.path == files[0]
    finally:
        end(prefetcher)


def test_the_next_batches_are_loaded_before_they_are_requested(files):
    """After two batches were requested, the third is read without a request."""
    reads, third = [], threading.Event()

    def load(path):
        reads.append(path)
        if len(reads) == 10:
            third.set()
        return path.read_bytes()

    prefetcher = Prefetcher(batch_loader(files, load=load, shuffle=False), workers=2, processes=False, depth=1)
    try:
        prefetcher.get(0, 0), prefetcher.get(0, 1)
        assert third.wait(timeout=10)
    finally:
        end(prefetcher)


@kinds_of_workers
def test_the_shape_is_known_before_workers_start(files, processes):
    """With any kind of worker, the same batches are good and the same raise."""
    for path in files[4:8]:
        path.write_bytes(flat_jpeg(10, 10, 0))

    def outcomes(get):
        for epoch in range(3):
            for position in range(3):
                try:
                    yield get(epoch, position).images.shape
                except SampleError as exc:
                    yield exc.path

    prefetcher = Prefetcher(batch_loader(files, shuffle=False), workers=2, processes=processes, depth=3)
    try:
        assert list(outcomes(prefetcher.get)) == list(outcomes(batch_loader(files, shuffle=False).load))
    finally:
        end(prefetcher)


def test_batches_requested_out_of_order_are_loaded_alone(files):
    """Nothing is read in vain if the next request cannot be predicted."""
    reads = []
    loader = batch_loader(files, load=lambda p: reads.append(p) or read(p), batch_size=1)
    prefetcher = Prefetcher(loader, workers=2, processes=False, depth=5)
    try:
        for position in (9, 4, 7, 2, 0, 8, 6, 1, 5, 3):
            prefetcher.get(0, position)
        prefetcher.close()
    finally:
        end(prefetcher)
    assert len(reads) == 10


def test_a_forked_child_loads_batches_with_workers_of_its_own(files):
    """The parent's threads do not exist in the child, and nothing waits for them."""
    prefetcher = Prefetcher(batch_loader(files), workers=2, processes=False, depth=1)
    try:
        expected = prefetcher.get(0, 0).targets.tolist()
        assert in_child(lambda: Prefetcher.get(prefetcher, 0, 0).targets.tolist() == expected) is True
    finally:
        end(prefetcher)


def test_after_a_killed_worker_process_others_take_over(files):
    """The call whose worker died raises BrokenExecutor; the next one returns a batch."""
    prefetcher = Prefetcher(batch_loader(files), workers=1, processes=True, depth=1)
    try:
        prefetcher.get(0, 0), prefetcher.get(0, 1)  # the first one is loaded in this process
        os.kill(next(iter(prefetcher._executors[0]._processes)), signal.SIGKILL)
        shapes = []
        for epoch in range(1, 4):
            try:
                shapes.append(prefetcher.get(epoch, 0).images.shape)
            except BrokenExecutor:
                shapes.append(None)
        assert None in shapes[:2] and shapes[2] == (4, 24, 32, 3)
    finally:
        end(prefetcher)


@kinds_of_workers
@pytest.mark.parametrize("workers", [1, 2])
def test_a_worker_reads_its_next_batch_while_it_makes_one(tmp_path, workers, processes):
    """A read waits for one of the next batch of its worker; each sample is read once."""
    reads = Reads(tmp_path / "log", {5: 4 + 4 * workers})
    loader = batch_loader(range(40), load=reads, shuffle=False)
    prefetcher = Prefetcher(loader, workers, processes, depth=1, read_ahead=2)
    try:
        found = [file_numbers(prefetcher.get(0, position), step=2) for position in range(10)]
        assert sum(found, []) == list(range(40))
        assert sorted(reads.begun) == list(range(40))
    finally:
        end(prefetcher)


@kinds_of_workers
def test_a_pass_that_is_broken_off_costs_what_was_ahead(tmp_path, processes):
    """The batches that were made ahead and those that were read for them."""
    reads = Reads(tmp_path / "log")
    loader = batch_loader(range(40), load=reads)
    prefetcher = Prefetcher(loader, workers=2, processes=processes, depth=2, read_ahead=2)
    try:
        for epoch, positions in ((0, range(3)), (1, range(10))):
            for position in positions:
                assert prefetcher.get(epoch, position).targets.tolist() == loader._indices(epoch, position).tolist()
        assert len(reads.begun) <= 40 + 4 * (3 + 2 + 2 * 2)
    finally:
        end(prefetcher)


def test_batches_requested_out_of_order_are_read_alone(tmp_path):
    """Nothing is read ahead if the next request cannot be predicted."""
    reads = Reads(tmp_path / "log")
    prefetcher = Prefetcher(batch_loader(range(40), load=reads), workers=2, processes=False, depth=5, read_ahead=3)
    try:
        for position in (9, 4, 7, 2, 0, 8, 6, 1, 5, 3):
            prefetcher.get(0, position)
    finally:
        end(prefetcher)
    assert len(reads.begun) == 40
