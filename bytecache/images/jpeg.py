"""JPEG bytes to pixels by simplejpeg (libjpeg-turbo), which checks few of its arguments: they are checked here."""

from __future__ import annotations

import itertools
from typing import Any, NamedTuple

import simplejpeg

from .arrays import Image, check_out, check_size
from .colors import CHANNELS, check_colorspace, convert_colors
from .crops import Box
from .exif import apply_orientation, flips_axes, read_orientation, swaps_axes, upright_size
from .pillow import decode_unnamed_jpeg
from .repair import Note, Remark, decode_damaged, describe_warning, mend, trims, whole_part
from .segments import Frame, JpegData, JpegError, as_bytes, check_scan, read_frame, scans_at_most

MAX_PIXELS = 178_956_970  # the limit above which Pillow, too, refuses an image
MAX_SCANS = 500  # a few KB can ask for thousands, each of which costs a pass over all pixels
_MAX_COPIES = 20
# The scaling factors that libjpeg-turbo has SIMD code for; the other eighths are slower than a full decode.
_FACTORS = (8, 4, 2, 1)


class JpegHeader(NamedTuple):
    """The header of a JPEG file: height and width in pixels, colorspace ("YCbCr", "Gray", "CMYK", ...), subsampling."""

    height: int
    width: int
    colorspace: str
    subsampling: str


class JpegSpec(NamedTuple):
    """How to decode a JPEG: its frame, the size to decode at, as stored, and the orientation to apply after that.

    factor: 1, 2, 4 or 8; the size is the image's divided by it, rounded up.
    """

    frame: Frame
    height: int
    width: int
    orientation: int
    factor: int = 1

    @property
    def size(self) -> tuple[int, int]:
        """The height and width of the result."""
        return upright_size(self.height, self.width, self.orientation)

    @property
    def gray(self) -> bool:
        """Whether it has no colors."""
        return self.frame.gray

    def scaled(self, min_height: int, min_width: int) -> JpegSpec:
        """Return the spec of the smallest scaled decode of at least that size, once upright; of a whole one if none is.

        Lossless files are decoded whole.
        """
        if self.frame.lossless:  # libjpeg-turbo before 3.1.4 ignores the scale of these
            return self
        if swaps_axes(self.orientation):
            min_height, min_width = min_width, min_height
        for factor in _FACTORS:
            height, width = -(-self.height // factor), -(-self.width // factor)
            if height >= min_height and width >= min_width:
                return JpegSpec(self.frame, height, width, self.orientation, factor)
        return self

    def scaled_box(self, box: Box) -> Box:
        """Return a box of the whole upright image, in its pixels, in those of the scaled decode.

        Where a side is no multiple of the factor, the last row or column as stored is only partly of the image.
        """
        top, left, height, width = (length / self.factor for length in box)
        partly_y, partly_x = self.height - self.frame.height / self.factor, self.width - self.frame.width / self.factor
        if swaps_axes(self.orientation):
            partly_y, partly_x = partly_x, partly_y
        flips_y, flips_x = flips_axes(self.orientation)
        return top + partly_y * flips_y, left + partly_x * flips_x, height, width


class JpegDecoder:
    """A decoder whose options are checked once, for one image or many. Safe for threads."""

    def __init__(
        self,
        colorspace: str = "RGB",
        fast: bool = False,
        strict: bool = True,
        orient: bool = False,
        max_pixels: int | None = MAX_PIXELS,
    ) -> None:
        self.colorspace, self.channels = check_colorspace(colorspace), CHANNELS[colorspace]
        self._fast, self._strict, self._orient, self._max_pixels = fast, strict, orient, max_pixels

    def spec(self, data: JpegData) -> JpegSpec:
        """Return how to decode the image, from its header.

        Raises JpegError if the header is not valid, declares more than `max_pixels`, or has more than 500 scans.
        """
        data = as_bytes(data)
        frame = read_frame(data)
        height, width = frame.height, frame.width
        check_pixels(height, width, self._max_pixels)
        if (scans := scans_at_most(data, frame)) > MAX_SCANS:
            raise JpegError(f"the image has {scans} scans, more than {MAX_SCANS}: a decompression bomb")
        return JpegSpec(frame, height, width, read_orientation(data) if self._orient else 1)

    def decode(self, data: JpegData, spec: JpegSpec, out: Image | None = None, note: Note | None = None) -> Image:
        """Return the image, uint8 (\\*spec.size, channels), in `out` if given: C-contiguous and of that shape.

        note: called with what is odd about the file, if all of the image could be decoded nevertheless.
        """
        data, colorspace = as_bytes(data), self.colorspace
        if spec.frame.lossless:  # libjpeg converts no colors of these
            colorspace = "GRAY" if spec.frame.gray else "RGB"
        buffer = out if spec.orientation == 1 and colorspace == self.colorspace else None
        try:
            image = self._decode(data, spec, colorspace, buffer)
        except (ValueError, KeyError) as exc:
            image, colorspace = self._decode_odd(data, spec, colorspace, str(exc), note)
        if colorspace != self.colorspace:
            image = convert_colors(image, self.colorspace)
        if image is out or (out is None and spec.orientation == 1):
            return image
        return apply_orientation(image, spec.orientation, out)

    def _decode(
        self, data: JpegData, spec: JpegSpec, colorspace: str, buffer: Image | None, strict: bool = True
    ) -> Image:
        """Call libjpeg-turbo; raise ValueError, or KeyError for a name it does not have; if strict for any warning."""
        image: Image = simplejpeg.decode_jpeg(
            data, colorspace, self._fast, self._fast, spec.height, spec.width, 1.0, buffer, strict
        )
        if image.shape[:2] != (spec.height, spec.width):
            raise ValueError(f"libjpeg decodes it to {image.shape[:2]}, not {spec.height} x {spec.width} pixels")
        return image if buffer is None else buffer

    def _decode_odd(
        self, data: JpegData, spec: JpegSpec, colorspace: str, reason: str, note: Note | None
    ) -> tuple[Image, str]:
        """Decode what libjpeg has warned of: without what costs no pixel, by Pillow, or what is there if not strict.

        Returns the image and its colorspace, which may be another than the one asked for.
        """
        check_scan(data)
        copy = mend(data, spec.frame)
        to_try = [copy]
        for candidate in itertools.islice(to_try, _MAX_COPIES):  # which grows meanwhile
            try:
                mended = self._decode(candidate, spec, colorspace, None)
            except (ValueError, KeyError) as exc:
                to_try += trims(candidate, str(exc))
            else:
                if note is not None:
                    note(Remark(describe_warning(reason)))
                return mended, colorspace
        if "subsampling" in reason or reason.isdigit():  # a KeyError's: simplejpeg has no name for it
            return self._decode_unnamed(copy if self._strict else whole_part(copy), spec, colorspace, note)
        if spec.frame.lossless and "color conversion" in reason:
            raise JpegError("a lossless JPEG in YCbCr, whose colors libjpeg-turbo does not convert")
        if self._strict:
            kind = "lossless JPEG" if spec.frame.lossless else "JPEG"
            raise JpegError(
                f"the {kind} data, {len(data)} bytes, cannot be decoded: {reason}; strict=False returns what can be"
            )
        # Of CMYK, simplejpeg makes colors by way of an array of its own, which it does not fill: so not here.
        native = "CMYK" if len(spec.frame.factors) == 4 else colorspace
        image = decode_damaged(
            (data, copy, whole_part(copy)),
            (spec.height, spec.width, CHANNELS[native]),
            lambda data, out: self._decode(data, spec, native, out, strict=False),
        )
        if image is None:
            raise JpegError(f"of the JPEG data, {len(data)} bytes, nothing can be decoded: {reason}")
        return image, native

    def _decode_unnamed(self, data: JpegData, spec: JpegSpec, colorspace: str, note: Note | None) -> tuple[Image, str]:
        kind = f"a JPEG with the sampling factors {spec.frame.subsampling}"
        native = "GRAY" if colorspace == "GRAY" else "RGB"
        image = decode_unnamed_jpeg(data, spec.factor, native == "GRAY", f"{kind} is not for TurboJPEG")
        if note is not None and self._strict:  # else part of it may be missing
            note(Remark(kind, by_pillow=True))
        return image, native


def check_pixels(height: int, width: int, max_pixels: int | None) -> None:
    """Raise JpegError if an image of this size has more than `max_pixels`."""
    if max_pixels is not None and height * width > max_pixels:
        raise JpegError(
            f"the image has {height} x {width} = {height * width} pixels, more than max_pixels={max_pixels}: "
            "if it is not a decompression bomb, pass a larger max_pixels"
        )


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

    colorspace: "RGB", "BGR" or "GRAY". min_size: (height, width) in pixels; the image is decoded at the smallest of 1,
    1/2, 1/4 and 1/8 of its size that is at least that large in both dimensions (at full size if it is smaller, or
    lossless). out: a writable C-contiguous uint8 array of the result's shape, which is filled and returned. fast: a
    faster decode with slightly different pixels (fast DCT and upsampling). strict: raise if libjpeg finds image data
    missing or damaged; False returns what could be decoded, the rest gray. What costs no pixel, such as bytes after
    the last block or a broken ICC profile, is no error; damage that leaves every block decodable is not found, nor is
    image data missing that an arithmetic coder may leave out, at the end of a scan. orient: rotate and mirror the
    image upright by its Exif orientation. max_pixels: refuse a larger image before memory is allocated for it; None
    for no limit.

    Sampling factors that TurboJPEG has no name for (4x1,2x1,2x1, as in ImageNet) are decoded by Pillow, which finds
    only missing data. Raises JpegError (a ValueError) if the data is damaged or not a JPEG image, TypeError or
    ValueError for bad arguments. The GIL is released while decoding. Safe for threads.
    """
    return decode_with(JpegDecoder(colorspace, fast, strict, orient, max_pixels), data, min_size, out)


def decode_with(decoder: Any, data: JpegData, min_size: tuple[int, int] | None, out: Image | None) -> Image:
    """Return the image, at the scale for `min_size` and in `out` if they are given, which are checked.

    decoder: a JpegDecoder, or what has its methods.
    """
    spec = decoder.spec(data)
    if min_size is not None:
        spec = spec.scaled(*check_size(min_size, "min_size"))
    if out is not None:
        check_out(out, (*spec.size, decoder.channels))
    image: Image = decoder.decode(data, spec, out)
    return image


def jpeg_header(data: JpegData) -> JpegHeader:
    """Return height, width, colorspace and subsampling of a JPEG image from its header; raise JpegError on bad data."""
    data = as_bytes(data)
    frame = read_frame(data)
    try:
        return JpegHeader(*simplejpeg.decode_jpeg_header(data, strict=False))
    except (ValueError, KeyError):  # a subsampling that simplejpeg has no name for, or an image cut off
        colorspace = {1: "Gray", 3: "YCbCr", 4: "CMYK"}.get(len(frame.factors), "unknown")
        return JpegHeader(frame.height, frame.width, colorspace, frame.subsampling)
