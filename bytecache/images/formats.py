"""Images of any format: JPEG files go to libjpeg-turbo, others to Pillow, by their first bytes."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeAlias

from .arrays import Image
from .colors import convert_colors
from .exif import apply_orientation
from .jpeg import MAX_PIXELS, JpegDecoder, JpegSpec, check_pixels, decode_with
from .magic import identify
from .pillow import PillowSpec, decode_other, read_spec
from .repair import Note, Remark
from .resize import scratch
from .segments import START, JpegData, JpegError, as_bytes

ImageSpec: TypeAlias = JpegSpec | PillowSpec


class ImageDecoder:
    """A decoder of any format, whose options are checked once, for one image or many. Safe for threads.

    The options are those of JpegDecoder.
    """

    def __init__(
        self,
        colorspace: str = "RGB",
        fast: bool = False,
        strict: bool = True,
        orient: bool = False,
        max_pixels: int | None = MAX_PIXELS,
    ) -> None:
        self._jpeg = JpegDecoder(colorspace, fast, strict, orient, max_pixels)
        self.colorspace, self.channels = colorspace, self._jpeg.channels
        self._orient, self._max_pixels = orient, max_pixels

    def spec(self, data: JpegData) -> ImageSpec:
        """Return how to decode the image, from its header; raise JpegError if that is not valid or too large."""
        data = as_bytes(data)
        if data[:2] == START:
            return self._jpeg.spec(data)
        spec = read_spec(data, self._orient)
        if min(spec.size) < 1:
            raise JpegError(f"the image has {spec.height} x {spec.width} pixels")
        check_pixels(spec.height, spec.width, self._max_pixels)
        return spec

    def decode(self, data: JpegData, spec: ImageSpec, out: Image | None = None, note: Note | None = None) -> Image:
        """Return the image, uint8 (\\*spec.size, channels), in `out` if given: C-contiguous and of that shape.

        note: called with what is odd about the file, if all of the image could be decoded nevertheless.
        """
        if isinstance(spec, JpegSpec):
            return self._jpeg.decode(data, spec, out, note)
        image = decode_other(as_bytes(data), self.colorspace == "GRAY")
        if image.shape[:2] != (spec.height, spec.width):
            raise JpegError(f"Pillow decodes it to {image.shape[:2]}, not {spec.height} x {spec.width} pixels")
        if note is not None:
            note(Remark(spec.kind, by_pillow=True))
        return apply_orientation(convert_colors(image, self.colorspace), spec.orientation, out)


@contextmanager
def decoded(decoder: ImageDecoder, data: JpegData, spec: ImageSpec) -> Iterator[tuple[Image, bytes]]:
    """Lend an image that is decoded to be resized, uint8 (\\*spec.size, channels), and its bytes, for ``resize``."""
    shape = (*spec.size, decoder.channels)
    with scratch(math.prod(shape)) as memory:
        yield decoder.decode(data, spec, memory.array(shape)), memory.pixels


def decode_image(
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
    """Return the pixels of one image, of a format named below, as uint8 (H, W, C); C is 3, or 1 for "GRAY".

    JPEG files are decoded as by :func:`decode_jpeg`, whose options these are. Other formats go to Pillow (needs
    ``bytecache[images]``), by their first bytes: PNG, WebP, BMP, JPEG 2000, PNM, QOI, the first picture of a GIF or
    TIFF, and AVIF, HEIC and JPEG XL if this Pillow or a registered plugin decodes them. They are always decoded whole,
    and an error if truncated, or damaged where the format has checksums: min_size, fast and strict have no effect.
    Transparency is dropped; the colors are those under it, as Pillow's ``convert("RGB")`` gives them. 16 bits are
    reduced to 8, 32 are an error. A TIFF comes upright whatever `orient` says. Pillow's global switches are left
    alone: WebP and TIFF have its ``MAX_IMAGE_PIXELS`` beside max_pixels, and a program that sets
    ``LOAD_TRUNCATED_IMAGES`` gets such images.

    Raises JpegError (a ValueError) if the data is damaged, not an image, or of a format that nothing installed decodes;
    the error names the package. TypeError or ValueError for bad arguments. Safe for threads.
    """
    return decode_with(ImageDecoder(colorspace, fast, strict, orient, max_pixels), data, min_size, out)


def is_image(start: bytes) -> bool:
    """Return whether these are the first bytes of a format that ``decode_image`` takes."""
    kind = identify(start)
    return start[:2] == START or (kind is not None and kind.pillow != "")


def image_size(data: JpegData, *, orient: bool = False) -> tuple[int, int]:
    """Return height and width in pixels of an image of any format that ``decode_image`` takes, from its header.

    orient: once it is upright by its Exif orientation; the sides that ``random_crops`` takes. Raises JpegError as
    ``decode_image`` does.
    """
    return ImageDecoder(orient=orient, max_pixels=None).spec(data).size
