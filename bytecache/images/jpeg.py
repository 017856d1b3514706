"""JPEG bytes to pixels and back, over simplejpeg (libjpeg-turbo), which is called only with what it takes."""

from __future__ import annotations

from operator import index
from typing import Any, NamedTuple, TypeAlias, cast

import numpy as np
import simplejpeg

from .exif import apply_orientation, orientation_segment, read_orientation, swaps_axes
from .resize import resize

Image: TypeAlias = np.ndarray[Any, np.dtype[np.uint8]]
JpegData: TypeAlias = "bytes | bytearray | memoryview"

MAX_PIXELS = 178_956_970  # where Pillow too calls a file a decompression bomb
_CHANNELS = {"RGB": 3, "BGR": 3, "GRAY": 1}
# The factors libjpeg-turbo has SIMD code for; the odd eighths between them are slower than a whole decode.
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
    (b"<", "a text in HTML or XML"),
    (b"version https://git-lfs", "a Git LFS pointer"),
)


class JpegError(ValueError):
    """The bytes are no JPEG image that can be decoded; ``index`` is the image's place in a batch, or None."""

    index: int | None = None


class JpegHeader(NamedTuple):
    """What a JPEG file says of itself: sides in pixels, colorspace ("YCbCr", "Gray", "CMYK", ...), subsampling."""

    height: int
    width: int
    colorspace: str
    subsampling: str


class DecodeSpec(NamedTuple):
    """How an image will be decoded: the stored sides to decode at, the orientation to apply then."""

    height: int
    width: int
    orientation: int

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the result."""
        return (self.width, self.height) if swaps_axes(self.orientation) else (self.height, self.width)


class JpegDecoder:
    """The options of a decode, checked once and used for one image or many; safe for threads."""

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

    def spec(self, data: JpegData) -> DecodeSpec:
        """Reads the header; raises JpegError where it is none, or announces more than `max_pixels`."""
        height, width, _, _ = read_header(data, self._strict)
        if self._max_pixels is not None and height * width > self._max_pixels:
            raise JpegError(
                f"the image has {height} x {width} = {height * width} pixels, more than max_pixels={self._max_pixels}: "
                "decode it with a larger max_pixels if it is no decompression bomb"
            )
        orientation = read_orientation(data) if self._orient else 1
        if self.min_size is not None:
            height, width = _scaled_size(height, width, self.min_size, swaps_axes(orientation))
        return DecodeSpec(height, width, orientation)

    def decode(self, data: JpegData, spec: DecodeSpec, out: Image | None = None) -> Image:
        """The image, (\\*spec.size, channels), in `out` where given: C-contiguous uint8 of that shape."""
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
    """Decodes one JPEG image to uint8 pixels of shape (H, W, C), C being 3, or 1 for "GRAY".

    colorspace: "RGB", "BGR" or "GRAY". min_size: (height, width) in pixels; the image is decoded at the smallest of
    1, 1/2, 1/4 and 1/8 of its size that is at least that on both sides (and whole where it is smaller itself).
    out: a writable C-contiguous uint8 array of the result's shape, returned filled. fast: quicker and slightly
    different pixels (fast DCT and upsampling). strict: a truncated or damaged file raises; with False it gives what
    could be decoded, the rest gray. orient: turn the image upright by its Exif orientation, as OpenCV does.
    max_pixels: refuse a larger image from its header, before any memory is taken; None for no limit.

    Raises JpegError (a ValueError) for data that is no JPEG image or damaged, TypeError or ValueError for other
    arguments. The GIL is released while decoding; safe for threads.
    """
    decoder = JpegDecoder(colorspace, min_size, fast, strict, orient, max_pixels)
    spec = decoder.spec(data)
    if out is not None:
        check_out(out, (*spec.size, decoder.channels))
    return decoder.decode(data, spec, out)


def jpeg_header(data: JpegData) -> JpegHeader:
    """Height, width, colorspace and subsampling of a JPEG image, without decoding it; raises JpegError."""
    return JpegHeader(*read_header(data, False))


def shrink_jpeg(data: JpegData, *, max_side: int, quality: int = 90) -> bytes:
    """The image with its longest side at most `max_side` pixels, encoded anew at `quality` (1 to 100).

    For use inside a read function: a cache then holds fewer bytes per image, and each hit decodes faster. An image
    that is not longer is returned as it is, and so is one that would take more bytes after than before. Colorspace
    (CMYK becomes color), subsampling and orientation are kept, other metadata is not.

    Raises JpegError for data that is no JPEG image, ValueError for a side or quality out of range, ImportError
    without Pillow.
    """
    if not isinstance(max_side, int) or max_side < 1:
        raise ValueError(f"max_side must be an int of 1 pixel or more, got {max_side!r}")
    if not isinstance(quality, int) or not 1 <= quality <= 100:
        raise ValueError(f"quality must be an int from 1 to 100, got {quality!r}")
    header = jpeg_header(data)
    longest = max(header.height, header.width)
    if longest <= max_side:
        return bytes(data)
    sides = [max(1, round(side * max_side / longest)) for side in (header.height, header.width)]
    colorspace = "GRAY" if header.colorspace == "Gray" else "RGB"
    image = decode_jpeg(data, colorspace=colorspace, min_size=(sides[0], sides[1]))
    small = np.empty((*sides, image.shape[2]), np.uint8)
    resize(image, small)
    subsampling = header.subsampling if header.subsampling in ("444", "422", "420", "440", "411", "Gray") else "420"
    shrunk: bytes = simplejpeg.encode_jpeg(small, quality, colorspace, subsampling)
    orientation = read_orientation(data)
    if orientation != 1:
        shrunk = shrunk[:2] + orientation_segment(orientation) + shrunk[2:]
    return shrunk if len(shrunk) < len(data) else bytes(data)


def read_header(data: JpegData, strict: bool) -> tuple[int, int, str, str]:
    """Height, width, colorspace and subsampling; raises JpegError, or TypeError for what is not bytes-like."""
    if type(data) is not bytes:
        _check_data(data)
    try:
        return simplejpeg.decode_jpeg_header(data, strict=strict)  # type: ignore[no-any-return]
    except (ValueError, KeyError) as exc:  # KeyError: a subsampling or colorspace that it has no name for
        raise _jpeg_error(data, exc) from None


def _check_data(data: Any) -> None:
    if not isinstance(data, (bytes, bytearray, memoryview)) and type(data) is not np.ndarray:
        raise TypeError(f"data must be the bytes of a JPEG file, got {type(data).__name__}: read the file first")
    view = memoryview(cast(Any, data))
    if view.ndim != 1 or view.format not in ("B", "b", "c"):
        raise TypeError(
            f"data must be the bytes of a JPEG file, got items of format {view.format!r} in {view.ndim} dimensions: "
            "an image that is decoded already?"
        )
    if not view.c_contiguous:
        raise ValueError("data must be contiguous bytes, got a strided view: pass bytes(data)")


def check_size(size: Any, name: str) -> tuple[int, int]:
    """`size` as (height, width); raises ValueError for anything but two positive ints."""
    try:
        height, width = map(index, size)
        if height > 0 and width > 0:
            return height, width
    except (TypeError, ValueError):
        pass
    raise ValueError(f"{name} must be two positive ints, (height, width) in pixels, got {size!r}")


def check_out(out: Any, shape: tuple[int, ...]) -> None:
    """Raises TypeError or ValueError unless `out` can be decoded into: the decoder itself would not notice."""
    if not isinstance(out, np.ndarray):
        raise TypeError(f"out must be a numpy array, got {type(out).__name__}")
    wanted = f"out must be a writable C-contiguous uint8 array of shape {shape}"
    if out.dtype != np.uint8 or out.shape != shape:
        raise ValueError(f"{wanted}, got {out.dtype} {out.shape}")
    if not out.flags.c_contiguous or not out.flags.writeable:
        raise ValueError(f"{wanted}, got one that is {'not C-contiguous' if out.flags.writeable else 'read-only'}")


def _scaled_size(height: int, width: int, min_size: tuple[int, int], swapped: bool) -> tuple[int, int]:
    least = min_size[::-1] if swapped else min_size
    for factor in _FACTORS:
        sides = -(-height // factor), -(-width // factor)
        if sides[0] >= least[0] and sides[1] >= least[1]:
            return sides
    return height, width


def _jpeg_error(data: JpegData, exc: Exception) -> JpegError:
    start = bytes(memoryview(data).cast("B")[:24])
    if start.startswith(_START):
        return JpegError(f"the JPEG data, {memoryview(data).nbytes} bytes, cannot be decoded: {exc}")
    if not start:
        return JpegError("expected the bytes of a JPEG file, got none: the file is empty")
    kind = next((f": {name}, not a JPEG" for magic, name in _MAGIC if start.startswith(magic)), "")
    return JpegError(f"expected the bytes of a JPEG file, which start with {_START!r}, got {start[:8]!r}{kind}")
