"""JPEG files re-encoded at a smaller size, so that a cache can store more of them."""

from __future__ import annotations

import numpy as np
import simplejpeg

from .exif import orientation_segment, read_orientation
from .jpeg import JpegDecoder
from .resize import resize
from .segments import JpegData, as_bytes, read_frame

_ENCODABLE_SUBSAMPLINGS = ("444", "422", "420", "440", "411", "Gray")


def shrink_jpeg(data: JpegData, *, max_side: int, quality: int = 90) -> bytes:
    """Return the image re-encoded at `quality` (1 to 100) with its longest side at most `max_side` pixels.

    For use inside a read function: the cache then stores fewer bytes per image, and each hit decodes faster. An image
    whose sides are within the limit is returned as it is, and so is one that would take more bytes than before.
    Colorspace (CMYK becomes RGB), subsampling and orientation are kept; other metadata is dropped.

    Raises JpegError if the data is not a valid JPEG image, ValueError if `max_side` or `quality` is out of range,
    ImportError without Pillow.
    """
    if not isinstance(max_side, int) or max_side < 1:
        raise ValueError(f"max_side must be an int of 1 pixel or more, got {max_side!r}")
    if not isinstance(quality, int) or not 1 <= quality <= 100:
        raise ValueError(f"quality must be an int from 1 to 100, got {quality!r}")
    data = as_bytes(data)
    frame = read_frame(data)
    longest = max(frame.height, frame.width)
    if longest <= max_side:
        return bytes(data)
    height, width = (max(1, round(side * max_side / longest)) for side in (frame.height, frame.width))
    colorspace = "GRAY" if frame.gray else "RGB"
    decoder = JpegDecoder(colorspace, (height, width))
    image = decoder.decode(data, decoder.spec(data, frame))
    small = np.empty((height, width, decoder.channels), np.uint8)
    resize(image, small)
    subsampling = frame.subsampling if frame.subsampling in _ENCODABLE_SUBSAMPLINGS else "420"
    shrunk: bytes = simplejpeg.encode_jpeg(small, quality, colorspace, subsampling)
    orientation = read_orientation(data)
    if orientation != 1:
        shrunk = shrunk[:2] + orientation_segment(orientation) + shrunk[2:]
    return shrunk if len(shrunk) < len(data) else bytes(data)
