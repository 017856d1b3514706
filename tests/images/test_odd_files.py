"""Files as phones, cameras, scanners and web crawls have them: what costs no pixel is read, damage is kept apart."""

from __future__ import annotations

import mmap
import struct
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import simplejpeg
from helpers.encoded_files import ENCODED_FILES
from helpers.images import (
    blocky_jpeg,
    by_pillow,
    exif_segment,
    insert,
    lossless_jpeg,
    make_image,
    make_jpeg,
    pil_jpeg,
    segment,
)

from bytecache import JpegError, decode_batch, decode_image, decode_jpeg, jpeg_header, shrink_jpeg
from bytecache.images import segments
from bytecache.images.colors import convert_colors
from bytecache.images.jpeg import MAX_SCANS

pytest.importorskip("PIL", reason="Pillow makes and reads the odd files")
from helpers.odd_files import BASE, HARMLESS, PARAMETERS, PICTURE, PROGRESSIVE, SCAN  # noqa: E402
from PIL import Image, ImageOps  # noqa: E402


@pytest.mark.parametrize("strict", [True, False])
@pytest.mark.parametrize("data", HARMLESS.values(), ids=HARMLESS)
def test_what_costs_no_pixel_is_no_error(data: bytes, strict: bool) -> None:
    """The whole picture comes, whole or scaled, as from Pillow; and it can be shrunk."""
    expected = by_pillow(BASE)
    assert np.array_equal(by_pillow(data), expected)
    out = np.full((96, 128, 3), 7, np.uint8)
    assert decode_jpeg(data, strict=strict, out=out) is out and np.array_equal(out, expected)
    assert np.array_equal(decode_jpeg(data, min_size=(48, 64)), decode_jpeg(BASE, min_size=(48, 64)))
    assert np.array_equal(decode_jpeg(data, colorspace="GRAY"), decode_jpeg(BASE, colorspace="GRAY"))
    assert jpeg_header(data) == jpeg_header(BASE)
    assert jpeg_header(shrink_jpeg(data, max_side=64))[:2] == (48, 64)


@pytest.mark.parametrize(
    "data",
    [BASE[: len(BASE) // 2], BASE[:-2], BASE[: len(BASE) // 2] + b"\xff\xd9", PROGRESSIVE[: len(PROGRESSIVE) // 2]],
    ids=["cut", "no EOI", "cut, with EOI", "progressive, cut"],
)
def test_missing_image_data_raises_if_strict(data: bytes) -> None:
    """The error says that strict=False returns what can be decoded; and that does so."""
    with pytest.raises(JpegError, match="strict=False returns what can be"):
        decode_jpeg(data)
    assert decode_jpeg(data, strict=False).shape == (96, 128, 3)


# Lossless files


@pytest.mark.parametrize("components", [1, 3])
@pytest.mark.parametrize("colorspace", ["RGB", "BGR", "GRAY"])
def test_lossless_files_are_decoded_whole_in_any_colorspace(components: int, colorspace: str) -> None:
    """libjpeg converts no colors of theirs, and before 3.1.4 ignores a scale: nothing is written behind the array."""
    data = lossless_jpeg(96, 128, components)
    shape = (96, 128, 1 if colorspace == "GRAY" else 3)
    for options in ({}, {"min_size": (12, 16)}):
        image = decode_jpeg(data, colorspace=colorspace, **options)
        assert image.shape == shape and (image == 128).all()
    canary = np.full(24 * 32 * 3 + 100_000, 7, np.uint8)
    out = canary[: 24 * 32 * 3].reshape(1, 24, 32, 3)
    assert (decode_batch([data], size=(24, 32), out=out) == 128).all() and (canary[out.size :] == 7).all()
    assert jpeg_header(shrink_jpeg(data, max_side=64))[:2] == (48, 64)


def test_the_gray_of_a_lossless_color_file() -> None:
    """It is Pillow's within 1, which has libjpeg's weights."""
    image = make_image(40, 60)
    gray = convert_colors(image, "GRAY")
    assert gray.shape == (40, 60, 1) and gray.dtype == np.uint8
    assert np.abs(gray[..., 0].astype(int) - np.asarray(Image.fromarray(image).convert("L"))).max() <= 1
    assert np.array_equal(convert_colors(image, "BGR"), image[..., ::-1])


# Sampling factors without a name


@pytest.mark.parametrize(
    "factors",
    [[(4, 1), (2, 1), (2, 1)], [(4, 2), (1, 1), (1, 1)], [(1, 4), (1, 1), (1, 1)], [(2, 2), (2, 1), (1, 2)]],
    ids=str,
)
def test_any_sampling_factors(factors: list[tuple[int, int]]) -> None:
    """ImageNet has such files; pixels are Pillow's within 1, and sides need not be multiples of the scale."""
    for size, scaled in [((375, 500), (94, 125)), ((50, 66), (13, 17)), ((9, 9), (3, 3))]:
        assert decode_jpeg(blocky_jpeg(*size, factors), min_size=scaled).shape == (*scaled, 3)
    data = blocky_jpeg(48, 64, factors)
    assert jpeg_header(data)[:2] == (48, 64)
    assert decode_jpeg(data[: len(data) - 20], strict=False).shape == (48, 64, 3)
    for colorspace in ("RGB", "BGR", "GRAY"):
        assert decode_jpeg(data, colorspace=colorspace).flags.writeable, "to be augmented in place, as any other"
    assert np.abs(decode_jpeg(data).astype(int) - by_pillow(data)).max() <= 1
    assert np.array_equal(decode_jpeg(data, colorspace="BGR")[..., ::-1], decode_jpeg(data))
    assert np.abs(decode_jpeg(data, colorspace="GRAY")[..., 0].astype(int) - by_pillow(data, "L")).max() <= 1
    assert decode_batch([data], size=(24, 32)).shape == (1, 24, 32, 3)
    assert decode_jpeg(data, min_size=(10, 10)).shape == (12, 16, 3)
    assert len(shrink_jpeg(data, max_side=32)) <= len(data)


def test_sampling_factors_that_pillow_cannot_decode_either() -> None:
    """The error names the factors, and no object of ours."""
    data = blocky_jpeg(48, 64, [(4, 1), (2, 1), (2, 1)])
    with pytest.raises(
        JpegError, match=r"factors 4x1,2x1,2x1 is not for TurboJPEG; Pillow cannot decode it: no marker found$"
    ):
        decode_jpeg(data[:2] + b"\xff\x01" + data[2:])  # a marker that Pillow does not know


# Errors


def with_size(height: int, width: int) -> bytes:
    frame = BASE.index(b"\xff\xc0")
    return BASE[: frame + 5] + struct.pack(">HH", height, width) + BASE[frame + 9 :]


FRAME = BASE.index(b"\xff\xc0")


def with_precision(bits: int) -> bytes:
    return BASE[: FRAME + 4] + bytes([bits]) + BASE[FRAME + 5 :]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (BASE[: FRAME + 4], rf"truncated after {FRAME + 4} bytes: it ends inside the segment 0xc0 that starts at byte"),
        (BASE[:2] + BASE[SCAN:], "has a scan at byte 2, before any frame header"),
        (BASE[:2] + b"\xff\xd9", r"has its end \(EOI\) at byte 2, before any frame header"),
        (with_precision(12), "a JPEG of 12 bits and 3 components; 8 bits and 1, 3 or 4 components can be decoded"),
        (with_size(0, 64), "height 0 in its header: a DNL marker"),
        (with_size(64, 0), "64 x 0 pixels: its width is 0"),
        (BASE[:FRAME] + b"\xff\xc5" + BASE[FRAME + 2 :], r"a hierarchical JPEG \(SOF5\)"),
        (BASE[:FRAME] + b"\xff\xcb" + BASE[FRAME + 2 :], r"lossless with arithmetic coding JPEG \(SOF11\)"),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "a HEIC file, not a JPEG"),
        (b"\0\0\0\x1cftypavif\0\0\0\0avifmif1", "an AVIF file, not a JPEG"),
        (b"\0\0\0\x0cJXL \r\n\x87\n", "a JPEG XL, not a JPEG"),
        (b"\x1f\x8b\x08\0" + bytes(20), "a gzip file: decompress it first"),
        (b"/9j/4AAQSkZJRgABAQ", "a JPEG in base64"),
        (b"\n  <!DOCTYPE html>", "an HTML or XML file, not a JPEG"),
    ],
)
def test_errors_say_what_is_wrong_and_where(data: bytes, message: str) -> None:
    """Every function that reads a header says the same."""
    functions: list[Callable[[bytes], object]] = [
        decode_jpeg,
        jpeg_header,
        lambda data: decode_jpeg(data, strict=False),
    ]
    if data.startswith(b"\xff\xd8"):  # what is no JPEG may be another image for these
        functions += [decode_image, lambda data: shrink_jpeg(data, max_side=9)]
    for function in functions:
        with pytest.raises(JpegError, match=message):
            function(data)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (BASE[:SCAN], "it ends before the marker that starts at byte"),
        (BASE[:SCAN] + b"\xff\xd9", "has no scan"),
        (BASE[: PARAMETERS + 3], "it ends before the marker that starts at byte"),
        (BASE[: PARAMETERS + 3] + b"\xff\xd9", "has a scan without a byte in it"),
    ],
)
def test_a_file_without_a_scan(data: bytes, message: str) -> None:
    """Its header can be read; nothing can be decoded, strict or not."""
    assert jpeg_header(data)[:2] == (96, 128)
    for strict in (True, False):
        with pytest.raises(JpegError, match=message):
            decode_jpeg(data, strict=strict)


@pytest.mark.parametrize("strict", [True, False])
def test_a_file_may_not_ask_for_any_number_of_scans(strict: bool) -> None:
    """Each of them costs a pass over all pixels: a few KB would keep a processor busy for minutes."""
    start, stop = PROGRESSIVE.rindex(b"\xff\xda"), len(PROGRESSIVE) - 2
    scans, sequential = PROGRESSIVE[start:stop] * MAX_SCANS, non_interleaved()
    bombs = [
        PROGRESSIVE[:stop] + scans + PROGRESSIVE[stop:],
        PROGRESSIVE[:stop] + b"\xff\xe5\0\0" + scans + PROGRESSIVE[stop:],
        PROGRESSIVE[:stop] + b"\xff\x02\xff\xff" + scans + PROGRESSIVE[stop:],
        sequential[:-2] + sequential[sequential.rindex(b"\xff\xda") : -2] * MAX_SCANS + sequential[-2:],
    ]
    for bomb in bombs:
        for kind in (bytes, memoryview):
            with pytest.raises(JpegError, match=rf"has \d+ scans, more than {MAX_SCANS}: a decompression bomb"):
                decode_jpeg(kind(bomb), strict=strict)


def test_megabytes_of_nothing_in_the_header() -> None:
    """Stray bytes, markers and empty segments are skipped, or refused by a limit on segments."""
    for filling in (bytes(2_000_000), b"\xff\0" * 1_000_000, b"\xff\xd0" * 1_000_000, b"\xff\xe5\0\2" * 500_000):
        try:
            assert np.array_equal(decode_jpeg(insert(BASE, filling)), by_pillow(BASE))
        except JpegError as exc:
            assert "more than 100,000 segments" in str(exc)


# Kinds of bytes


def test_bytes_in_whatever_object_they_come(tmp_path: Path) -> None:
    """Signed bytes, slices of memory maps and numpy's bytes decode as bytes do."""
    path = tmp_path / "packed.bin"
    path.write_bytes(BASE + BASE)
    expected = decode_jpeg(BASE)
    mapped = np.memmap(path, np.uint8, "r")
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as whole:
        kinds = [
            np.frombuffer(BASE, np.int8),
            memoryview(BASE).cast("b"),
            memoryview(BASE).cast("c"),
            mapped[len(BASE) :],
        ]
        for kind in [*kinds, whole, np.bytes_(BASE), bytearray(BASE)]:
            assert np.array_equal(decode_jpeg(kind), expected)
            assert np.array_equal(decode_jpeg(kind, orient=True, strict=False), expected)
        del kind
    del mapped, kinds


# Orientation


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("kind", [1, 3, 4, 6, 8, 9])
def test_an_orientation_of_any_integer_type(order: str, kind: int) -> None:
    """Phones and editors write others than SHORT; Pillow turns them all, and shrink_jpeg keeps what they say."""
    letter = {1: "B", 3: "H", 4: "I", 6: "b", 8: "h", 9: "i"}[kind]
    entry = struct.pack(order + "HHI", 0x0112, kind, 1) + struct.pack(order + letter, 6).ljust(4, b"\0")
    tiff = struct.pack(order + "2sHIH", b"II" if order == "<" else b"MM", 42, 8, 1) + entry + bytes(4)
    data = insert(BASE, segment(0xE1, b"Exif\0\0" + tiff))
    assert decode_jpeg(data, orient=True).shape == (128, 96, 3)
    if kind in (3, 4, 9):
        assert np.asarray(ImageOps.exif_transpose(Image.open(BytesIO(data)))).shape == (128, 96, 3)
    assert decode_jpeg(shrink_jpeg(data, max_side=64), orient=True).shape == (64, 48, 3)


@pytest.mark.parametrize(
    "before",
    [segment(0xE1, b"Exif\0\0"), segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0<x/>"), segment(0xE1, b""), b"\0\0"],
    ids=["empty Exif", "XMP", "empty", "stray bytes"],
)
def test_an_orientation_behind_another_segment(before: bytes) -> None:
    """The first Exif segment that has the tag counts."""
    assert decode_jpeg(insert(BASE, before, exif_segment(6)), orient=True).shape == (128, 96, 3)


# Damage


def non_interleaved() -> bytes:
    """A baseline file with one scan per component, made of three gray files' scans."""
    data, scans = simplejpeg.encode_jpeg(make_image(48, 64), 85, "RGB", "444"), []
    grays = [simplejpeg.encode_jpeg(make_image(48, 64, n)[..., :1].copy(), 85, "GRAY", "Gray") for n in range(3)]
    header = data[: data.index(b"\xff\xda")]
    for n, gray in enumerate(grays):
        start = gray.index(b"\xff\xda")
        payload = start + 2 + int.from_bytes(gray[start + 2 : start + 4], "big")
        scans.append(segment(0xDA, bytes([1, n + 1, 0, 0, 63, 0])) + gray[payload:-2])
    return header + b"".join(scans) + b"\xff\xd9"


DAMAGED = {
    "baseline": make_jpeg(48, 64),
    "progressive": pil_jpeg(make_image(48, 64), quality=85, progressive=True),
    "non-interleaved": non_interleaved(),
    "lossless, of one value": lossless_jpeg(48, 64),
    **ENCODED_FILES,
}


def assert_independent_of_out(data: bytes, shape: tuple[int, ...] = (48, 64, 3)) -> bool:
    """Fail if the result depends on what `out` had; return whether there is one."""
    results = []
    for fill in (201, 54):
        out = np.full(shape, fill, np.uint8)
        try:
            results.append(decode_jpeg(data, strict=False, out=out).copy())
        except JpegError:
            results.append(None)
    first, second = results
    assert (first is None) == (second is None) and (first is None or np.array_equal(first, second))
    return first is not None


@pytest.mark.parametrize("data", DAMAGED.values(), ids=DAMAGED)
def test_what_was_not_decoded_is_never_returned(data: bytes) -> None:
    """At each cut, and for 2,000 damages of three bytes, strict=False returns the same whatever `out` had before."""
    assert decode_jpeg(data).shape == (48, 64, 3)
    scan = data.index(b"\xff\xda")
    decoded = [assert_independent_of_out(data[:end]) for end in range(2, len(data))]
    assert not any(decoded[: scan - 2]) and all(decoded[-9:])
    rng = np.random.default_rng(0)
    for _ in range(2000):
        damaged = bytearray(data)
        for place in rng.integers(scan, len(data), 3):
            damaged[place] = rng.integers(256)
        assert_independent_of_out(bytes(damaged))


@pytest.mark.parametrize("scan", range(8))
def test_bytes_after_any_scan_of_a_progressive_file(scan: int) -> None:
    """They are left out where they are: every pixel is there."""
    found = list(segments.walk(PROGRESSIVE))
    after = [found[n + 1].start for n, segment in enumerate(found) if segment.marker == segments.SOS][scan]
    data = PROGRESSIVE[:after] + b"\1\2\3\4\5" + PROGRESSIVE[after:]
    assert np.array_equal(decode_jpeg(data), by_pillow(PROGRESSIVE))
    assert np.array_equal(decode_jpeg(data, strict=False), by_pillow(PROGRESSIVE))


def test_damaged_cmyk_is_independent_of_out() -> None:
    """simplejpeg converts CMYK by way of an array that it does not fill; the rows before the cut are as they were."""
    data = pil_jpeg(make_image(48, 64), "CMYK")
    assert np.array_equal(decode_jpeg(data[:-9], strict=False)[:32], decode_jpeg(data)[:32])
    for end in range(data.index(b"\xff\xda") + 12, len(data), 37):
        assert_independent_of_out(data[:end])
        assert_independent_of_out(data[:end].replace(b"\xff\xc4", b"\xff\xfe", 1))


def test_a_progressive_file_cut_between_scans_shows_the_scans_before() -> None:
    """It ends inside a table after its first scan, so that libjpeg gives up: what the scan has is returned."""
    first = PROGRESSIVE.index(b"\xff\xda")
    table = PROGRESSIVE.index(b"\xff\xc4", first + 2)
    image = decode_jpeg(PROGRESSIVE[: table + 6], strict=False)
    assert np.abs(image.astype(int) - PICTURE).mean() < 40  # the DC of each block
    nothing = PROGRESSIVE[: first + 4]
    with pytest.raises(JpegError):
        decode_jpeg(nothing, strict=False)
