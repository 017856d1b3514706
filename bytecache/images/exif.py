"""The orientation tag of a JPEG file (Exif 2.32, tag 0x0112), read from the bytes and applied to the pixels."""

from __future__ import annotations

import struct

from .arrays import Array

_TAG, _SHORT = 0x0112, 3
_EXIF = b"Exif\0\0"


def read_orientation(data: bytes | bytearray | memoryview) -> int:
    """Return the orientation, 1 to 8; 1 (upright) if the file has none or it cannot be read."""
    tiff = _tiff_block(memoryview(data))
    try:
        order = {b"II": "<", b"MM": ">"}[bytes(tiff[:2])]
        (start,) = struct.unpack_from(order + "4xI", tiff)
        (count,) = struct.unpack_from(order + "H", tiff, start)
        for offset in range(start + 2, start + 2 + 12 * count, 12):
            tag, kind, _, value = struct.unpack_from(order + "HHIH", tiff, offset)
            if tag == _TAG:
                return value if kind == _SHORT and 1 <= value <= 8 else 1
    except (KeyError, struct.error):
        pass
    return 1


def _tiff_block(data: memoryview) -> memoryview:
    """Return the TIFF structure of the Exif segment, empty if there is none."""
    offset = 2
    while offset + 4 <= len(data) and data[offset] == 0xFF:
        marker = data[offset + 1]
        if marker == 0xFF:  # a fill byte
            offset += 1
            continue
        if marker == 0xDA:  # start of scan: no metadata follows
            break
        length = data[offset + 2] << 8 | data[offset + 3]
        if marker == 0xE1 and data[offset + 4 : offset + 10] == _EXIF:
            return data[offset + 10 : offset + 2 + length]
        offset += 2 + length
    return data[:0]


def orientation_segment(orientation: int) -> bytes:
    """Return an APP1 segment with this orientation alone, to be inserted after a file's first two bytes."""
    tiff = struct.pack(">2sHIHHHIHHI", b"MM", 42, 8, 1, _TAG, _SHORT, 1, orientation, 0, 0)
    return struct.pack(">HH", 0xFFE1, 2 + len(_EXIF) + len(tiff)) + _EXIF + tiff


def swaps_axes(orientation: int) -> bool:
    """Return whether the upright image's height is the stored image's width."""
    return orientation >= 5


def apply_orientation(image: Array, orientation: int) -> Array:
    """Return a view of `image`, shape (H, W, C), rotated and mirrored upright."""
    if swaps_axes(orientation):
        image = image.transpose(1, 0, 2)
    if orientation in (3, 4, 7, 8):
        image = image[::-1]
    if orientation in (2, 3, 6, 7):
        image = image[:, ::-1]
    return image
