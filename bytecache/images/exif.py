"""The orientation tag of a JPEG file (Exif 2.32, tag 0x0112), read from the bytes and applied to the pixels."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np

_TAG, _SHORT = 0x0112, 3
_EXIF = b"Exif\0\0"


def read_orientation(data: bytes | bytearray | memoryview) -> int:
    """The orientation, 1 to 8; 1 (upright) where there is none or it cannot be read."""
    tiff = _tiff_block(memoryview(data))
    try:
        order = {b"II": "<", b"MM": ">"}[bytes(tiff[:2])]
        (start,) = struct.unpack_from(order + "4xI", tiff)
        (count,) = struct.unpack_from(order + "H", tiff, start)
        for at in range(start + 2, start + 2 + 12 * count, 12):
            tag, kind, _, value = struct.unpack_from(order + "HHIH", tiff, at)
            if tag == _TAG:
                return value if kind == _SHORT and 1 <= value <= 8 else 1
    except (KeyError, struct.error):
        pass
    return 1


def _tiff_block(data: memoryview) -> memoryview:
    """The TIFF structure in the Exif segment, empty where there is none."""
    at = 2
    while at + 4 <= len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        if marker == 0xFF:  # a fill byte
            at += 1
            continue
        if marker == 0xDA:  # the scan: no segment of interest comes after it
            break
        length = data[at + 2] << 8 | data[at + 3]
        if marker == 0xE1 and data[at + 4 : at + 10] == _EXIF:
            return data[at + 10 : at + 2 + length]
        at += 2 + length
    return data[:0]


def orientation_segment(orientation: int) -> bytes:
    """An APP1 segment with this orientation and nothing else, to stand behind a file's first two bytes."""
    tiff = struct.pack(">2sHIHHHIHHI", b"MM", 42, 8, 1, _TAG, _SHORT, 1, orientation, 0, 0)
    return struct.pack(">HH", 0xFFE1, 2 + len(_EXIF) + len(tiff)) + _EXIF + tiff


def swaps_axes(orientation: int) -> bool:
    """Whether the upright picture's height is the stored one's width."""
    return orientation >= 5


def apply_orientation(image: np.ndarray[Any, Any], orientation: int) -> np.ndarray[Any, Any]:
    """A view of `image`, shape (H, W, C), turned and mirrored as the orientation says."""
    if swaps_axes(orientation):
        image = image.transpose(1, 0, 2)
    if orientation in (3, 4, 7, 8):
        image = image[::-1]
    if orientation in (2, 3, 6, 7):
        image = image[:, ::-1]
    return image
