"""The cache that a dataset makes itself: its second stage, its store, and when the plan is printed."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from helpers.images import make_jpeg

import bytecache
from bytecache.cache.staged.function import identify
from bytecache.images.crops import make_fit
from bytecache.loading.sample_cache import CacheOptions, DecodeStage, PlanPrinter, with_cache
from bytecache.loading.samples import SampleLoader

OPTIONS = {"colorspace": "RGB", "fast": False, "strict": True, "orient": False, "max_pixels": 10**6}


def jpeg_of(seed):
    return make_jpeg(40, 60, seed)


def stage(size=None, masks=(), **options):
    return DecodeStage(make_fit(size), masks, OPTIONS | options)


def test_the_second_stage_decodes_what_load_returns():
    """Bytes become an array, a tuple one of arrays; an array that has the size already is the same object."""
    data, array = jpeg_of(1), np.zeros((40, 60, 3), np.uint8)
    np.testing.assert_array_equal(stage()(data), bytecache.decode_jpeg(data))
    first, second = stage()((data, array))
    np.testing.assert_array_equal(first, bytecache.decode_jpeg(data))
    assert second is array and stage((40, 60))(array) is array


@pytest.mark.parametrize("size", [None, (20, 30), (40, 60)], ids=str)
@pytest.mark.parametrize(
    "sample",
    [jpeg_of(1), b"nothing", 17, *(np.zeros(shape, np.uint8) for shape in [(40, 60, 3), (9, 9, 3), (9, 9, 4), (9,)])],
    ids=lambda sample: str(getattr(sample, "shape", type(sample).__name__)),
)
def test_a_picture_alone_is_what_it_is_in_a_tuple(sample, size):
    """Decoded, resized, as it is, or refused in the same words."""

    def outcome(sample):
        try:
            return stage(size)(sample)
        except (TypeError, ValueError) as exc:
            return type(exc), str(exc)

    alone, of_tuple = outcome(sample), outcome((sample,))
    if isinstance(alone, np.ndarray):
        assert len(of_tuple) == 1
        np.testing.assert_array_equal(of_tuple[0], alone, strict=True)
    else:
        assert of_tuple == alone


def test_the_second_stage_raises_what_decoding_raises():
    """The exception names no stage."""
    with pytest.raises(bytecache.JpegError):
        stage()(b"nothing")
    with pytest.raises(TypeError, match="load must return the bytes of an image"):
        stage()(17)
    with pytest.raises(ValueError, match="masks"):
        stage(masks=(1,))(jpeg_of(1))


def test_copies_of_a_stage_are_the_same_one_to_a_store():
    """Another size, or another option of decoding, is another."""
    stages = [
        stage(),
        stage((32, 48)),
        stage(colorspace="GRAY"),
        stage(fast=True),
        stage(masks=(1,)),
        stage(orient=True),
    ]
    identities = [identify((jpeg_of, each), False, None)[0] for each in stages]
    copies = [identify((jpeg_of, pickle.loads(pickle.dumps(each))), False, None)[0] for each in stages]
    assert identities == copies and len(set(identities)) == len(stages)


def test_datasets_of_the_same_arguments_have_one_cache():
    """Of other paths, another budget or another function each has its own."""

    def loader(function=jpeg_of, paths=(1, 2, 3), maxbytes="1 MiB"):
        return with_cache(SampleLoader(function, None, **OPTIONS), paths, CacheOptions(maxbytes))

    first = loader()
    first.load([1, 2])
    others = [loader(paths=(1, 2, 4)), loader(maxbytes="2 MiB"), loader(lambda seed: jpeg_of(seed))]
    assert [each.function.cache_stats("all").misses for each in (loader(), *others)] == [2, 0, 0, 0]


def test_the_plan_comes_after_as_many_samples_as_an_epoch_has(capsys):
    """Once."""
    samples = with_cache(SampleLoader(jpeg_of, None, **OPTIONS), range(4), CacheOptions("1 MiB", shared=False))
    told = [False]
    printer = PlanPrinter(samples.function, 4, told)
    for seeds, done in (([0, 1], False), ([2, 3], True), ([0, 1, 2, 3], True)):
        samples.load(seeds)
        printer.after_batch()
        assert told == [done]
    assert capsys.readouterr().out.count("4 items in") == 1


def test_other_ranks_print_nothing(capsys, monkeypatch):
    """The launcher says which one this is."""
    monkeypatch.setenv("RANK", "1")
    samples = with_cache(SampleLoader(jpeg_of, None, **OPTIONS), range(1), CacheOptions("1 MiB", shared=False))
    printer = PlanPrinter(samples.function, 1, [False])
    samples.load([0])
    printer.after_batch()
    assert capsys.readouterr().out == ""
