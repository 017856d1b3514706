"""JPEG files re-encoded at a smaller size, so that a cache can store more of them."""

from __future__ import annotations

import numpy as np
import simplejpeg

from ..system.arguments import as_int
from .arrays import Image
from .exif import orientation_segment
from .formats import ImageDecoder, ImageSpec, decoded
from .jpeg import JpegSpec
from .resize import resize
from .segments import JpegData, as_bytes

_ENCODABLE_SUBSAMPLINGS = ("444", "422", "420", "440", "411")


def shrink_jpeg(data: JpegData, *, max_side: int, quality: int = 90, strict: bool = True) -> bytes:
    """Return the image re-encoded as JPEG at `quality` (1 to 100) with its longest side at most `max_side` pixels.

    For use inside a read function: the cache then stores fewer bytes per image, and each hit decodes faster. A JPEG
    whose sides are within the limit is returned as it is, and so is any image that would take more bytes than before.
    Colorspace (CMYK becomes RGB), subsampling and orientation are kept; other metadata is dropped. Images of other
    formats, those that ``decode_image`` takes, become JPEG; transparency is dropped, and the colors are those under it,
    as Pillow's ``convert("RGB")`` gives them. strict: raise if image data of a JPEG are missing or damaged; False
    shrinks what can be decoded of it, the rest gray.

    Raises JpegError if the data is not a valid image, ValueError if `max_side` or `quality` is out of range,
    ImportError without Pillow.
    """
    if (as_int(max_side) or 0) < 1:
        raise ValueError(f"max_side must be an int of 1 pixel or more, got {max_side!r}")
    if not 1 <= (as_int(quality) or 0) <= 100:
        raise ValueError(f"quality must be an int from 1 to 100, got {quality!r}")
    data = as_bytes(data)
    spec = ImageDecoder(orient=True).spec(data)
    longest = max(spec.height, spec.width)
    if longest <= max_side and isinstance(spec, JpegSpec):
        return bytes(data)
    orientation, spec = spec.orientation, spec._replace(orientation=1)
    factor = min(1.0, max_side / longest)
    small = _resized(data, spec, strict, [max(1, round(side * factor)) for side in spec.size])
    shrunk: bytes = simplejpeg.encode_jpeg(small, int(quality), "GRAY" if spec.gray else "RGB", _subsampling(spec))
    if orientation != 1:
        shrunk = shrunk[:2] + orientation_segment(orientation) + shrunk[2:]
    return shrunk if len(shrunk) < len(data) else bytes(data)


def _resized(data: JpegData, spec: ImageSpec, strict: bool, size: list[int]) -> Image:
    decoder = ImageDecoder("GRAY" if spec.gray else "RGB", strict=strict)
    small, scaled = np.empty((*size, decoder.channels), np.uint8), spec.scaled(*size)
    with decoded(decoder, data, scaled) as (image, pixels):
        resize(image, small, scaled.scaled_box((0, 0, *spec.size)), pixels)
    return small


def _subsampling(spec: ImageSpec) -> str:
    kept = spec.frame.subsampling if isinstance(spec, JpegSpec) else ""
    return "Gray" if spec.gray else kept if kept in _ENCODABLE_SUBSAMPLINGS else "420"
