"""Samples in a batch: those that fail, are skipped, come as arrays, are resized or transformed."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from helpers.batches import batch_loader, file_numbers, read
from helpers.images import flat_jpeg

import bytecache
from bytecache.loading.samples import SampleError, SampleLoader


def test_a_bad_sample_raises_with_its_path(files):
    """The error names the path and the reason, and chains what was raised."""
    files[5].write_bytes(b"\x89PNG no picture")
    with pytest.raises(SampleError, match=r"5\.jpg: JpegError: the data is a PNG; Pillow cannot decode it") as caught:
        batch_loader(files, shuffle=False).load(0, 1)
    assert caught.value.path == files[5]
    assert isinstance(caught.value.__cause__, bytecache.JpegError)


def test_a_missing_file_raises_with_its_path(files):
    """An exception of the read function is reported in the same way."""
    files[0].unlink()
    with pytest.raises(SampleError, match=r"0\.jpg: FileNotFoundError"):
        batch_loader(files, shuffle=False).load(0, 0)


def test_an_image_of_another_size_raises_with_its_path(files):
    """Without size= all images must have the shape of the first batch, and the error names the way out."""
    files[6].write_bytes(flat_jpeg(30, 30, 0))
    with pytest.raises(SampleError, match=r"6\.jpg: ValueError: .*\(30, 30, 3\).*\(24, 32, 3\): pass size="):
        batch_loader(files, shuffle=False).load(0, 1)


@pytest.mark.parametrize("damage", ["missing", "bytes", "shape"])
def test_skip_leaves_a_bad_sample_out_and_keeps_the_others(files, damage):
    """The batch is one shorter, its images and targets still belong together, and the path is reported."""
    if damage == "missing":
        files[1].unlink()
    else:
        files[1].write_bytes(b"nonsense" if damage == "bytes" else flat_jpeg(8, 8, 0))
    batch = batch_loader(files, shuffle=False, on_error="skip").load(0, 0)
    assert batch.images.shape == (3, 24, 32, 3)
    assert file_numbers(batch) == batch.targets.tolist() == [0, 2, 3]
    assert [path for path, _ in batch.skipped] == [files[1]]


def test_a_batch_without_one_good_sample_raises_though_skipping(files):
    """An empty batch is an error, which says that every sample failed."""
    for path in files[:4]:
        path.write_bytes(b"")
    with pytest.raises(SampleError, match="every sample of this batch failed"):
        batch_loader(files, shuffle=False, on_error="skip").load(0, 0)


def test_a_missing_package_is_never_skipped(files):
    """An ImportError is not the sample's fault, so it is raised though samples may be skipped."""

    def load(path):
        if path == files[2]:
            raise ImportError("no such package")
        return read(path)

    with pytest.raises(SampleError, match="ImportError: no such package"):
        batch_loader(files, load=load, shuffle=False, on_error="skip").load(0, 0)


def test_arrays_may_be_loaded_instead_of_bytes(files):
    """load may return arrays, of another dtype if dtype= says so."""
    images = [np.full((4, 5, 3), i, np.float32) for i in range(10)]
    batch = batch_loader(range(10), load=images.__getitem__, dtype="float32", shuffle=False).load(0, 2)
    assert batch.images.dtype == np.float32
    assert batch.images[:, 0, 0, 0].tolist() == [8, 9]
    with pytest.raises(SampleError, match="float32, which does not fit dtype='uint8'"):
        batch_loader(range(10), load=images.__getitem__).load(0, 0)


def test_samples_with_another_number_of_channels_are_refused(files):
    """A decoded sample is never written into an image that it does not fill."""
    pytest.importorskip("PIL", reason="resizing needs Pillow")
    rgba = [np.zeros((16, 16, 4), np.uint8)] * 3

    def load(i):
        return flat_jpeg(16, 16, 200) if i == 3 else rgba[i]

    with pytest.raises(SampleError, match=r"^3: ValueError: the sample has shape \(16, 16, 3\)"):
        batch_loader(range(4), load=load, size=(16, 16), shuffle=False).load(0, 0)


def test_a_bound_method_may_be_the_read_function(files):
    """A cached method is called for each path."""

    class Store:
        @bytecache.fill_once
        def read(self, path):
            return path.read_bytes()

    batch = batch_loader(files, load=Store().read, shuffle=False).load(0, 0)
    assert file_numbers(batch) == [0, 1, 2, 3]
    assert Store.read.cache_info().misses == 4


def test_a_float_transform_fits_a_float_batch(files):
    """float64 is written into dtype="float32"; a float is not silently written into uint8."""
    batch = batch_loader(files, transform=lambda image: image / 255, dtype="float32").load(0, 0)
    assert batch.images.dtype == np.float32 and batch.images.max() <= 1
    with pytest.raises(SampleError, match="float64, which does not fit dtype='uint8'"):
        batch_loader(files, transform=lambda image: image / 255).load(0, 0)


def test_the_reason_is_told_if_every_sample_of_the_first_batch_fails(files):
    """Not that their shapes are unknown."""

    def transform(image):
        raise KeyError("no such class")

    with pytest.raises(SampleError, match=r"0\.jpg: KeyError: 'no such class'"):
        batch_loader(files, shuffle=False, transform=transform).load(0, 0)


def test_transform_sees_each_image_and_may_change_its_shape(files):
    """The batch contains the results of transform."""
    batch = batch_loader(files, shuffle=False, transform=lambda image: image[:8, ::-1]).load(0, 0)
    assert batch.images.shape == (4, 8, 32, 3)


def test_size_resizes_bytes_and_arrays_alike(files):
    """With size= every sample has that size."""
    pytest.importorskip("PIL", reason="resizing needs Pillow")
    files[1].write_bytes(flat_jpeg(100, 80, 20))
    assert file_numbers(batch_loader(files, size=(12, 16), shuffle=False).load(0, 0)) == [0, 1, 2, 3]
    arrays = [np.full((30, 20 + i, 3), i * 20, np.uint8) for i in range(4)]
    batch = batch_loader(range(4), load=arrays.__getitem__, size=(12, 16), shuffle=False).load(0, 0)
    assert batch.images.shape == (4, 12, 16, 3)


@pytest.mark.parametrize("shape", [(9, 9), (9,), (1, 9, 9, 3)], ids=str)
def test_only_pictures_are_resized(shape):
    """An array without channels is an error with size=, not a batch that has another size; without, it may come."""
    arrays = [np.zeros(shape, np.uint8)] * 4
    with pytest.raises(SampleError, match=r"must have the shape \(height, width, channels\), got \(1?,? ?9"):
        batch_loader(range(4), load=arrays.__getitem__, size=(4, 4)).load(0, 0)
    assert batch_loader(range(4), load=arrays.__getitem__).load(0, 0).images.shape == (4, *shape)


@pytest.mark.parametrize("picture", [None, "a.jpg", [b""], object()], ids=lambda picture: type(picture).__name__)
def test_what_is_no_picture_says_what_load_must_return(picture):
    """Also at the place of a mask."""
    reason = f"load must return the bytes of an image, a numpy array .*, got {type(picture).__name__}$"
    for sample, masks in ((picture, ()), ((np.zeros((2, 2, 3), np.uint8), picture), 1)):
        with pytest.raises(SampleError, match=reason):
            batch_loader(range(4), load=lambda _, sample=sample: sample, masks=masks).load(0, 0)
    with pytest.raises(SampleError, match="pixels that are numbers, got dtype object"):
        batch_loader(range(4), load=lambda _: np.array([[[None]]])).load(0, 0)


def test_inputs_that_are_no_arrays_say_so(files):
    """dtype= would not help a dict."""
    with pytest.raises(SampleError, match="transform and transforms must return arrays"):
        batch_loader(files, transforms=lambda image, target: ({"image": image}, target)).load(0, 0)


@pytest.mark.parametrize("cached", [False, True])
def test_load_separates_values_from_exceptions(files, cached):
    """Values and exceptions come by the index of their path, from a plain function as from a cached one."""
    files[1].unlink()
    load = bytecache.fill_once(read) if cached else read
    samples, failed = SampleLoader(load, None).load(files[:3])
    assert samples == {0: files[0].read_bytes(), 2: files[2].read_bytes()}
    assert [(index, type(exc)) for index, exc in failed.items()] == [(1, FileNotFoundError)]
    failed.clear()


@pytest.mark.parametrize("resize", ["stretch", "crop", "pad", "random_crop"])
def test_an_odd_array_is_left_out_alone(resize):
    """One without pixels, or with more channels than pad_value, is a sample that failed; the others come."""
    arrays = [np.zeros((9, 9, 3), np.uint8), np.zeros((0, 9, 3), np.uint8), np.zeros((9, 9, 4), np.uint8)]
    options = {"pad_value": (1, 2, 3)} if resize == "pad" else {}
    loader = batch_loader(arrays, load=lambda array: array, size=(4, 4), resize=resize, on_error="skip", **options)
    batch = loader.load(0, 0)
    assert len(batch.images) == 1
    (_, empty), (_, channels) = sorted(batch.skipped, key=lambda skip: skip[0].shape)
    assert empty == "ValueError: an array must have pixels, got shape (0, 9, 3)"
    assert channels.startswith("ValueError: ")


def test_a_missing_package_is_raised_although_samples_may_fail(files, monkeypatch):
    """Without Pillow, a PNG among JPEG files is not left out silently."""
    files[3].write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(50))
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(SampleError, match=r"3\.jpg.*pip install 'bytecache\[images\]'"):
        batch_loader(files, shuffle=False, on_error="skip").load(0, 0)
