"""Files as phones, cameras, scanners and web crawls have them, by kind; what Pillow is needed for makes them."""

from __future__ import annotations

from io import BytesIO
from typing import Any

import numpy as np
from PIL import Image

from .images import blocky_jpeg, exif_segment, insert, lossless_jpeg, make_image, make_jpeg, pil_jpeg, segment

PICTURE = make_image(96, 128)
BASE = pil_jpeg(PICTURE, quality=90)
PROGRESSIVE = pil_jpeg(PICTURE, quality=85, progressive=True)
SCAN = BASE.index(b"\xff\xda")
PARAMETERS = SCAN + 5 + 2 * BASE[SCAN + 4]
AFTER_JFIF = 4 + int.from_bytes(BASE[4:6], "big")


def icc(number: int, total: int) -> bytes:
    return segment(0xE2, b"ICC_PROFILE\0" + bytes([number, total]) + bytes(300))


HARMLESS = {
    "bytes after the last block": BASE[:-2] + bytes(range(1, 246)) + BASE[-2:],
    "zeros after the last block": BASE[:-2] + bytes(40) + BASE[-2:],
    "escaped bytes after the last block": BASE[:-2] + b"\xff\0" * 10 + BASE[-2:],
    "bytes after EOI": BASE + b"garbage" * 99,
    "scan parameters of Samsung's": BASE[:PARAMETERS] + b"\0\0\0" + BASE[PARAMETERS + 3 :],
    "the second part of an ICC profile is missing": insert(BASE, icc(1, 2)),
    "an ICC profile with a part too many": insert(BASE, icc(2, 1)),
    "stray bytes before a marker": BASE[:AFTER_JFIF] + b"\0\0" + BASE[AFTER_JFIF:],
    "stray bytes before the scan": BASE[:SCAN] + b"\1\2\3" + BASE[SCAN:],
    "fill bytes before a marker": BASE[:AFTER_JFIF] + b"\xff\xff" + BASE[AFTER_JFIF:],
    "a segment of length 0": BASE[:2] + b"\xff\xe1\0\0" + BASE[2:],
    "a segment of length 1": BASE[:AFTER_JFIF] + b"\xff\xe1\0\1" + BASE[AFTER_JFIF:],
    "JFIF 0.02": BASE[:11] + b"\0\x02" + BASE[13:],
    "an unknown Adobe transform": insert(BASE, segment(0xEE, b"Adobe\0\x64\0\0\0\0\x05")),
    "the Adobe transform of CMYK": BASE[:2] + segment(0xEE, b"Adobe\0\x64\0\0\0\0\x02") + BASE[AFTER_JFIF:],
    "all of it at once": (
        insert(BASE[:11] + b"\0\x02" + BASE[13:PARAMETERS], icc(1, 2)) + b"\0\0\0" + BASE[PARAMETERS + 3 : -2]
        + bytes(range(1, 99)) + BASE[-2:]
    ),
}  # fmt: skip


def encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    """Return the image as a file."""
    file = BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


DRAWING = Image.fromarray(make_image(48, 64))
RGBA = DRAWING.copy()
RGBA.putalpha(Image.fromarray(make_image(48, 64, 1)[..., 0].copy()))
SIXTEEN = np.arange(48 * 64, dtype=np.uint16).reshape(48, 64) * 21


FRAMES = [DRAWING, DRAWING.transpose(Image.Transpose.FLIP_LEFT_RIGHT)]
FORMATS = {
    "PNG": encoded(DRAWING, "PNG"),
    "PNG, colors of a palette": encoded(DRAWING.quantize(200), "PNG"),
    "PNG with transparency": encoded(RGBA, "PNG"),
    "PNG, a palette with transparency": encoded(RGBA.quantize(200), "PNG"),
    "PNG, one color transparent": encoded(DRAWING, "PNG", transparency=(1, 2, 3)),
    "PNG, gray": encoded(DRAWING.convert("L"), "PNG"),
    "PNG, gray with transparency": encoded(RGBA.convert("LA"), "PNG"),
    "PNG, black and white": encoded(DRAWING.convert("1"), "PNG"),
    "PNG, gray of 16 bits": encoded(Image.fromarray(SIXTEEN), "PNG"),
    "WebP": encoded(DRAWING, "WEBP"),
    "WebP, lossless with transparency": encoded(RGBA, "WEBP", lossless=True),
    "WebP, animated": encoded(FRAMES[0], "WEBP", save_all=True, append_images=FRAMES[1:]),
    "GIF": encoded(DRAWING, "GIF"),
    "GIF, animated": encoded(FRAMES[0], "GIF", save_all=True, append_images=FRAMES[1:]),
    "TIFF": encoded(DRAWING, "TIFF"),
    "TIFF, LZW": encoded(DRAWING, "TIFF", compression="tiff_lzw"),
    "TIFF, two pages": encoded(FRAMES[0], "TIFF", save_all=True, append_images=FRAMES[1:]),
    "TIFF, CMYK": encoded(DRAWING.convert("CMYK"), "TIFF"),
    "TIFF, gray of 16 bits": encoded(Image.fromarray(SIXTEEN), "TIFF"),
    "BMP": encoded(DRAWING, "BMP"),
    "BMP, gray": encoded(DRAWING.convert("L"), "BMP"),
    "PPM": encoded(DRAWING, "PPM"),
    "PGM": encoded(DRAWING.convert("L"), "PPM"),
    "JPEG 2000": encoded(DRAWING, "JPEG2000"),
    "AVIF": encoded(DRAWING, "AVIF"),
    "JPEG": make_jpeg(48, 64),
}  # fmt: skip


# Sampling factors that TurboJPEG has no name for, lossless files, orientations of unusual types.
UNUSUAL = {
    "4x1,2x1,2x1, as in ImageNet": blocky_jpeg(48, 64, [(4, 1), (2, 1), (2, 1)]),
    "4:1:0": blocky_jpeg(48, 64, [(4, 2), (1, 1), (1, 1)]),
    "4:4:1": blocky_jpeg(48, 64, [(1, 4), (1, 1), (1, 1)]),
    "2x2,2x1,1x2": blocky_jpeg(48, 64, [(2, 2), (2, 1), (1, 2)]),
    "CMYK": pil_jpeg(PICTURE, "CMYK"),
    "CMYK with subsampled components": pil_jpeg(PICTURE, "CMYK", subsampling=2),
    "gray": pil_jpeg(PICTURE, "L"),
    "progressive": PROGRESSIVE,
    "lossless": lossless_jpeg(48, 64),
    "lossless, gray": lossless_jpeg(48, 64, 1),
    "an orientation of type LONG": insert(BASE, exif_segment(6, kind=4)),
    "an orientation after XMP": insert(BASE, segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0<x/>"), exif_segment(8)),
}
READABLE = {**HARMLESS, **UNUSUAL, **FORMATS}
_FRAME = BASE.index(b"\xff\xc0")
UNREADABLE = {
    "empty": b"",
    "truncated": BASE[: len(BASE) // 2],
    "truncated in the header": BASE[: _FRAME + 4],
    "progressive, truncated": PROGRESSIVE[: len(PROGRESSIVE) // 2],
    "PNG, truncated": FORMATS["PNG"][:400],
    "WebP, truncated": FORMATS["WebP"][:200],
    "height 0": BASE[: _FRAME + 5] + b"\0\0" + BASE[_FRAME + 7 :],
    "hierarchical": BASE[:_FRAME] + b"\xff\xc5" + BASE[_FRAME + 2 :],
    "HEIC": b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(99),
    "JPEG XL": b"\xff\x0a\xfa\x1f" + bytes(99),
    "gzip": b"\x1f\x8b\x08\0" + bytes(99),
    "base64": b"/9j/4AAQSkZJRgABAQ",
    "HTML after blanks": b"\r\n\n  <!DOCTYPE html><title>404</title>",
}
