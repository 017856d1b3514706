"""shrink_jpeg: the same image in fewer pixels and bytes, with its colorspace, subsampling and orientation."""

from __future__ import annotations

import numpy as np
import pytest
from helpers.images import count_headers, difference, exif_segment, insert, make_image, make_jpeg, pil_jpeg

from bytecache import JpegError, decode_jpeg, jpeg_header, shrink_jpeg

JPEG = make_jpeg(48, 80)
TRUNCATED = make_jpeg(256, 192)[:4000]


@pytest.fixture
def pillow():
    """Pillow, which resizes; the test is skipped without it."""
    return pytest.importorskip("PIL.Image", reason="shrinking needs Pillow")


@pytest.mark.parametrize(
    ("size", "max_side", "expected"),
    [
        ((256, 384), 96, (64, 96)),
        ((384, 256), 96, (96, 64)),
        ((300, 300), 100, (100, 100)),
        ((301, 200), 100, (100, 66)),
        ((1000, 3), 64, (64, 1)),
        ((257, 129), 256, (256, 128)),
    ],
)
def test_shrink_to_the_longest_side(pillow, size: tuple, max_side: int, expected: tuple) -> None:
    """The longest side becomes max_side, the other keeps the aspect ratio, and the file is smaller."""
    data = make_jpeg(*size, quality=95)
    shrunk = shrink_jpeg(data, max_side=max_side)
    assert jpeg_header(shrunk)[:2] == expected
    assert len(shrunk) < len(data)
    if min(size) < 8:  # a scaled decode mixes in the padding of the last block
        return
    full = np.asarray(pillow.fromarray(decode_jpeg(data)).resize(expected[::-1], pillow.Resampling.BOX))
    assert difference(decode_jpeg(shrunk), full) < 8


@pytest.mark.parametrize("max_side", [80, 81, 10_000])
def test_shrink_never_enlarges(max_side: int) -> None:
    """An image within max_side is returned as the same object, and Pillow is not needed."""
    assert shrink_jpeg(JPEG, max_side=max_side, quality=1) is JPEG


def test_shrink_returns_the_input_if_it_would_grow(pillow) -> None:
    """An image that would take more bytes than before is returned as it is."""
    data = make_jpeg(200, 200, quality=5)
    assert shrink_jpeg(data, max_side=199, quality=100) is data
    assert len(shrink_jpeg(data, max_side=100, quality=5)) < len(data)


def test_shrink_quality(pillow) -> None:
    """A lower quality makes fewer bytes."""
    data = make_jpeg(256, 256, quality=95)
    lengths = [len(shrink_jpeg(data, max_side=200, quality=quality)) for quality in (1, 50, 90)]
    assert lengths == sorted(set(lengths))


@pytest.mark.parametrize(
    ("colorspace", "subsampling"), [("GRAY", "Gray"), ("RGB", "444"), ("RGB", "422"), ("RGB", "420"), ("RGB", "440")]
)
def test_shrink_keeps_colorspace_and_subsampling(pillow, colorspace: str, subsampling: str) -> None:
    """Gray stays gray, and color keeps its subsampling."""
    data = make_jpeg(200, 300, colorspace=colorspace, subsampling=subsampling, quality=95)
    assert jpeg_header(shrink_jpeg(data, max_side=150))[2:] == jpeg_header(data)[2:]
    assert jpeg_header(data).subsampling == subsampling


def test_shrink_converts_cmyk_to_color(pillow) -> None:
    """A CMYK file becomes a color file of the same image."""
    drawn = make_image(200, 200)
    shrunk = shrink_jpeg(pil_jpeg(drawn, "CMYK", quality=95), max_side=100)
    assert jpeg_header(shrunk)[:3] == (100, 100, "YCbCr")
    assert difference(decode_jpeg(shrunk), drawn.reshape(100, 2, 100, 2, 3).mean((1, 3)).astype(int)) < 8


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_shrink_keeps_the_orientation(pillow, orientation: int, order: str) -> None:
    """With orient=True the image is the same before and after, and OpenCV agrees."""
    data = insert(make_jpeg(200, 300, quality=95), exif_segment(orientation, order))
    shrunk = shrink_jpeg(data, max_side=150)
    before, after = decode_jpeg(data, orient=True), decode_jpeg(shrunk, orient=True)
    assert after.shape == (before.shape[0] // 2, before.shape[1] // 2, 3)
    assert difference(after, before.reshape(after.shape[0], 2, after.shape[1], 2, 3).mean((1, 3)).astype(int)) < 8
    cv2 = pytest.importorskip("cv2", reason="OpenCV is the oracle")
    assert np.array_equal(cv2.imdecode(np.frombuffer(shrunk, np.uint8), cv2.IMREAD_COLOR)[..., ::-1], after)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_side": 0}, "max_side must be .* got 0"),
        ({"max_side": -5}, "max_side must be .* got -5"),
        ({"max_side": "64"}, "max_side must be .* got '64'"),
        ({"max_side": 64.5}, "max_side must be .* got 64.5"),
        ({"max_side": 64, "quality": 0}, "quality must be .* got 0"),
        ({"max_side": 64, "quality": 101}, "quality must be .* got 101"),
        ({"max_side": 64, "quality": None}, "quality must be .* got None"),
    ],
)
def test_shrink_options_are_checked(options: dict, message: str) -> None:
    """A max_side or quality that is out of range or not an int is refused, with what came."""
    with pytest.raises((TypeError, ValueError), match=message):
        shrink_jpeg(JPEG, **options)


def test_shrink_refuses_a_truncated_file() -> None:
    """A truncated file raises JpegError and does not become a complete one that is partly gray."""
    with pytest.raises(JpegError, match="4000 bytes, cannot be decoded"):
        shrink_jpeg(TRUNCATED, max_side=64)


def test_the_header_is_read_once(pillow, monkeypatch: pytest.MonkeyPatch) -> None:
    """The header that decides whether to shrink also serves the decode."""
    data = make_jpeg(256, 384)
    headers = count_headers(monkeypatch)
    assert len(shrink_jpeg(data, max_side=96)) < len(data)
    assert headers == [len(data)]
