"""Images that Pillow decodes: other formats than JPEG, and JPEG files that TurboJPEG has no name for.

Pillow's plugins are called one by one, by the format that the first bytes name: so no plugin sees a file that another
one wrote, and Pillow's limit on pixels, a global variable, is neither changed nor in the way. (Its plugins for WebP and
TIFF check it themselves.)
"""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np

from .arrays import Array, Image
from .crops import Box
from .exif import tiff_orientation, upright_size
from .magic import FileType, identify
from .segments import JpegData, JpegError

_INSTALL = "pip install 'bytecache[images]'"


class PillowMissingError(JpegError, ImportError):
    """Raised if an image needs Pillow, and that is not installed."""


class PillowSpec(NamedTuple):
    """How to decode an image of another format: whole, height and width as stored, and then turned by orientation.

    colorspace: "RGB", "Gray" or "CMYK". kind: its format, with the article.
    """

    height: int
    width: int
    orientation: int
    colorspace: str
    kind: str

    @property
    def gray(self) -> bool:
        """Whether it has no colors."""
        return self.colorspace == "Gray"

    @property
    def size(self) -> tuple[int, int]:
        """The height and width of the result."""
        return upright_size(self.height, self.width, self.orientation)

    def scaled(self, min_height: int, min_width: int) -> PillowSpec:
        """Return the same: only JPEG files can be decoded smaller than they are."""
        return self

    def scaled_box(self, box: Box) -> Box:
        """Return the same."""
        return box


def read_spec(data: JpegData, orient: bool) -> PillowSpec:
    """Return how to decode an image of another format than JPEG; its orientation only if `orient`, else 1.

    Raises JpegError if it is not an image, is damaged, or Pillow is not installed. No memory is taken for pixels.
    """
    kind = file_type(data)
    if kind.pillow == "WEBP":  # whose decoder takes memory for the canvas before it tells its size
        height, width = _webp_size(bytes(data[:30]))
        orientation = tiff_orientation(_exif_chunk(data, 12)) or 1 if orient else 1
        return PillowSpec(height, width, orientation, "RGB", kind.name)
    with open_by_plugin(data, kind) as opened:
        width, height = upright_tiff_size(opened) if opened.format == "TIFF" else opened.size
        orientation = orientation_of(data, opened) if orient else 1
        colorspace = "Gray" if opened.mode in _GRAY_MODES else "CMYK" if opened.mode == "CMYK" else "RGB"
        return PillowSpec(height, width, orientation, colorspace, kind.name)


def decode_other(data: JpegData, gray: bool) -> Image:
    """Return the first picture of a file of another format than JPEG, as stored: uint8 (H, W, 1) if `gray`, else RGB.

    Transparency is dropped: the colors are those that the file has under it. 16 bits are reduced to 8.
    """
    with open_by_plugin(data, file_type(data)) as opened:
        return _pixels(opened, gray)


def decode_unnamed_jpeg(data: JpegData, factor: int, gray: bool, reason: str) -> Image:
    """Return a JPEG image as stored, uint8 (H, W, 1) if `gray`, else RGB, (H, W, 3).

    factor: 1, 2, 4 or 8, by which its sides are divided. Raises JpegError if Pillow cannot decode it, or is not
    installed. reason: why TurboJPEG does not decode it.
    """
    with open_by_plugin(data, FileType("a JPEG", "JPEG"), reason) as opened:
        width, height = opened.size
        # libjpeg scales, and gives the luma for gray. Pillow divides rounding down, libjpeg rounds up.
        opened.draft("L" if gray else "RGB", (max(1, width // factor), max(1, height // factor)))
        image = _pixels(opened, gray)
    size = -(-height // factor), -(-width // factor)
    if image.shape[:2] != size:
        raise JpegError(f"{reason}; Pillow decodes it to {image.shape[:2]} pixels, not {size}")
    return image


def file_type(data: JpegData) -> FileType:
    """Return the type of the file; raise JpegError if Pillow is not known to decode it."""
    start = bytes(data[:512])
    if not start:
        raise JpegError("expected the bytes of an image, got none: the file is empty")
    kind = identify(start)
    if kind is not None and kind.pillow:
        return kind
    what = "" if kind is None else ": ".join(("", kind.name, kind.hint)[: 3 if kind.hint else 2])
    raise JpegError(f"expected the bytes of an image (JPEG, PNG, WebP, GIF, TIFF, BMP, ...), got {start[:8]!r}{what}")


@contextmanager
def open_by_plugin(data: JpegData, kind: FileType, reason: str = "") -> Iterator[Any]:
    """Open an image by Pillow's plugin for its format; raise JpegError for whatever that raises."""
    reason = reason or f"the data is {kind.name}"
    try:
        from PIL import Image as pillow
    except ImportError:
        raise PillowMissingError(f"{reason}; Pillow decodes it: {_INSTALL}") from None
    if kind.pillow not in pillow.OPEN:
        pillow.init()
    if kind.pillow not in pillow.OPEN:
        raise JpegError(f"{reason}, which Pillow alone does not decode: {kind.hint or 'install a plugin for it'}")
    factory, accept = pillow.OPEN[kind.pillow]
    try:
        supported = accept is None or accept(bytes(data[:16]))
        if isinstance(supported, str):
            raise JpegError(f"{reason}, which this Pillow is built without: {kind.hint or supported}")
        with factory(io.BytesIO(data), "") as opened:
            yield opened
    except JpegError:
        raise
    except MemoryError:
        raise
    except Exception as exc:  # on damaged data its plugins raise almost anything
        raise JpegError(f"{reason}; Pillow cannot decode it: {exc or type(exc).__name__}") from None


_GRAY_MODES = frozenset({"1", "L", "LA", "La", "I", "F", "I;16", "I;16B", "I;16L", "I;16N"})


def _pixels(opened: Any, gray: bool) -> Image:
    if opened.mode.startswith("I;16") or (opened.mode == "I" and opened.format in ("PNG", "PPM")):  # gray of 16 bits
        upper: Array = (np.asarray(opened) >> 8).astype(np.uint8)[..., np.newaxis]
        if opened.format == "TIFF" and opened.tag_v2.get(_PHOTOMETRIC) == _WHITE_IS_ZERO:
            upper = ~upper
        return upper if gray else np.concatenate([upper] * 3, axis=2)
    if opened.mode in ("I", "F"):
        raise JpegError(f"a {opened.format} of 32 bits, which have no defined range: decode it to an array yourself")
    opened.load()
    opened.info.pop("transparency", None)  # of which convert would warn, where it drops it
    image: Image = np.array(opened.convert("L" if gray else "RGB"))  # writable, unlike np.asarray of Pillow's memory
    return image[..., np.newaxis] if gray else image


_WIDTH, _HEIGHT, _PHOTOMETRIC, _ORIENTATION = 256, 257, 262, 274  # tags of TIFF 6.0
_WHITE_IS_ZERO = 0


def upright_tiff_size(opened: Any) -> tuple[int, int]:
    """Return width and height as Pillow decodes them, of which earlier versions tell only after that."""
    tags = opened.tag_v2
    height, width = upright_size(int(tags[_HEIGHT]), int(tags[_WIDTH]), tags.get(_ORIENTATION, 1))
    return width, height


def orientation_of(data: JpegData, opened: Any) -> int:
    """Return the orientation that is left to apply once Pillow has decoded the image."""
    if opened.format == "TIFF":  # which Pillow turns upright itself
        return 1
    exif = _exif_chunk(data, 8) if opened.format == "PNG" else opened.info.get("exif") or b""
    return tiff_orientation(memoryview(exif)) or 1


def _exif_chunk(data: JpegData, offset: int) -> memoryview:
    """Return the contents of the Exif chunk of a PNG (PNG 3, 11.3) or a WebP, or nothing; it may follow the pixels.

    offset: of the first chunk, 8 for PNG, 12 for WebP.
    """
    view, png = memoryview(data), offset == 8
    while offset + 8 <= len(view):
        name, length = bytes(view[offset : offset + 4]), bytes(view[offset + 4 : offset + 8])
        if png:
            name, length = length, name
        start, size = offset + 8, int.from_bytes(length, "big" if png else "little")
        if name == (b"eXIf" if png else b"EXIF"):
            return view[start : start + size]
        offset = start + size + (4 if png else size & 1)  # a checksum, or padding
    return view[:0]


def _webp_size(start: bytes) -> tuple[int, int]:
    """Return height and width of a WebP, from its first 30 bytes (RFC 9649, 2.5 to 2.7)."""
    chunk = start[12:16]
    if chunk == b"VP8X" and len(start) == 30:
        return 1 + int.from_bytes(start[27:30], "little"), 1 + int.from_bytes(start[24:27], "little")
    if chunk == b"VP8L" and len(start) >= 25 and start[20] == 0x2F:
        bits = int.from_bytes(start[21:25], "little")
        return 1 + (bits >> 14 & 0x3FFF), 1 + (bits & 0x3FFF)
    if chunk == b"VP8 " and len(start) == 30 and start[23:26] == b"\x9d\x01\x2a":
        width, height = struct.unpack_from("<HH", start, 26)
        return height & 0x3FFF, width & 0x3FFF
    raise JpegError(f"the data is a WebP; its header is damaged: expected VP8, VP8L or VP8X, got {chunk!r}")
