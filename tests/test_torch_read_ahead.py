"""Reads ahead in torch's loaders: in this process and in workers, each sample once and in its place."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from helpers.images import flat_jpeg
from helpers.processes import in_child
from helpers.reads import Reads
from helpers.threads import PATIENCE_S

import bytecache
from bytecache.loading.epochs import epoch_order

torch = pytest.importorskip("torch", reason="the torch adapter needs torch")
from torch.utils.data import DataLoader  # noqa: E402

from bytecache.torch import EpochSampler, ImageDataset, SampleError, collate  # noqa: E402

pytestmark = [
    pytest.mark.foreign_threads,  # torch's queues keep threads and descriptors open until their loader is collected
    pytest.mark.filterwarnings("ignore:.*use of fork.*:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:This DataLoader will create:UserWarning"),  # on a single processor
]
N = 24
here_and_in_workers = pytest.mark.parametrize("count", [0, 2], ids=["here", "workers"])


def dataset(load, n=N, **options):
    return ImageDataset(range(n), np.arange(n), load=load, **{"read_ahead": 2, **options})


def loader(data, count=0, *, shuffle=True, **options):
    sampler = EpochSampler(data, seed=5, shuffle=shuffle)
    return DataLoader(data, 2, sampler=sampler, num_workers=count, collate_fn=collate, **options)


def targets(loader):
    """Return the targets of an epoch; each image must be that of its target."""
    found = []
    for images, numbers in loader:
        assert (images.float().mean((1, 2, 3)) / 2).round().tolist() == numbers.tolist()
        found += numbers.tolist()
    return found


@pytest.mark.parametrize("method", [None, "fork", "spawn", "forkserver"])
def test_the_next_batch_is_read_while_one_is_made(tmp_path, method):
    """In this process, and in workers however they start: a read waits for one of the next batch of its process."""
    count = 0 if method is None else 2
    data = dataset(Reads(tmp_path / "log", {5: 6} if method is None else {5: 8}))
    options = {} if method is None else {"multiprocessing_context": method}
    assert targets(loader(data, count, shuffle=False, **options)) == list(range(N))
    assert sorted(data.load.begun) == list(range(N))


@pytest.mark.parametrize("options", [{}, {"persistent_workers": True}], ids=["new", "persistent"])
@here_and_in_workers
def test_every_epoch_reads_each_sample_once(tmp_path, count, options):
    """In the order of its epoch, also if nothing can be cached."""
    reads = Reads(tmp_path / "log")
    batches = loader(dataset(bytecache.fill_once(maxsize=0)(reads)), count, **(options if count else {}))
    for epoch in range(3):
        batches.sampler.set_epoch(epoch)
        assert targets(batches) == epoch_order(N, 5, epoch).tolist()
        assert sorted(reads.begun) == sorted([*range(N)] * (epoch + 1))


def test_threads_that_switch_often_read_each_sample_once():
    """A batch that is made ahead is not overtaken by the next one."""
    reads: list[int] = []
    encoded = flat_jpeg(8, 8, 0)
    load = bytecache.fill_once(maxsize=0)(lambda number: reads.append(number) or encoded)
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for _ in range(10):
            reads.clear()
            assert sum(len(numbers) for _, numbers in loader(dataset(load, 300, read_ahead=5))) == 300
            assert len(reads) == 300
    finally:
        sys.setswitchinterval(interval)


def test_counters_are_those_without_it(tmp_path):
    """A miss for each sample in the first epoch, a hit in the second."""
    load = bytecache.fill_once(Reads(tmp_path / "log"))
    batches = loader(dataset(load))
    for expected in ((0, N), (N, N)):
        targets(batches)
        assert load.cache_info()[:2] == expected


@here_and_in_workers
def test_an_epoch_that_is_broken_off_costs_what_was_ahead(tmp_path, count):
    """The batch that was made, those that were read ahead of it, and what torch itself requested."""
    reads = Reads(tmp_path / "log")
    batches = loader(dataset(reads), count)
    next(iter(batches))
    gc.collect()  # torch's workers end with their iterator
    batches.sampler.set_epoch(1)
    assert targets(batches) == epoch_order(N, 5, 1).tolist()
    # Here: the batch that came, the one that was made, two read ahead. In workers: five requested, two ahead in each.
    assert len(reads.begun) <= N + 2 * (4 if count == 0 else 9)


@here_and_in_workers
def test_errors_and_skips_come_with_their_batches(tmp_path, count):
    """Reads that failed ahead of time included; the batches before come whole."""

    def load(number):
        if number == 7:
            raise FileNotFoundError("seven")
        return reads(number)

    reads = Reads(tmp_path / "log")
    data = dataset(load, on_error="skip")
    assert targets(loader(data, count, shuffle=False)) == [n for n in range(N) if n != 7]
    assert data.skipped == 1
    batches = iter(loader(dataset(load), count, shuffle=False))
    assert [next(batches)[1].tolist() for _ in range(3)] == [[0, 1], [2, 3], [4, 5]]
    with pytest.raises(SampleError, match="7: FileNotFoundError: seven"):
        next(batches)


def test_a_sampler_of_another_kind_reads_nothing_ahead(tmp_path):
    """Nor does one that was made of a length alone, or for another dataset."""
    reads = Reads(tmp_path / "log")
    data = dataset(reads)
    for sampler in (range(N), EpochSampler(N, seed=0), EpochSampler(dataset(reads), seed=0)):
        reads.log.write_bytes(b"")
        next(iter(DataLoader(data, 2, sampler=sampler)))
        assert len(reads.begun) == 2


def test_a_child_and_a_copy_read_for_themselves(tmp_path):
    """What the parent has under way is not waited for."""
    reads = Reads(tmp_path / "log")
    data = dataset(reads)
    batches = loader(data, shuffle=False)
    next(iter(batches))
    assert in_child(lambda: targets(batches)) == list(range(N))
    assert targets(batches) == list(range(N))


def test_threads_end_with_the_dataset(tmp_path, plain_gc):
    """After an epoch that was broken off, without a run of the collector."""
    before = set(threading.enumerate())
    data = dataset(Reads(tmp_path / "log"))
    batches = loader(data)
    iterator = iter(batches)
    next(iterator), next(iterator), next(iterator)
    started = set(threading.enumerate()) - before
    assert len(started) >= 2
    del data, batches, iterator
    for thread in started:
        thread.join(PATIENCE_S)
        assert not thread.is_alive()


SCRIPT = """
import sys, time
sys.path.insert(0, {tests!r})
from helpers.images import flat_jpeg
from torch.utils.data import DataLoader
from bytecache.torch import EpochSampler, ImageDataset

def load(number):
    if number >= 8:
        time.sleep(1000)
    return flat_jpeg(8, 8, 0)

data = ImageDataset(range(20), load=load, read_ahead=3)
batches = iter(DataLoader(data, 4, sampler=EpochSampler(data, seed=0, shuffle=False)))
next(batches), next(batches)
print("two", flush=True)
{then}
"""


@pytest.mark.parametrize("then, returncode", [("", 0), ("next(batches)", -signal.SIGINT)], ids=["exit", "interrupt"])
def test_reads_that_hang_do_not_keep_the_interpreter(then, returncode):
    """Neither at its exit nor at Ctrl-C."""
    script = SCRIPT.format(tests=str(Path(__file__).parent), then=then)
    with subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as run:
        try:
            assert run.stdout.readline() == "two\n"
            if then:
                os.kill(run.pid, signal.SIGINT)
            assert run.wait(PATIENCE_S) == returncode
        finally:
            run.kill()
