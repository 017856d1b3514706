"""Masks: the class numbers of a file, checked against what Pillow wrote there, and the nearest pixel."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest

pytest.importorskip("PIL", reason="masks are decoded by Pillow")
from PIL import Image  # noqa: E402

from bytecache.images.crops import Placement  # noqa: E402
from bytecache.images.jpeg import MAX_PIXELS  # noqa: E402
from bytecache.images.masks import decode_mask, place_mask, read_mask  # noqa: E402

CLASSES = np.random.default_rng(0).integers(0, 200, (13, 17), dtype=np.uint8)


def decode(data, orient=False):
    """Return the mask; its spec, from the header, must have told shape and dtype."""
    spec = read_mask(data, orient, MAX_PIXELS)
    mask = decode_mask(data, spec)
    assert (mask.shape, mask.dtype) == (spec.shape, spec.dtype) and mask.flags.c_contiguous
    return mask


def saved(image, kind="PNG", **options):
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def chunk(name, payload):
    return struct.pack(">I", len(payload)) + name + payload + struct.pack(">I", zlib.crc32(name + payload))


def png(numbers, bits, color_type=0):
    """Return a PNG of these numbers, written by hand: gray, or with a palette of arbitrary colors."""
    rows = [
        np.packbits(np.unpackbits(row.astype(">u2").view(np.uint8).reshape(-1, 2), axis=1)[:, 16 - bits :]).tobytes()
        for row in numbers
    ]
    header = struct.pack(">IIBBBBB", numbers.shape[1], numbers.shape[0], bits, color_type, 0, 0, 0)
    palette = chunk(b"PLTE", np.random.default_rng(1).bytes(3 << bits)) if color_type == 3 else b""
    pixels = chunk(b"IDAT", zlib.compress(b"".join(b"\0" + row for row in rows)))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + palette + pixels + chunk(b"IEND", b"")


@pytest.mark.parametrize("bits", [1, 2, 4, 8, 16])
def test_a_gray_png_has_the_numbers_that_were_written(bits):
    """Whatever their bits: neither stretched to 255 nor reduced to eight bits."""
    numbers = np.random.default_rng(bits).integers(0, 1 << bits, (13, 17))
    mask = decode(png(numbers, bits))
    assert np.array_equal(mask, numbers)
    assert mask.dtype == (np.int32 if bits == 16 else np.uint8)


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_a_palette_png_has_its_indices(bits):
    """The numbers of the classes, not their colors."""
    numbers = np.random.default_rng(bits).integers(0, 1 << bits, (13, 17))
    assert np.array_equal(decode(png(numbers, bits, color_type=3)), numbers)


@pytest.mark.parametrize("kind", ["PNG", "GIF", "TIFF", "BMP"])
def test_palette_and_gray_files_of_other_formats(kind):
    """Each has the numbers that Pillow was given."""
    palette = Image.fromarray(CLASSES)
    if kind != "BMP":
        palette.putpalette(np.random.default_rng(1).bytes(768))
    assert np.array_equal(decode(saved(palette, kind, **({"optimize": False} if kind == "GIF" else {}))), CLASSES)


@pytest.mark.parametrize("maxval", [1, 7, 19, 254, 255, 256, 1000, 65535])
@pytest.mark.parametrize("plain", [False, True], ids=["binary", "plain"])
def test_a_pgm_has_the_numbers_that_were_written(maxval, plain):
    """Whatever the greatest number that its header names."""
    numbers = np.random.default_rng(maxval).integers(0, maxval + 1, (13, 17))
    body = numbers.astype(">u2" if maxval > 255 else np.uint8).tobytes()
    body = " ".join(map(str, numbers.flat)).encode() if plain else body
    mask = decode(b"P%d\n17 13\n%d\n" % (2 if plain else 5, maxval) + body)
    assert np.array_equal(mask, numbers) and mask.dtype == (np.int32 if maxval > 255 else np.uint8)


@pytest.mark.parametrize("channels", [3, 4], ids=["RGB", "RGBA"])
def test_a_mask_in_colors_keeps_them(channels):
    """As (H, W, C), for those who code instances in colors."""
    colors = np.random.default_rng(2).integers(0, 256, (6, 5, channels), dtype=np.uint8)
    assert np.array_equal(decode(saved(Image.fromarray(colors))), colors)


def test_transparency_beside_a_number_is_dropped():
    """What is left is (H, W)."""
    image = Image.merge("LA", [Image.fromarray(CLASSES), Image.fromarray(CLASSES // 2)])
    assert np.array_equal(decode(saved(image)), CLASSES)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_mask_is_turned_as_pillow_turns_it(orientation):
    """By its own tag, and by one that its image has."""
    from PIL import ImageOps

    exif = Image.Exif()
    exif[0x0112] = orientation
    data = saved(Image.fromarray(CLASSES), exif=exif)
    expected = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(data))))
    assert np.array_equal(decode(data, orient=True), expected)
    assert np.array_equal(decode(data), CLASSES)
    plain = saved(Image.fromarray(CLASSES))
    spec = read_mask(plain, True, MAX_PIXELS)._replace(orientation=orientation)
    assert spec.size == expected.shape and np.array_equal(decode_mask(plain, spec), expected)


@pytest.mark.parametrize("size", [(13, 17), (26, 34), (5, 4), (40, 3)])
@pytest.mark.parametrize("box", [(0, 0, 13, 17), (2, 3, 8.1, 9.3), (1.25, 0.5, 7.3, 11.1)])
def test_resized_pixels_are_pillows_nearest(size, box):
    """With any box, fractions included; no number appears that was not there."""
    top, left, height, width = box
    out = np.zeros(size, np.uint8)
    place_mask(CLASSES, Placement(box, (0, 0, *size)), out)
    corners = (left, top, left + width, top + height)
    expected = Image.fromarray(CLASSES).resize(size[::-1], Image.Resampling.NEAREST, corners)
    assert np.array_equal(out, np.asarray(expected))


def test_padding_is_zero():
    """Around the target, and nothing within it."""
    out = np.full((20, 30), 7, np.int32)
    place_mask(np.ones((5, 5), np.int32), Placement((0, 0, 5, 5), (2, 3, 10, 10)), out)
    assert out.sum() == 100 and out[2:12, 3:13].all()


@pytest.mark.parametrize("data", [b"", b"no picture", saved(Image.fromarray(CLASSES))[:60]])
def test_what_is_no_mask_is_refused(data):
    """By the error of any picture."""
    from bytecache import JpegError

    with pytest.raises(JpegError):
        decode(data)


def test_a_mask_of_too_many_pixels_is_refused_from_its_header():
    """No memory is taken for it."""
    with pytest.raises(ValueError, match="more than max_pixels=9"):
        read_mask(saved(Image.fromarray(CLASSES)), False, 9)
