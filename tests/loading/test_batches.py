"""Batches: which samples they contain, in which arrays, and the options of their loader."""

from __future__ import annotations

import copy
import ctypes
import pickle

import numpy as np
import pytest
from helpers.batches import batch_loader, file_numbers, read
from helpers.images import count_headers, flat_jpeg

import bytecache
from bytecache.loading.batches import BatchLoader
from bytecache.loading.epochs import epoch_order


@pytest.mark.parametrize("cached", [False, True])
def test_an_epochs_batches_contain_each_sample_once_with_its_target(files, cached):
    """Images and targets come in the epoch's order, and the last batch is smaller."""
    load = bytecache.fill_once(read) if cached else read
    batches = [batch_loader(files, load=load, seed=1).load(2, p) for p in range(3)]
    expected = epoch_order(10, 1, 2).tolist()
    assert [i for batch in batches for i in batch.targets.tolist()] == expected
    assert [i for batch in batches for i in file_numbers(batch)] == expected
    assert [batch.images.shape for batch in batches] == [(4, 24, 32, 3), (4, 24, 32, 3), (2, 24, 32, 3)]
    assert batches[0].images.dtype == np.uint8


def test_a_transform_that_writes_in_place_changes_no_stored_array(files):
    """Not even by what does not mind that an array is read-only."""

    def double(image):
        assert image.flags.writeable
        ctypes.memset(image.ctypes.data, 7, image.nbytes)
        return image

    load = bytecache.fill_once(lambda path: np.full((24, 32, 3), 5, np.uint8))
    for _ in range(2):
        images = batch_loader(files, load=load, transform=double).load(0, 0).images
        assert set(images.flat) == {7}
    assert all(set(load(path).flat) == {5} for path in files)


@pytest.mark.parametrize("position", [3, 100])
def test_a_batch_beyond_the_last_is_refused(files, position):
    """The error says which positions there are."""
    with pytest.raises(IndexError, match=f"position must be from 0 to 2, the last batch, got {position}"):
        batch_loader(files).load(0, position)


def test_a_batch_in_use_is_not_overwritten(files):
    """Batches that are kept do not change while others are loaded."""
    loader = batch_loader(files, shuffle=False)
    kept = [loader.load(0, 0), loader.load(0, 1)]
    for epoch in range(1, 20):
        loader.load(epoch, 0)
    assert [file_numbers(batch) for batch in kept] == [[0, 1, 2, 3], [4, 5, 6, 7]]


def test_no_new_array_is_allocated_per_batch(files):
    """Batches used one after the other share one array."""
    loader = batch_loader(files)
    assert len({loader.load(epoch, 0).images.ctypes.data for epoch in range(10)}) == 1


@pytest.mark.parametrize("cached", [False, True])
def test_skipped_samples_keep_no_batch_alive(files, cached, plain_gc):
    """The exceptions of skipped samples are in no cycle with the batch: its array is reused at once."""
    files[1].write_bytes(b"nonsense")
    files[2].unlink()
    loader = batch_loader(files, load=bytecache.fill_once(read) if cached else read, on_error="skip", shuffle=False)
    for epoch in range(10):
        for position in range(3):
            loader.load(epoch, position)
    assert len(loader._writer._buffers[0]._arrays) <= 2  # one, and one of the smaller last batch


def test_one_odd_image_does_not_make_the_others_odd(files):
    """The shape is that of most of the first batch, even if its first sample is the odd one."""
    files[0].write_bytes(flat_jpeg(10, 10, 0))
    batch = batch_loader(files, shuffle=False, on_error="skip").load(0, 0)
    assert batch.images.shape == (3, 24, 32, 3)
    assert [path for path, _ in batch.skipped] == [files[0]]


@pytest.mark.parametrize(
    "options", [{}, {"transform": np.flipud}, {"size": (24, 32)}], ids=["plain", "transform", "size"]
)
def test_each_header_is_read_once(files, monkeypatch, options):
    """In every batch, including the first, whose common shape comes from the same headers."""
    loader = batch_loader(files, shuffle=False, **options)
    headers = count_headers(monkeypatch)
    for position, expected in enumerate((4, 4, 2)):
        loader.load(0, position)
        assert len(headers) == expected
        headers.clear()


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


def test_a_loader_pickles(files):
    """Its copy loads the same batches."""
    loader = batch_loader(files)
    copy = pickle.loads(pickle.dumps(loader))
    assert np.array_equal(copy.load(3, 1).images, loader.load(3, 1).images)


def test_decode_options_are_those_of_decode_jpeg(files):
    """Also once the loader was pickled, as for a worker process."""
    options = {"colorspace": "GRAY", "strict": False, "orient": True}
    loader = pickle.loads(pickle.dumps(batch_loader(files, shuffle=False, batch_size=1, **options)))
    image = loader.load(0, 0).images[0]
    assert np.array_equal(image, bytecache.decode_jpeg(files[0].read_bytes(), **options))


def test_a_copy_of_a_loader_has_buffers_of_its_own(files):
    """In a forked worker, the locks of the parent's may be held by a thread that does not exist there."""
    loader = batch_loader(files)
    loader.load(0, 0)
    again = copy.copy(loader)
    assert again._writer._buffers is not loader._writer._buffers and not again._writer._buffers
    assert again.shape_known and np.array_equal(again.load(0, 1).images, loader.load(0, 1).images)


def test_each_picture_of_a_sample_has_buffers_of_its_own():
    """So that those of images and masks, in use by turns, are not replaced by one another's."""
    sample = np.zeros((4, 4, 3), np.uint8), np.zeros((4, 4), np.uint8)
    loader = BatchLoader(range(8), None, batch_size=4, load=lambda _: sample, masks=1)
    addresses = set()
    for epoch in range(10):
        batch = loader.load(epoch, 0)
        addresses.add((batch.images.ctypes.data, batch.targets.ctypes.data))
        del batch
    assert len(addresses) == 1
