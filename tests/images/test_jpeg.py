"""decode_jpeg and jpeg_header: the pixels of simplejpeg and OpenCV, and a clear error for anything else."""

from __future__ import annotations

import pickle
import struct
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import simplejpeg
from helpers.images import claim_size, difference, exif_segment, insert, make_image, make_jpeg, pil_jpeg, segment

from bytecache import JpegError, decode_batch, decode_jpeg, jpeg_header, shrink_jpeg
from bytecache.images import resize
from bytecache.images.jpeg import MAX_PIXELS

JPEG = make_jpeg(48, 80)
BOMB = claim_size(JPEG, 65500, 65500)
TRUNCATED = make_jpeg(256, 192)[:4000]


# Pixels


@pytest.mark.parametrize("colorspace", ["RGB", "BGR", "GRAY"])
@pytest.mark.parametrize("stored", ["RGB", "GRAY"])
@pytest.mark.parametrize("subsampling", ["444", "422", "420"])
def test_pixels_are_those_of_simplejpeg(colorspace: str, stored: str, subsampling: str) -> None:
    """Each colorspace is decoded to exactly simplejpeg's pixels, as (H, W, C), whatever is stored."""
    data = make_jpeg(47, 81, colorspace=stored, subsampling=subsampling)
    image = decode_jpeg(data, colorspace=colorspace)
    assert image.shape == (47, 81, 1 if colorspace == "GRAY" else 3) and image.dtype == np.uint8
    assert np.array_equal(image, simplejpeg.decode_jpeg(data, colorspace))


def test_a_decoded_image_resembles_the_drawn_one() -> None:
    """RGB is red first and BGR is its reverse, to within what JPEG loses."""
    drawn, image = make_image(48, 80), decode_jpeg(JPEG)
    assert difference(image, drawn) < 10 < difference(image, drawn[..., ::-1])
    assert np.array_equal(decode_jpeg(JPEG, colorspace="BGR"), image[..., ::-1])


@pytest.mark.parametrize("side", range(1, 18))
def test_every_small_size_is_decoded_completely(side: int) -> None:
    """Images of 1 to 17 pixels a side have their own size and simplejpeg's pixels."""
    for other in (1, 2, 7, 8, 9, 16, 17):
        data = make_jpeg(side, other, seed=side)
        assert np.array_equal(decode_jpeg(data), simplejpeg.decode_jpeg(data))


@pytest.mark.parametrize("options", [{"progressive": True}, {"optimize": True}, {"restart_marker_rows": 1}])
def test_other_baseline_and_progressive_files(options: dict) -> None:
    """Progressive files and files with restart markers decode to Pillow's pixels."""
    image_module = pytest.importorskip("PIL.Image", reason="Pillow writes these files")
    from io import BytesIO

    data = pil_jpeg(make_image(75, 101), **options)
    with image_module.open(BytesIO(data)) as image:
        assert difference(decode_jpeg(data), np.asarray(image)) < 0.5


def test_cmyk_becomes_color() -> None:
    """A CMYK file decodes to RGB close to the image it was made from."""
    pytest.importorskip("PIL", reason="Pillow writes CMYK files")
    drawn = make_image(64, 64)
    data = pil_jpeg(drawn, "CMYK", quality=95)
    assert jpeg_header(data).colorspace in ("CMYK", "YCCK")
    assert difference(decode_jpeg(data), drawn) < 6


def test_fast_is_near_but_not_equal() -> None:
    """With fast= the pixels differ, but by few levels."""
    data = make_jpeg(256, 256)
    assert 0 < difference(decode_jpeg(data, fast=True), decode_jpeg(data)) < 3


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (make_jpeg(47, 81), (47, 81, "YCbCr", "420")),
        (make_jpeg(1, 300, subsampling="444"), (1, 300, "YCbCr", "444")),
        (make_jpeg(300, 1, colorspace="GRAY"), (300, 1, "Gray", "Gray")),
    ],
)
def test_header(data: bytes, expected: tuple) -> None:
    """jpeg_header returns height, width, colorspace and subsampling, even of a file truncated after its header."""
    assert jpeg_header(data) == expected
    assert jpeg_header(data[:-20]).height == expected[0]


# Kinds of bytes


@pytest.mark.parametrize(
    "kind",
    [bytes, bytearray, memoryview, lambda d: np.frombuffer(d, np.uint8), lambda d: memoryview(b"x" + d)[1:]],
    ids=["bytes", "bytearray", "memoryview", "ndarray", "slice"],
)
@pytest.mark.parametrize("orient", [False, True])
def test_kinds_of_bytes(kind, orient: bool) -> None:
    """Bytes, bytearray, memoryview, a slice of one, and a uint8 array decode alike."""
    data = insert(JPEG, exif_segment(6))
    assert np.array_equal(decode_jpeg(kind(data), orient=orient), decode_jpeg(data, orient=orient))
    assert jpeg_header(kind(data)) == jpeg_header(data)
    assert shrink_jpeg(kind(data), max_side=40) == shrink_jpeg(data, max_side=40)
    assert type(shrink_jpeg(kind(data), max_side=100)) is bytes


@pytest.mark.parametrize("data", ["a.jpg", None, Path("a.jpg"), 7, [255, 216]])
@pytest.mark.parametrize("function", [decode_jpeg, jpeg_header, lambda data: shrink_jpeg(data, max_side=9)])
def test_what_is_not_bytes(data: object, function) -> None:
    """A path or another object raises a TypeError that names its type and says to read the file."""
    with pytest.raises(TypeError, match=f"bytes of a JPEG file, got {type(data).__name__}: read the file first"):
        function(data)


def test_a_strided_view_is_refused() -> None:
    """A view with gaps raises a ValueError that names the way out, before the decoder could read beyond it."""
    doubled = np.repeat(np.frombuffer(JPEG, np.uint8), 2)
    for view in (doubled[::2], memoryview(doubled)[::2]):
        with pytest.raises(ValueError, match=r"contiguous.*pass bytes\(data\)"):
            decode_jpeg(view)


@pytest.mark.parametrize(
    "data",
    [np.frombuffer(JPEG[: len(JPEG) // 4 * 4], np.float32), np.frombuffer(JPEG, np.uint8)[None]],
    ids=["float32", "2-D"],
)
def test_an_array_that_is_not_a_string_of_bytes(data: np.ndarray) -> None:
    """An array of another dtype or shape raises an error that says so, not that the file is damaged."""
    with pytest.raises((TypeError, ValueError), match="data must be") as caught:
        decode_jpeg(data)
    assert not isinstance(caught.value, JpegError)


# min_size


SIZES = [(h, w) for h in (1, 2, 3, 7, 8, 9, 15, 16, 17) for w in (1, 5, 8, 9, 16, 17)] + [(375, 500), (101, 37)]


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_min_size_selects_the_smallest_that_is_large_enough(size: tuple[int, int]) -> None:
    """The result is the smallest of 1, 1/2, 1/4, 1/8 (rounded up) not below min_size, or full size if all are."""
    data = make_jpeg(*size)
    scaled = {factor: (-(-size[0] // factor), -(-size[1] // factor)) for factor in (1, 2, 4, 8)}
    edges = [{s[axis] + step for s in scaled.values() for step in (-1, 0, 1) if s[axis] + step > 0} for axis in (0, 1)]
    for height in edges[0]:
        for width in edges[1]:
            expected = min([s for s in scaled.values() if s[0] >= height and s[1] >= width], default=size)
            image = decode_jpeg(data, min_size=(height, width))
            assert image.shape[:2] == expected, (height, width)
            assert np.array_equal(image, simplejpeg.decode_jpeg(data, "RGB", False, False, *expected))


@pytest.mark.parametrize("factor", [2, 4, 8])
def test_a_scaled_decode_has_opencvs_pixels(factor: int) -> None:
    """The decode at 1/2, 1/4 and 1/8 equals OpenCV's, so no other eighth is ever used, even just above 1/8."""
    cv2 = pytest.importorskip("cv2", reason="OpenCV is the oracle")
    for height, width in [(64, 96), (65, 97), (127, 33), (375, 500)]:
        data = make_jpeg(height, width)
        flags = getattr(cv2, f"IMREAD_REDUCED_COLOR_{factor}")
        expected = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
        least = (expected.shape[0] + 1) // 2 + 1, (expected.shape[1] + 1) // 2 + 1
        assert np.array_equal(decode_jpeg(data, min_size=least, colorspace="BGR"), expected)


def test_min_size_with_out() -> None:
    """With min_size, out has the scaled shape."""
    out = np.empty((24, 40, 3), np.uint8)
    assert decode_jpeg(JPEG, min_size=(24, 40), out=out) is out
    assert np.array_equal(out, decode_jpeg(JPEG, min_size=(24, 40)))


@pytest.mark.parametrize(
    "min_size", [5, (0, 1), (1, -1), (1.5, 2), (1,), (1, 2, 3), "ab", (float("nan"), 1), (float("inf"), 1), (None, 1)]
)
def test_min_size_is_checked(min_size: object) -> None:
    """Anything but two positive ints raises a ValueError that says what min_size is."""
    with pytest.raises(ValueError, match=r"min_size must be two positive ints, \(height, width\)"):
        decode_jpeg(JPEG, min_size=min_size)  # type: ignore[arg-type]


# out


@pytest.mark.parametrize("colorspace", ["RGB", "BGR", "GRAY"])
@pytest.mark.parametrize("orientation", [1, 3, 6])
def test_out_is_filled_and_returned(colorspace: str, orientation: int) -> None:
    """out itself is returned, with the pixels that a new array would have, upright or rotated."""
    data = insert(JPEG, exif_segment(orientation))
    expected = decode_jpeg(data, colorspace=colorspace, orient=True)
    out = np.full_like(expected, 77)
    assert decode_jpeg(data, colorspace=colorspace, orient=True, out=out) is out
    assert np.array_equal(out, expected)


def _read_only() -> np.ndarray:
    array = np.zeros((48, 80, 3), np.uint8)
    array.flags.writeable = False
    return array


@pytest.mark.parametrize(
    ("out", "error", "message"),
    [
        (np.zeros((48, 80, 3), np.float32), ValueError, r"uint8 array of shape \(48, 80, 3\), got float32 \(48, "),
        (np.zeros((48, 80, 3), np.int8), ValueError, "got int8"),
        (np.zeros((80, 48, 3), np.uint8), ValueError, r"got uint8 \(80, 48, 3\)"),
        (np.zeros((48, 80), np.uint8), ValueError, r"got uint8 \(48, 80\)"),
        (np.zeros((48, 80, 1), np.uint8), ValueError, r"got uint8 \(48, 80, 1\)"),
        (np.zeros((49, 80, 3), np.uint8), ValueError, r"got uint8 \(49, 80, 3\)"),
        (np.zeros((48, 160, 3), np.uint8)[:, ::2], ValueError, "not C-contiguous"),
        (np.zeros((48, 80, 3), np.uint8, order="F"), ValueError, "not C-contiguous"),
        (_read_only(), ValueError, "read-only"),
        (bytearray(48 * 80 * 3), TypeError, "out must be a numpy array, got bytearray"),
        ([[[0]]], TypeError, "got list"),
    ],
    ids=lambda value: str(getattr(value, "shape", "")) or None,
)
def test_out_is_checked_before_decoding(out, error: type, message: str) -> None:
    """An unsuitable out is refused with what was expected and what came, even if the file itself is damaged."""
    damaged = JPEG[: len(JPEG) // 2]
    with pytest.raises(error, match=message) as caught:
        decode_jpeg(damaged, out=out)
    assert not isinstance(caught.value, JpegError)
    assert not np.any(np.asarray(out))


def test_unknown_colorspace() -> None:
    """Any colorspace but these three raises ValueError before the decoder, which would leak, is called."""
    for colorspace in ("rgb", "RGBA", "", None):
        with pytest.raises(ValueError, match='"RGB", "BGR" or "GRAY", got '):
            decode_jpeg(b"", colorspace=colorspace)  # type: ignore[arg-type]


# strict


def test_truncated_files() -> None:
    """A truncated file raises an error with its length if strict, and otherwise decodes as far as it goes."""
    with pytest.raises(JpegError, match="the JPEG data, 4000 bytes, cannot be decoded"):
        decode_jpeg(TRUNCATED)
    image = decode_jpeg(TRUNCATED, strict=False)
    whole = decode_jpeg(make_jpeg(256, 192))
    assert image.shape == whole.shape
    assert np.array_equal(image[:32], whole[:32])
    assert not np.array_equal(image, whole)


def test_not_strict_fills_out() -> None:
    """strict=False writes every pixel of out, including those that are missing in the file."""
    low, high = np.zeros((256, 192, 3), np.uint8), np.full((256, 192, 3), 255, np.uint8)
    for out in (low, high):
        decode_jpeg(TRUNCATED, strict=False, out=out)
    assert np.array_equal(low, high)


# Orientation


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("size", [(40, 56), (33, 17), (1, 8)], ids=str)
def test_orientation_is_opencvs(orientation: int, order: str, size: tuple[int, int]) -> None:
    """Each of the eight orientations, in either byte order, is applied as OpenCV does, and only with orient=True."""
    cv2 = pytest.importorskip("cv2", reason="OpenCV is the oracle")
    data = insert(make_jpeg(*size), exif_segment(orientation, order))
    expected = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    image = decode_jpeg(data, orient=True)
    assert image.flags.c_contiguous and np.array_equal(image, expected[..., ::-1])
    assert decode_jpeg(data).shape[:2] == size


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_written_by_pillow(orientation: int) -> None:
    """The Exif block that Pillow writes is understood as Pillow and OpenCV understand it."""
    image_module = pytest.importorskip("PIL.Image", reason="Pillow writes the Exif block")
    cv2 = pytest.importorskip("cv2", reason="OpenCV is the oracle")
    exif = image_module.Exif()
    exif[0x0110], exif[0x0112] = "a camera", orientation
    data = pil_jpeg(make_image(40, 56), exif=exif)
    expected = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    assert np.array_equal(decode_jpeg(data, orient=True, colorspace="BGR"), expected)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_undone(orientation: int) -> None:
    """An image stored in any orientation decodes to the upright one (the only oracle is the Exif table)."""
    # Where the stored row 0 and column 0 are in the upright image: Exif 2.32, table of tag 274.
    upright = make_image(40, 56)
    stored = {
        1: upright, 2: upright[:, ::-1], 3: upright[::-1, ::-1], 4: upright[::-1], 5: upright.transpose(1, 0, 2),
        6: np.rot90(upright), 7: np.rot90(upright, 2).transpose(1, 0, 2), 8: np.rot90(upright, -1),
    }[orientation]  # fmt: skip
    data = insert(simplejpeg.encode_jpeg(np.ascontiguousarray(stored), 95), exif_segment(orientation))
    assert difference(decode_jpeg(data, orient=True), upright) < 5


XMP = segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0<x:xmpmeta/>")


@pytest.mark.parametrize(
    "before",
    [(XMP,), (segment(0xE0, b"JFIF\0\1\1\0\0\1\0\1\0\0"),), (b"\xff\xff",), (XMP, segment(0xFE, b"a comment"), XMP)],
    ids=["XMP", "JFIF", "fill bytes", "several"],
)
def test_exif_after_other_segments(before: tuple[bytes, ...]) -> None:
    """The Exif block is found after other segments and fill bytes."""
    data = insert(JPEG, *before, exif_segment(6))
    assert decode_jpeg(data, orient=True).shape == (80, 48, 3)


GOOD = exif_segment(6)
TIFF = 10  # offset of the TIFF block in that segment


@pytest.mark.parametrize(
    "damaged",
    [
        b"",
        exif_segment(0),
        exif_segment(9),
        exif_segment(65535),
        exif_segment(6, kind=4, order=">"),
        exif_segment(6, tag=0x0113),
        GOOD.replace(b"Exif\0\0", b"Exif\0\1"),
        GOOD.replace(b"MM", b"XX"),
        GOOD.replace(b"MM", b"II"),
        GOOD[: TIFF + 4] + struct.pack(">I", 0xFFFFFFF0) + GOOD[TIFF + 8 :],
        GOOD[: TIFF + 4] + struct.pack(">I", 100_000) + GOOD[TIFF + 8 :],
        GOOD[: TIFF + 8] + struct.pack(">H", 0) + GOOD[TIFF + 10 :],
        *(segment(0xE1, GOOD[4 : 4 + length]) for length in (0, 5, 6, 8, 14, 16, 20, 28, 37)),
    ],
)
def test_damaged_exif_means_upright(damaged: bytes) -> None:
    """If the orientation is absent, out of range or cannot be read, the image counts as upright."""
    data = insert(JPEG, damaged)
    assert np.array_equal(decode_jpeg(data, orient=True), decode_jpeg(JPEG))


def test_exif_after_the_image_is_not_read() -> None:
    """An Exif block after the start of scan is not part of the header."""
    assert decode_jpeg(JPEG + exif_segment(6), orient=True).shape == (48, 80, 3)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_min_size_is_that_of_the_upright_image(orientation: int) -> None:
    """With orient=True, min_size is the rotated image's height and width."""
    data = insert(make_jpeg(64, 128), exif_segment(orientation))
    upright = (128, 64) if orientation >= 5 else (64, 128)
    half = upright[0] // 2, upright[1] // 2
    image = decode_jpeg(data, orient=True, min_size=half)
    assert image.shape[:2] == half
    assert decode_jpeg(data, orient=True, min_size=(half[0] + 1, 1)).shape[:2] == upright
    assert decode_jpeg(data, orient=True, min_size=(1, half[1] + 1)).shape[:2] == upright
    whole = decode_jpeg(data, orient=True).reshape(half[0], 2, half[1], 2, 3).mean((1, 3))
    assert difference(image, whole.round().astype(int)) < 4


# max_pixels


@pytest.mark.parametrize(
    ("decode", "options"),
    [
        (decode_jpeg, {}),
        (decode_jpeg, {"strict": False, "orient": True, "min_size": (8, 8)}),
        (lambda data, **options: decode_batch([data], **options), {}),
        (lambda data, **options: decode_batch([data], **options), {"size": (8, 8)}),
    ],
)
def test_a_bomb_is_refused_before_memory_is_allocated(decode, options: dict) -> None:
    """A small file that claims 65500 x 65500 pixels raises JpegError, and no array is allocated for it."""
    tracemalloc.start()
    try:
        with pytest.raises(
            JpegError, match=r"65500 x 65500 = 4290250000 pixels, more than max_pixels=178956970: if it is not a"
        ):
            decode(BOMB, **options)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 2**20


def test_max_pixels_is_a_limit_on_the_stored_size() -> None:
    """An image of exactly max_pixels is decoded, one more is refused for any min_size; None is no limit."""
    assert MAX_PIXELS == 178_956_970
    assert decode_jpeg(JPEG, max_pixels=48 * 80).shape == (48, 80, 3)
    for options in ({}, {"min_size": (1, 1)}, {"orient": True}):
        with pytest.raises(JpegError, match="48 x 80 = 3840 pixels, more than max_pixels=3839"):
            decode_jpeg(JPEG, max_pixels=3839, **options)
    assert jpeg_header(BOMB)[:2] == (65500, 65500)
    wide = claim_size(make_jpeg(8, 8), 8, 60000)
    assert decode_jpeg(wide, max_pixels=None, strict=False).shape == (8, 60000, 3)


# Errors


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "got none: the file is empty"),
        (b"\x89PNG\r\n\x1a\n" + bytes(50), r"got b'\\x89PNG\\r\\n\\x1a\\n': a PNG, not a JPEG: decode_image takes it"),
        (b"GIF89a" + bytes(50), "a GIF, not a JPEG"),
        (b"<!DOCTYPE html><title>404</title>", "an HTML or XML file, not a JPEG"),
        (b"<?xml version='1.0'?><Error/>", "an HTML or XML file, not a JPEG"),
        (b"RIFF\x10\0\0\0WEBPVP8 ", "a WebP"),
        (b"version https://git-lfs.github.com/spec/v1\n", "a Git LFS pointer"),
        (b"hello", r"which start with b'\\xff\\xd8', got b'hello'$"),
        (b"\xff", r"got b'\\xff'$"),
        (b"\xff\xd8", "truncated after 2 bytes: it ends before the marker that starts at byte 2"),
        (JPEG[:100], r"truncated after 100 bytes: it ends inside the segment 0xdb that starts at byte \d+"),
        (b"\0" + JPEG, "which start with"),
    ],
)
@pytest.mark.parametrize("strict", [True, False])
@pytest.mark.parametrize("kind", [bytes, bytearray, lambda data: np.frombuffer(data, np.uint8)])
def test_what_a_bad_file_is(data: bytes, message: str, strict: bool, kind) -> None:
    """JpegError, a ValueError, says what was expected and what the bytes are; no other exception is raised."""
    with pytest.raises(JpegError, match=message) as caught:
        decode_jpeg(kind(data), strict=strict)
    assert isinstance(caught.value, ValueError) and caught.value.index is None
    with pytest.raises(JpegError, match=message):
        jpeg_header(kind(data))
    with pytest.raises(JpegError):
        shrink_jpeg(kind(data), max_side=8)


def test_an_error_is_picklable_with_its_index() -> None:
    """JpegError crosses processes complete with message, type and index."""
    error = JpegError("image 3: bad")
    error.index = 3
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), str(again), again.index) == (JpegError, "image 3: bad", 3)


# Pillow


def test_without_packages_that_resize(monkeypatch: pytest.MonkeyPatch) -> None:
    """Decoding works without them, and whatever resizes names the extra to install."""
    monkeypatch.setitem(sys.modules, "PIL", None)
    monkeypatch.setitem(sys.modules, "cykooz_resizer", None)
    resize._implementation.cache_clear()
    try:
        assert decode_batch([JPEG], size=(48, 80)).shape == (1, 48, 80, 3)
        for resizing in (lambda: shrink_jpeg(JPEG, max_side=40 + 1), lambda: decode_batch([JPEG], size=(30, 30))):
            with pytest.raises(ImportError, match=r"Pillow package: pip install 'bytecache\[images\]'"):
                resizing()
    finally:
        resize._implementation.cache_clear()
