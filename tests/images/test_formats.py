"""Images of every format, by content: pixels are Pillow's and OpenCV's, whatever the file is called."""

from __future__ import annotations

import contextlib
import struct
import sys
import zlib
from collections.abc import Callable
from io import BytesIO
from typing import Any

import numpy as np
import pytest
from helpers.images import exif_segment, make_image, make_jpeg, pil_jpeg

import bytecache
from bytecache import JpegError, decode_batch, decode_image, decode_jpeg, image_size, shrink_jpeg

pytest.importorskip("PIL", reason="Pillow makes and decodes the files")
from helpers.odd_files import DRAWING, FORMATS, encoded  # noqa: E402
from PIL import Image, ImageOps  # noqa: E402


def with_chunk(png: bytes, name: bytes, payload: bytes, before: bytes) -> bytes:
    """Return the PNG with a chunk more in front of another."""
    at = png.index(before) - 4
    chunk = struct.pack(">I", len(payload)) + name + payload + struct.pack(">I", zlib.crc32(name + payload))
    return png[:at] + chunk + png[at:]


def by_pillow(data: bytes, mode: str = "RGB") -> np.ndarray[Any, Any]:
    image = Image.open(BytesIO(data))
    if image.mode.startswith("I;16"):
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    image.info.pop("transparency", None)
    return np.asarray(image.convert(mode))


@pytest.mark.parametrize("data", FORMATS.values(), ids=FORMATS)
def test_pixels_are_pillows(data: bytes) -> None:
    """In every colorspace, in an array of one's own or a given one, from bytes or a view."""
    expected = by_pillow(data)
    image = decode_image(data)
    assert image.shape == (48, 64, 3) and image.dtype == np.uint8 and image.flags.writeable and image.flags.c_contiguous
    assert np.abs(image.astype(int) - expected).max() <= 1
    assert np.array_equal(decode_image(data, colorspace="BGR"), image[..., ::-1])
    out = np.full((48, 64, 3), 7, np.uint8)
    assert decode_image(memoryview(data), out=out) is out and np.array_equal(out, image)
    gray = decode_image(data, colorspace="GRAY")
    assert gray.shape == (48, 64, 1) and np.abs(gray[..., 0].astype(int) - by_pillow(data, "L")).max() <= 1


@pytest.mark.parametrize("data", FORMATS.values(), ids=FORMATS)
def test_pixels_are_opencvs(data: bytes) -> None:
    """Of these files, which OpenCV reads as Pillow does."""
    cv2 = pytest.importorskip("cv2")
    expected = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
    assert np.abs(decode_image(data, colorspace="BGR").astype(int) - expected).max() <= 1


RAMP = np.arange(0, 65536, 64, dtype=np.uint16).reshape(16, 64)


def tiff(pixels: np.ndarray[Any, Any], photometric: int, order: str, kind: int = 1) -> bytes:
    """Return an uncompressed gray TIFF. photometric: 0 if white is zero. kind: of numbers, 1 unsigned, 2 signed."""
    bits, (height, width) = 8 * pixels.itemsize, pixels.shape
    data = pixels.astype(pixels.dtype.newbyteorder(order)).tobytes()
    tags = [(256, width), (257, height), (258, bits), (259, 1), (262, photometric), (273, 8), (277, 1)]
    tags += [(278, height), (279, len(data)), (339, kind)]
    entries = b"".join(struct.pack(order + "HHII", tag, 4, 1, value) for tag, value in tags)
    header = struct.pack(order + "2sHI", b"II" if order == "<" else b"MM", 42, 8 + len(data))
    return header + data + struct.pack(order + "H", len(tags)) + entries + bytes(4)


@pytest.mark.parametrize(
    ("data", "inverted"),
    [
        (b"P5\n64 16\n65535\n" + RAMP.astype(">u2").tobytes(), False),
        (b"P2\n64 16\n65535\n" + b" ".join(b"%d" % value for value in RAMP.ravel()), False),
        (encoded(Image.fromarray(RAMP), "PNG"), False),
        (tiff(RAMP, 1, "<"), False),
        (tiff(RAMP, 1, ">"), False),
        (tiff(RAMP, 0, "<"), True),
    ],
    ids=["PGM", "PGM as text", "PNG", "TIFF", "TIFF, big-endian", "TIFF, white is zero"],
)
def test_16_bits_are_reduced_to_8(data: bytes, inverted: bool) -> None:
    """Black is black and white is white, in every format."""
    expected = (RAMP / 257).round().astype(int)
    if inverted:
        expected = 255 - expected
    gray = decode_image(data, colorspace="GRAY")[..., 0].astype(int)
    assert np.abs(gray - expected).max() <= 1
    assert np.array_equal(decode_image(data), np.stack([gray] * 3, axis=2))


@pytest.mark.parametrize("kind", [1, 2, 3])
def test_32_bits_are_refused(kind: int) -> None:
    """What is white in them, nobody knows: neither integers nor floats."""
    pixels = RAMP.astype(np.float32 if kind == 3 else np.uint32)
    with pytest.raises(JpegError, match="a TIFF of 32 bits, which have no defined range"):
        decode_image(tiff(pixels, 1, "<", kind))


def test_image_size() -> None:
    """That of the header, in every format, upright if asked."""
    assert {image_size(data) for data in FORMATS.values()} == {(48, 64)}
    data = encoded(DRAWING, "PNG", exif=exif(6))
    assert (image_size(data), image_size(data, orient=True)) == ((48, 64), (64, 48))


def test_a_batch_of_all_formats() -> None:
    """Each image is that of its file, resized or not."""
    files = list(FORMATS.values())
    batch = decode_batch(files)
    assert batch.shape == (len(files), 48, 64, 3)
    for image, data in zip(batch, files, strict=True):
        assert np.array_equal(image, decode_image(data))
    small = decode_batch(files, size=(24, 32))
    png = list(FORMATS).index("PNG")
    expected = np.asarray(DRAWING.resize((32, 24), Image.Resampling.BILINEAR))
    assert np.abs(small[png].astype(int) - expected).max() <= 1


# Orientation


def exif(orientation: int) -> Image.Exif:
    tags = Image.Exif()
    tags[0x0112] = orientation
    return tags


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["PNG", "WEBP", "AVIF", "TIFF", "PNG, after the pixels", "JPEG"])
def test_orientation(kind: str, orientation: int) -> None:
    """Images come upright if asked; a TIFF always does."""
    tags = exif(orientation)
    if kind == "PNG, after the pixels":
        data = with_chunk(encoded(DRAWING, "PNG"), b"eXIf", tags.tobytes().removeprefix(b"Exif\0\0"), b"IEND")
    else:
        data = encoded(DRAWING, kind, exif=tags)
    expected = np.asarray(ImageOps.exif_transpose(Image.open(BytesIO(data))).convert("RGB"))
    assert np.array_equal(decode_image(data, orient=True), expected)
    assert decode_batch([data, data], orient=True).shape == (2, *expected.shape)
    if kind != "TIFF":
        assert decode_image(data).shape == (48, 64, 3)
    height, width = decode_image(shrink_jpeg(data, max_side=32), orient=True).shape[:2]
    assert (height > width) == (expected.shape[0] > expected.shape[1])


# Shrinking


@pytest.mark.parametrize("name", ["PNG", "WebP, lossless with transparency", "TIFF, LZW", "BMP, gray", "GIF"])
def test_shrink_makes_a_jpeg_of_any_format(name: str) -> None:
    """Whether the image is larger than the limit or not; of a gray one a gray JPEG."""
    for max_side, size in ((32, (24, 32)), (64, (48, 64)), (1000, (48, 64))):
        shrunk = shrink_jpeg(FORMATS[name], max_side=max_side)
        assert bytecache.jpeg_header(shrunk)[:2] == size
        assert (bytecache.jpeg_header(shrunk).colorspace == "Gray") == ("gray" in name)
    difference = decode_jpeg(shrink_jpeg(FORMATS[name], max_side=64, quality=99)).astype(int) - by_pillow(FORMATS[name])
    assert np.abs(difference).mean() < 6, "noise, and chroma of half the size"


def test_shrink_leaves_a_file_that_is_smaller_than_its_jpeg() -> None:
    """A picture of one color is smaller as PNG."""
    data = encoded(Image.new("RGB", (64, 48), (10, 20, 30)), "PNG")
    assert shrink_jpeg(data, max_side=64) == data
    assert (decode_image(shrink_jpeg(data, max_side=64)) == [10, 20, 30]).all()


# Errors


def test_decode_jpeg_is_for_jpeg_alone() -> None:
    """The error names the format and the function that takes it."""
    names = {name: f"a {name.split(',')[0].split(' with')[0]}" for name in FORMATS if name != "JPEG"}
    for name, kind in {**names, "PPM": "a PNM", "PGM": "a PNM", "AVIF": "an AVIF file"}.items():
        with pytest.raises(JpegError, match=f": {kind}, not a JPEG: decode_image takes it"):
            decode_jpeg(FORMATS[name])


@pytest.mark.parametrize("data", FORMATS.values(), ids=FORMATS)
def test_max_pixels_comes_first(data: bytes) -> None:
    """A larger image is refused by its header, in every format."""
    with pytest.raises(JpegError, match="48 x 64 = 3072 pixels, more than max_pixels=3071"):
        decode_image(data, max_pixels=3071)
    with pytest.raises(JpegError, match="image 1: .*more than max_pixels=3071"):
        decode_batch([make_jpeg(8, 8), data], size=(4, 4), max_pixels=3071)


def claim(data: bytes, at: int, fields: bytes, checksum: bool = False) -> bytes:
    """Return the file with other sides in its header."""
    data = data[:at] + fields + data[at + len(fields) :]
    return data[:29] + struct.pack(">I", zlib.crc32(data[12:29])) + data[33:] if checksum else data


BOMBS = {
    "PNG": claim(FORMATS["PNG"], 16, struct.pack(">II", 60_000, 60_000), checksum=True),
    "WebP": claim(FORMATS["WebP"], 26, struct.pack("<HH", 0x3FFF, 0x3FFF)),
    "WebP, animated": claim(FORMATS["WebP, animated"], 24, b"\xfe\x3f\0\xfe\x3f\0"),
    "GIF": claim(FORMATS["GIF"], 6, struct.pack("<HH", 65_535, 65_535)),
    "BMP": claim(FORMATS["BMP"], 18, struct.pack("<ii", 60_000, 60_000)),
    "PPM": b"P6\n60000 60000\n255\n" + bytes(99),
}


@pytest.mark.parametrize("data", BOMBS.values(), ids=BOMBS)
def test_a_bomb_takes_no_memory(data: bytes) -> None:
    """Its header is enough; Pillow's own limit, a global variable, is neither needed nor changed."""
    resource = pytest.importorskip("resource")
    limit = Image.MAX_IMAGE_PIXELS
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for orient in (False, True):
        with pytest.raises(JpegError, match="more than max_pixels"):
            decode_image(data, orient=orient)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000
    assert limit == Image.MAX_IMAGE_PIXELS


def test_an_image_above_pillows_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """`max_pixels` alone counts, without a warning of Pillow's; but WebP and TIFF may look at it themselves."""
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    for name, data in FORMATS.items():
        if name.startswith(("WebP", "TIFF")):
            with contextlib.suppress(JpegError):  # by the version of Pillow
                decode_image(data, max_pixels=None)
        else:
            assert decode_image(data, max_pixels=None).shape == (48, 64, 3)


@pytest.mark.parametrize("data", [data for name, data in FORMATS.items() if name != "JPEG"])
def test_a_damaged_file_is_an_error_or_an_image(data: bytes) -> None:
    """Cut anywhere or with bytes changed, it raises JpegError or gives an image of the size in its header."""
    rng = np.random.default_rng(0)
    for _ in range(60):
        damaged = bytearray(data)
        if rng.random() < 0.5:
            del damaged[rng.integers(1, len(data)) :]
        else:
            damaged[rng.integers(len(data))] = rng.integers(256)
        for decode in (decode_image, lambda data, **options: shrink_jpeg(data, max_side=20)):
            try:
                result = decode(bytes(damaged), max_pixels=100_000)
            except (JpegError, ImportError):
                continue
            assert isinstance(result, bytes) or result.dtype == np.uint8


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "expected the bytes of an image, got none: the file is empty"),
        (b"hello", r"expected the bytes of an image \(JPEG, PNG, WebP, GIF, TIFF, BMP, ...\), got b'hello'$"),
        (b"\x1f\x8b\x08\0" + bytes(20), "a gzip file: decompress it first"),
        (b"\n\n <!DOCTYPE html><title>404", "an HTML or XML file$"),
        (b"iVBORw0KGgoAAAANSUhEUg", "a PNG in base64: decode it with base64.b64decode first"),
        (b"RIFF\x10\0\0\0WAVEfmt ", "a RIFF file$"),
        (b"RIFF\x10\0\0\0WEBPVP9 " + bytes(20), "a WebP; its header is damaged"),
        (
            b"\0\0\0\x18ftypheic\0\0\0\0mif1heic",
            "a HEIC file, which Pillow alone does not decode: call pillow_heif.reg",
        ),
        (b"\0\0\0\x18ftypmif1\0\0\0\0mif1avif", "the data is an AVIF file; Pillow cannot decode it"),
        (b"\xff\x0a\xfa\x1f", "a JPEG XL, which Pillow alone does not decode: import pillow_jxl"),
        (claim(FORMATS["WebP"], 26, bytes(2)), "the image has 48 x 0 pixels"),
        (FORMATS["PNG"][:60], "the data is a PNG; Pillow cannot decode it: "),
        (FORMATS["TIFF"][:60], "the data is a TIFF; Pillow cannot decode it: "),
    ],
)
def test_errors_name_the_format_and_the_way_out(data: bytes, message: str) -> None:
    """Every function that takes all formats says the same."""
    functions: list[Callable[[bytes], object]] = [decode_image, lambda data: shrink_jpeg(data, max_side=9)]
    for function in functions:
        with pytest.raises(JpegError, match=message):
            function(data)
    with pytest.raises(JpegError, match=f"image 0: .*{message}"):
        decode_batch([data], size=(8, 8))


def test_without_pillow_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """A JPEG needs no Pillow."""
    monkeypatch.setitem(sys.modules, "PIL", None)
    for name, data in FORMATS.items():
        if name == "JPEG":
            assert decode_image(data).shape == (48, 64, 3)
        else:
            for error in (JpegError, ImportError):  # one that is always raised, also by data sets that skip
                with pytest.raises(error, match=r"Pillow decodes it: pip install 'bytecache\[images\]'"):
                    decode_image(data)


def test_a_plugin_that_the_user_has_registered_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """As pillow-heif registers one for HEIC."""

    class Plugin(Image.Image):
        def __init__(self, file: Any, name: str) -> None:
            super().__init__()
            self.im, self._mode, self._size, self.format = DRAWING.im, "RGB", (64, 48), "HEIF"
            self.info["exif"] = None  # as pillow-heif has it

    Image.init()
    monkeypatch.setitem(Image.OPEN, "HEIF", (Plugin, None))
    for brands in (b"heic\0\0\0\0mif1heic", b"hevx\0\0\0\0mif1hevx", b"mif1\0\0\0\0mif1heic"):
        assert np.array_equal(decode_image(b"\0\0\0\x18ftyp" + brands, orient=True), np.asarray(DRAWING))


def test_options_are_checked() -> None:
    """As decode_jpeg checks them."""
    with pytest.raises(ValueError, match="colorspace must be"):
        decode_image(FORMATS["PNG"], colorspace="HSV")
    with pytest.raises(ValueError, match="min_size must be two positive ints"):
        decode_image(FORMATS["PNG"], min_size=(0, 1))
    with pytest.raises(ValueError, match=r"shape \(48, 64, 3\), got uint8 \(4, 4, 3\)"):
        decode_image(FORMATS["PNG"], out=np.empty((4, 4, 3), np.uint8))
    with pytest.raises(TypeError, match="is the image already decoded"):
        decode_image(np.zeros((4, 4, 3), np.uint8))
    assert decode_image(pil_jpeg(make_image(48, 64), exif=exif_segment(6)[4:]), orient=True).shape == (64, 48, 3)
    assert decode_image(make_jpeg(48, 64), min_size=(12, 16)).shape == (12, 16, 3)
