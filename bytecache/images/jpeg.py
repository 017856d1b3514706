"""JPEG bytes to pixels by simplejpeg (libjpeg-turbo), which checks few of its arguments: they are checked here."""

from __future__ import annotations

from typing import Any, NamedTuple, TypeAlias, cast

import numpy as np
import simplejpeg

from .arrays import Image, check_out, check_size
from .exif import apply_orientation, read_orientation, swaps_axes

JpegData: TypeAlias = "bytes | bytearray | memoryview"

MAX_PIXELS = 178_956_970  # the limit above which Pillow, too, warns of a decompression bomb
_CHANNELS = {"RGB": 3, "BGR": 3, "GRAY": 1}
# The scaling factors that libjpeg-turbo has SIMD code for; the other eighths are slower than a full decode.
_FACTORS = (8, 4, 2, 1)
_START = b"\xff\xd8"
_MAGIC = (
    (b"\x89PNG", "a PNG"),
    (b"GIF8", "a GIF"),
    (b"BM", "a BMP"),
    (b"II*\0", "a TIFF"),
    (b"MM\0*", "a TIFF"),
    (b"RIFF", "a WebP or another RIFF file"),
    (b"\0\0\0\x0cjP", "a JPEG 2000"),
    (b"\xff\x0a", "a JPEG XL"),
    (b"\x93NUMPY", "a NumPy array file"),
    (b"<", "an HTML or XML file"),
    (b"version https://git-lfs", "a Git LFS pointer"),
)


class JpegError(ValueError):
    """Raised for bytes that cannot be decoded as JPEG; ``index`` is the image's index in its batch, or None."""

    index: int | None = None


class JpegHeader(NamedTuple):
    """The header of a JPEG file: height and width in pixels, colorspace ("YCbCr", "Gray", "CMYK", ...), subsampling."""

    height: int
    width: int
    colorspace: str
    subsampling: str


class DecodeSpec(NamedTuple):
    """How to decode an image: the height and width to decode at, as stored, and the orientation to apply after that."""

    height: int
    width: int
    orientation: int

    @property
    def size(self) -> tuple[int, int]:
        """The height and width of the result."""
        return (self.width, self.height) if swaps_axes(self.orientation) else (self.height, self.width)


class JpegDecoder:
    """A decoder whose options are checked once, for one image or many. Safe for threads."""

    def __init__(
        self,
        colorspace: str = "RGB",
        min_size: tuple[int, int] | None = None,
        fast: bool = False,
        strict: bool = True,
        orient: bool = False,
        max_pixels: int | None = MAX_PIXELS,
    ) -> None:
        if colorspace not in _CHANNELS:
            raise ValueError(f'colorspace must be "RGB", "BGR" or "GRAY", got {colorspace!r}')
        self.colorspace, self.channels = colorspace, _CHANNELS[colorspace]
        self.min_size = None if min_size is None else check_size(min_size, "min_size")
        self._fast, self._strict, self._orient, self._max_pixels = fast, strict, orient, max_pixels

    def spec(self, data: JpegData, header: JpegHeader | None = None) -> DecodeSpec:
        """Return how to decode the image, from its header, which is read unless the caller has it already.

        Raises JpegError if the header is not valid or declares more than `max_pixels`.
        """
        height, width, _, _ = header or _read_header(data, self._strict)
        if self._max_pixels is not None and height * width > self._max_pixels:
            raise JpegError(
                f"the image has {height} x {width} = {height * width} pixels, more than max_pixels={self._max_pixels}: "
                "if it is not a decompression bomb, pass a larger max_pixels"
            )
        orientation = read_orientation(data) if self._orient else 1
        if self.min_size is not None:
            height, width = _scaled_size(height, width, self.min_size, swaps_axes(orientation))
        return DecodeSpec(height, width, orientation)

    def decode(self, data: JpegData, spec: DecodeSpec, out: Image | None = None) -> Image:
        """Return the image, uint8 (\\*spec.size, channels), in `out` if given: C-contiguous and of that shape."""
        buffer = out if spec.orientation == 1 else None
        try:
            image: Image = simplejpeg.decode_jpeg(
                data, self.colorspace, self._fast, self._fast, spec.height, spec.width, 1.0, buffer, self._strict
            )
        except (ValueError, KeyError) as exc:
            raise _jpeg_error(data, exc) from None
        if spec.orientation == 1:
            return image if out is None else out
        image = apply_orientation(image, spec.orientation)
        if out is None:
            return np.ascontiguousarray(image)
        out[...] = image
        return out


def decode_jpeg(
    data: JpegData,
    *,
    colorspace: str = "RGB",
    min_size: tuple[int, int] | None = None,
    out: Image | None = None,
    fast: bool = False,
    strict: bool = True,
    orient: bool = False,
    max_pixels: int | None = MAX_PIXELS,
) -> Image:
    """Return the pixels of one JPEG image as a uint8 array of shape (H, W, C); C is 3, or 1 for "GRAY".

    colorspace: "RGB", "BGR" or "GRAY". min_size: (height, width) in pixels; the image is decoded at the smallest of
    1, 1/2, 1/4 and 1/8 of its size that is at least that large in both dimensions (at full size if it is smaller).
    out: a writable C-contiguous uint8 array of the result's shape, which is filled and returned. fast: faster decoding
    with slightly different pixels (fast DCT and upsampling). strict: raise if the file is truncated or damaged; False
    returns what could be decoded, the rest gray. orient: rotate and mirror the image upright by its Exif orientation,
    as OpenCV does. max_pixels: refuse a larger image before memory is allocated for it; None for no limit.

    Raises JpegError (a ValueError) if the data is damaged or not a JPEG image, TypeError or ValueError for bad
    arguments. The GIL is released while decoding. Safe for threads.
    """
    decoder = JpegDecoder(colorspace, min_size, fast, strict, orient, max_pixels)
    spec = decoder.spec(data)
    if out is not None:
        check_out(out, (*spec.size, decoder.channels))
    return decoder.decode(data, spec, out)


def jpeg_header(data: JpegData) -> JpegHeader:
    """Return height, width, colorspace and subsampling of a JPEG image from its header; raise JpegError on bad data."""
    return _read_header(data, False)


def _read_header(data: JpegData, strict: bool) -> JpegHeader:
    if type(data) is not bytes:
        _check_data(data)
    try:
        return JpegHeader(*simplejpeg.decode_jpeg_header(data, strict=strict))
    except (ValueError, KeyError) as exc:  # KeyError: a subsampling or colorspace that simplejpeg has no name for
        raise _jpeg_error(data, exc) from None


def _check_data(data: Any) -> None:
    if not isinstance(data, (bytes, bytearray, memoryview)) and type(data) is not np.ndarray:
        raise TypeError(f"data must be the bytes of a JPEG file, got {type(data).__name__}: read the file first")
    view = memoryview(cast(Any, data))
    if view.ndim != 1 or view.format not in ("B", "b", "c"):
        raise TypeError(
            f"data must be the bytes of a JPEG file, got items of format {view.format!r} in {view.ndim} dimensions: "
            "is the image already decoded?"
        )
    if not view.c_contiguous:
        raise ValueError("data must be contiguous bytes, got a strided view: pass bytes(data)")


def _scaled_size(height: int, width: int, min_size: tuple[int, int], swapped: bool) -> tuple[int, int]:
    min_height, min_width = min_size[::-1] if swapped else min_size
    for factor in _FACTORS:
        scaled = -(-height // factor), -(-width // factor)
        if scaled[0] >= min_height and scaled[1] >= min_width:
            return scaled
    return height, width


def _jpeg_error(data: JpegData, exc: Exception) -> JpegError:
    start = bytes(memoryview(data).cast("B")[:24])
    if start.startswith(_START):
        return JpegError(f"the JPEG data, {memoryview(data).nbytes} bytes, cannot be decoded: {exc}")
    if not start:
        return JpegError("expected the bytes of a JPEG file, got none: the file is empty")
    kind = next((f": {name}, not a JPEG" for magic, name in _MAGIC if start.startswith(magic)), "")
    return JpegError(f"expected the bytes of a JPEG file, which start with {_START!r}, got {start[:8]!r}{kind}")
