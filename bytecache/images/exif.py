"""The orientation tag of a JPEG file (Exif 2.32, tag 0x0112), read from the bytes and applied to the pixels."""

from __future__ import annotations

import struct

import numpy as np

from .arrays import Image
from .segments import EXIF_MARKER, SOS, JpegData, JpegError, walk

_TAG, _SHORT = 0x0112, 3
_EXIF = b"Exif\0\0"
# Integer types of TIFF 6.0, by number: their letter for struct. Phones and editors write others than SHORT.
_INTEGERS = {1: "B", 3: "H", 4: "I", 6: "b", 8: "h", 9: "i"}


def read_orientation(data: JpegData) -> int:
    """Return the orientation, 1 to 8; 1 (upright) if the file has none or it cannot be read."""
    try:
        for segment in walk(data):
            if segment.marker == SOS:
                break
            if segment.marker == EXIF_MARKER and data[segment.payload : segment.payload + 6] == _EXIF:
                orientation = tiff_orientation(memoryview(data)[segment.payload : segment.stop])
                if orientation is not None:
                    return orientation
    except JpegError:
        pass
    return 1


def tiff_orientation(tiff: memoryview) -> int | None:
    """Return the tag of a TIFF structure, 1 if its value is not valid, None if there is none.

    The structure may start with "Exif" and two zeros, as it does in JPEG.
    """
    tiff = tiff[len(_EXIF) :] if tiff[: len(_EXIF)] == _EXIF else tiff
    try:
        order = {b"II": "<", b"MM": ">"}[bytes(tiff[:2])]
        (start,) = struct.unpack_from(order + "4xI", tiff)
        (count,) = struct.unpack_from(order + "H", tiff, start)
        for offset in range(start + 2, start + 2 + 12 * count, 12):
            tag, kind, values = struct.unpack_from(order + "HHI", tiff, offset)
            if tag == _TAG:
                if kind not in _INTEGERS or values < 1:
                    return 1
                (value,) = struct.unpack_from(order + _INTEGERS[kind], tiff, offset + 8)
                return value if 1 <= value <= 8 else 1
    except (KeyError, struct.error):
        pass
    return None


def orientation_segment(orientation: int) -> bytes:
    """Return an APP1 segment with this orientation alone, to be inserted after a file's first two bytes."""
    tiff = struct.pack(">2sHIHHHIHHI", b"MM", 42, 8, 1, _TAG, _SHORT, 1, orientation, 0, 0)
    return struct.pack(">HH", 0xFFE1, 2 + len(_EXIF) + len(tiff)) + _EXIF + tiff


def swaps_axes(orientation: int) -> bool:
    """Return whether the upright image's height is the stored image's width."""
    return orientation >= 5


def upright_size(height: int, width: int, orientation: int) -> tuple[int, int]:
    """Return height and width of the upright image, from those of the stored one."""
    return (width, height) if swaps_axes(orientation) else (height, width)


def flips_axes(orientation: int) -> tuple[bool, bool]:
    """Return whether the vertical and the horizontal axis of the upright image run against those of the stored one."""
    return orientation in (3, 4, 7, 8), orientation in (2, 3, 6, 7)


def apply_orientation(image: Image, orientation: int, out: Image | None = None) -> Image:
    """Return `image`, shape (H, W, C), rotated and mirrored upright: in `out`, or C-contiguous."""
    if swaps_axes(orientation):
        image = image.transpose(1, 0, 2)
    vertically, horizontally = flips_axes(orientation)
    if vertically:
        image = image[::-1]
    if horizontally:
        image = image[:, ::-1]
    if out is None:
        return np.ascontiguousarray(image)
    out[...] = image
    return out
