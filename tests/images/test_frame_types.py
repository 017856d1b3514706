"""Files with extended, arithmetic and lossless frames, and YCCK: their pixels are those of Pillow or of the drawing."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from helpers.encoded_files import ENCODED_FILES, LOSSLESS_YCBCR, drawing
from helpers.images import by_pillow, difference, insert, segment

from bytecache import JpegError, decode_batch, decode_jpeg, jpeg_header, shrink_jpeg
from bytecache.images.segments import read_frame, walk

pytest.importorskip("PIL", reason="Pillow is the oracle")
from PIL import Image  # noqa: E402

Pixels = np.ndarray[Any, Any]
NAMES = list(ENCODED_FILES)
LOSSLESS = [name for name in NAMES if name.startswith("lossless")]
INKS = ("lossless CMYK", "YCCK")  # rounded down twice on the way to RGB
COLORSPACES = ["RGB", "BGR", "GRAY"]
CANARY, MARGIN = 7, 100_000


def expected(name: str, colorspace: str = "RGB", scale: int = 1) -> Pixels:
    """Return the pixels, (H, W, C), by no code of ours: of the drawing if the file is lossless, else from Pillow."""
    mode = "L" if colorspace == "GRAY" else "RGB"
    if name == "lossless CMYK":  # inverted, as Adobe stores it
        cmyk = drawing(4).astype(int)
        pixels = (cmyk[..., :3] * cmyk[..., 3:] / 255).round().astype(np.uint8)
    elif name == "lossless gray":
        pixels = drawing(1).repeat(3, axis=2)
    elif name == "lossless":
        pixels = drawing(3)
    else:
        pixels = by_pillow(ENCODED_FILES[name], mode, scale)
    if pixels.ndim == 3 and mode == "L":
        pixels = np.asarray(Image.fromarray(pixels).convert("L"))
    if mode == "L":
        return pixels[..., np.newaxis]
    return pixels[..., ::-1] if colorspace == "BGR" else pixels


def resized(image: Pixels, size: tuple[int, int]) -> Pixels:
    """Return the image resized by Pillow's triangle filter; size: (height, width)."""
    source = Image.fromarray(image[..., 0] if image.shape[2] == 1 else np.ascontiguousarray(image))
    return np.asarray(source.resize(size[::-1], Image.Resampling.BILINEAR)).reshape(*size, image.shape[2])


def farthest(a: Pixels, b: Pixels) -> int:
    """Return the largest difference of two images of one shape, in levels of 255."""
    assert a.shape == b.shape
    return int(np.abs(a.astype(int) - b).max())


def tolerance(name: str) -> int:
    """Return by how many levels two decoders may differ."""
    return 2 if name in INKS else 1


def guarded(shape: tuple[int, ...]) -> tuple[Pixels, Pixels]:
    """Return an array to decode into, and the memory of which it is the middle, all CANARY."""
    memory = np.full(int(np.prod(shape)) + 2 * MARGIN, CANARY, np.uint8)
    return memory[MARGIN:-MARGIN].reshape(shape), memory


def untouched(memory: Pixels) -> bool:
    """Return whether nothing was written in front of the array and behind it."""
    return bool((memory[:MARGIN] == CANARY).all() and (memory[-MARGIN:] == CANARY).all())


@pytest.mark.parametrize(
    ("name", "marker", "subsampling"),
    [
        ("arithmetic", 0xC9, "420"),
        ("arithmetic with restarts", 0xC9, "420"),
        ("arithmetic progressive", 0xCA, "420"),
        ("extended", 0xC1, "420"),
        ("lossless", 0xC3, "444"),
        ("lossless gray", 0xC3, "Gray"),
        ("lossless CMYK", 0xC3, "444"),
        ("YCCK", 0xC0, "420"),
    ],
)
def test_each_file_has_the_frame_of_its_name(name: str, marker: int, subsampling: str) -> None:
    """The header is read as it is, and lossless files have real differences of several lengths."""
    data = ENCODED_FILES[name]
    frame, header = read_frame(data), jpeg_header(data)
    assert (frame.marker, frame.lossless) == (marker, name in LOSSLESS)
    assert header[:2] == (48, 64) and header.subsampling == subsampling
    assert any(found.marker == 0xDD for found in walk(data)) == (name == "arithmetic with restarts")
    if frame.lossless:
        assert len(data) > 0.3 * drawing(len(frame.factors)).size


@pytest.mark.parametrize("strict", [True, False])
@pytest.mark.parametrize("colorspace", COLORSPACES)
@pytest.mark.parametrize("name", NAMES)
def test_pixels(name: str, colorspace: str, strict: bool) -> None:
    """Of a lossless file they are the drawing's, of another Pillow's, nearly; nothing around `out` is written."""
    pixels, data = expected(name, colorspace), ENCODED_FILES[name]
    image = decode_jpeg(data, colorspace=colorspace, strict=strict)
    exact = name == "lossless gray" or (name == "lossless" and colorspace != "GRAY")
    assert farthest(image, pixels) <= (0 if exact else tolerance(name))
    assert image.flags.writeable and image.flags.c_contiguous
    out, memory = guarded(image.shape)
    assert decode_jpeg(data, colorspace=colorspace, strict=strict, out=out) is out
    assert np.array_equal(out, image) and untouched(memory)


@pytest.mark.parametrize("scale", [2, 4, 8])
@pytest.mark.parametrize("colorspace", COLORSPACES)
@pytest.mark.parametrize("name", NAMES)
def test_scaled_pixels(name: str, colorspace: str, scale: int) -> None:
    """They are those of Pillow's scaled decode, nearly; a lossless file comes whole."""
    pixels, min_size = expected(name, colorspace, scale), (48 // scale, 64 // scale)
    for strict in (True, False):
        out, memory = guarded(pixels.shape)
        decode_jpeg(ENCODED_FILES[name], colorspace=colorspace, min_size=min_size, strict=strict, out=out)
        assert farthest(out, pixels) <= tolerance(name) and untouched(memory)


@pytest.mark.parametrize("strict", [True, False])
@pytest.mark.parametrize("colorspace", COLORSPACES)
def test_all_of_them_in_one_batch(colorspace: str, strict: bool) -> None:
    """Each is resized as Pillow does it, and nothing around `out` is written."""
    size, channels = (20, 28), 1 if colorspace == "GRAY" else 3
    out, memory = guarded((len(NAMES), *size, channels))
    decode_batch(list(ENCODED_FILES.values()), size=size, colorspace=colorspace, strict=strict, threads=2, out=out)
    assert untouched(memory)
    for name, image in zip(NAMES, out, strict=True):
        assert farthest(image, resized(expected(name, colorspace, scale=2), size)) <= 1 + tolerance(name)
    whole = decode_batch(list(ENCODED_FILES.values()), colorspace=colorspace, strict=strict)
    for name, image in zip(NAMES, whole, strict=True):
        assert farthest(image, expected(name, colorspace)) <= tolerance(name)


@pytest.mark.parametrize("name", NAMES)
def test_shrunk_files(name: str) -> None:
    """They are baseline files of the same picture; a file within the limit stays as it is."""
    data = insert(ENCODED_FILES[name], segment(0xFE, bytes(2000)))  # a comment, without which it would grow
    assert shrink_jpeg(data, max_side=64) is data
    shrunk = shrink_jpeg(data, max_side=32, quality=95)
    assert len(shrunk) < len(data) and read_frame(shrunk).marker == 0xC0 and jpeg_header(shrunk)[:2] == (24, 32)
    assert difference(decode_jpeg(shrunk), resized(expected(name), (24, 32))) < 6


# What is missing


@pytest.mark.parametrize("name", NAMES)
def test_a_file_that_is_cut_off(name: str) -> None:
    """It raises if strict; else the rows before the cut are as they were, or all of them nearly if progressive."""
    data = ENCODED_FILES[name]
    cut = data[: len(data) - 40]
    with pytest.raises(JpegError, match="strict=False returns what can be"):
        decode_jpeg(cut)
    image = decode_jpeg(cut, strict=False)
    if name == "arithmetic progressive":
        assert difference(image, decode_jpeg(data)) < 10
    else:
        assert np.array_equal(image[:8], decode_jpeg(data)[:8])


@pytest.mark.parametrize("strict", [True, False])
def test_a_lossless_file_in_ycbcr_is_refused(strict: bool) -> None:
    """libjpeg converts no colors of lossless files: that is said, and nothing is returned."""
    assert jpeg_header(LOSSLESS_YCBCR)[:3] == (48, 64, "YCbCr")
    for options in ({}, {"colorspace": "GRAY"}, {"min_size": (6, 8)}):
        with pytest.raises(JpegError, match="whose colors libjpeg-turbo does not convert"):
            decode_jpeg(LOSSLESS_YCBCR, strict=strict, **options)
