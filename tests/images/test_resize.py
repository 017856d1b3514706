"""The resize: Pillow's pixels within 1, from either package, on threads and in forked children."""

from __future__ import annotations

import gc
import io
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from helpers.images import make_image, make_jpeg
from helpers.processes import in_child
from helpers.threads import together

from bytecache import decode_batch, decode_image
from bytecache.images import resize as module
from bytecache.images.exif import orientation_segment
from bytecache.images.resize import Scratch, resize, scratch

pillow = pytest.importorskip("PIL.Image", reason="Pillow is the oracle")


@pytest.fixture(params=["cykooz_resizer", "Pillow"])
def package(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Each implementation in turn."""
    if request.param == "Pillow":
        monkeypatch.setattr(module, "_implementation", lambda: module._by_pillow)
    else:
        pytest.importorskip("cykooz_resizer", reason="it has no wheel for this platform")
    yield request.param


def by_pillow(image: np.ndarray[Any, Any], size: tuple[int, int]) -> np.ndarray[Any, Any]:
    source = pillow.fromarray(image[..., 0] if image.shape[2] == 1 else image)
    return np.asarray(source.resize(size[::-1], pillow.Resampling.BILINEAR)).reshape(*size, image.shape[2])


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(
    "sizes",
    [
        ((375, 500), (224, 224)),
        ((256, 256), (224, 224)),
        ((97, 131), (33, 200)),
        ((20, 30), (75, 41)),
        ((9, 7), (1, 1)),
    ],
    ids=str,
)
def test_pixels_are_pillows_within_one(package: str, sizes: Any, channels: int) -> None:
    """Smaller, larger, out of proportion and to a single pixel, gray and color."""
    image, out = make_image(*sizes[0], channels=channels), np.zeros((*sizes[1], channels), np.uint8)
    resize(image, out)
    assert np.abs(out.astype(int) - by_pillow(image, sizes[1])).max() <= 1


def test_sources_and_targets_that_are_views(package: str) -> None:
    """A mirrored image is resized as it looks, into a part of a larger array; nothing else there changes."""
    image, batch = make_image(60, 80)[::-1, ::-1], np.full((3, 30, 40, 3), 7, np.uint8)
    resize(image, batch[1])
    assert np.abs(batch[1].astype(int) - by_pillow(np.ascontiguousarray(image), (30, 40))).max() <= 1
    assert (batch[[0, 2]] == 7).all()


def test_threads_and_forked_children(package: str) -> None:
    """Each thread has what it needs for itself, and so has a child that is forked while others resize."""
    image = make_image(120, 160)

    def work(height: int) -> np.ndarray[Any, Any]:
        out = np.zeros((height, 50, 3), np.uint8)
        for _ in range(20):
            resize(image, out)
        return out

    expected = [by_pillow(image, (height, 50)) for height in (40, 41, 42)]
    for results in together(*[lambda: [work(height) for height in (40, 41, 42)]] * 3):
        assert all(np.abs(a.astype(int) - b).max() <= 1 for a, b in zip(results, expected, strict=True))
    assert np.array_equal(in_child(lambda: work(40)), work(40))


def test_an_image_in_scratch_memory(package: str) -> None:
    """It is resized as any other, whole or in part; the next one of its bytes has the same memory, in its own shape."""
    for shape in (60, 80, 3), (80, 60, 3), (60, 80, 1):
        image = make_image(*shape[:2], channels=shape[2])
        with scratch(image.size) as memory:
            array = memory.array(shape)
            array[...] = image
            for box in None, (10.5, 3.0, 30.0, 50.0):
                expected, out = (np.zeros((30, 40, shape[2]), np.uint8) for _ in range(2))
                resize(image, expected, box)
                resize(array, out, box, memory.pixels)
                assert np.array_equal(out, expected)
        with scratch(image.size) as again:
            assert again is memory


def test_scratch_memory_is_for_one_block_at_a_time() -> None:
    """A block within another has its own, so has each thread; and what is large is not kept."""
    with scratch(100) as outer, scratch(100) as inner:
        assert inner is not outer
    mine: list[Scratch] = []

    def take() -> None:
        with scratch(100) as memory:
            mine.append(memory)

    together(take, take)
    with scratch(100) as here:
        assert len({*map(id, mine), id(here)}) == 3
    with scratch(module._MAX_SCRATCH + 1) as large:
        pass
    with scratch(module._MAX_SCRATCH + 1) as next_one:
        assert next_one is not large


@pytest.mark.parametrize("nbytes", [1, 2, 100])
def test_an_array_of_scratch_memory_outlives_it(nbytes: int) -> None:
    """As one may that a traceback refers to; no other bytes object is changed by what is written."""
    memory = Scratch(nbytes)
    array = memory.array((nbytes,))
    array[:] = 7
    assert memory.pixels == b"\x07" * nbytes and [bytes([n])[0] for n in range(256)] == list(range(256))
    del memory
    others = [bytes(nbytes) for _ in range(100)]  # which would get its memory
    assert (array == 7).all() and set(others) == {bytes(nbytes)}


def test_scratch_memory_of_a_size_is_gone_with_it() -> None:
    """Without the help of the collector, which a worker may have switched off."""
    gc.collect()
    gc.disable()
    try:
        before = len(gc.get_objects())
        for nbytes in range(1000, 1100):
            Scratch(nbytes).array((nbytes,))
        assert len(gc.get_objects()) < before + 100
    finally:
        gc.enable()


def exif(data: bytes) -> bytes:
    return data[:2] + orientation_segment(6) + data[2:]


@pytest.mark.parametrize(
    "make, options",
    [
        (lambda: make_jpeg(60, 80), {}),
        (lambda: exif(make_jpeg(80, 60)), {"orient": True}),
        (lambda: make_jpeg(60, 80)[:-300], {"strict": False}),
        (lambda: make_jpeg(60, 80) + b"more", {}),
        (lambda: encoded("PNG", "RGB"), {}),
        (lambda: encoded("JPEG", "CMYK"), {}),
        (lambda: encoded("JPEG", "L"), {}),
    ],
    ids=["jpeg", "turned", "truncated", "mended", "png", "cmyk", "gray"],
)
def test_whatever_is_decoded_into_scratch_memory_is_what_is_resized(make: Any, options: Any) -> None:
    """Also if the decoder does not write to it directly, and another image was there before."""
    data, out = make(), np.zeros((1, 40, 50, 3), np.uint8)
    expected = np.zeros((40, 50, 3), np.uint8)
    resize(decode_image(data, **options), expected)
    for _ in range(2):
        decode_batch([make_jpeg(60, 80, seed=1)], size=(40, 50))
        assert np.array_equal(decode_batch([data], size=(40, 50), out=out, **options)[0], expected)


def encoded(kind: str, mode: str) -> bytes:
    file = io.BytesIO()
    pillow.fromarray(make_image(60, 80)).convert(mode).save(file, kind)
    return file.getvalue()
