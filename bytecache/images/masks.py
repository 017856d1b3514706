"""Masks: pictures whose pixels are class numbers, decoded as the file has them and resized to the nearest pixel."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from .arrays import Array
from .crops import Placement
from .exif import apply_orientation, upright_size
from .jpeg import check_pixels
from .magic import FileType
from .pillow import file_type, open_by_plugin, orientation_of, upright_tiff_size
from .segments import START, JpegData, JpegError, as_bytes

_CHANNELS = {"RGB": 3, "YCbCr": 3, "RGBA": 4, "RGBX": 4, "CMYK": 4}
_BANDS = {"LA", "La", "PA"}  # a number, and transparency beside it


class MaskSpec(NamedTuple):
    """How to decode a mask: its height and width as stored, the orientation to apply, the channels (0: none), dtype."""

    height: int
    width: int
    orientation: int
    channels: int
    dtype: np.dtype[Any]

    @property
    def size(self) -> tuple[int, int]:
        """The height and width of the result."""
        return upright_size(self.height, self.width, self.orientation)

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the result."""
        return (*self.size, self.channels) if self.channels else self.size


def read_mask(data: JpegData, orient: bool, max_pixels: int | None) -> MaskSpec:
    """Return how to decode a mask, from its header; raise JpegError if it is damaged, too large, or not an image."""
    data = as_bytes(data)
    with open_by_plugin(data, _type(data)) as opened:
        width, height = upright_tiff_size(opened) if opened.format == "TIFF" else opened.size
        orientation = orientation_of(data, opened) if orient else 1
        check_pixels(height, width, max_pixels)
        dtype = np.uint8 if opened.mode[0] not in "IF" else np.int32 if opened.mode[0] == "I" else np.float32
        return MaskSpec(height, width, orientation, _CHANNELS.get(opened.mode, 0), np.dtype(dtype))


def decode_mask(data: JpegData, spec: MaskSpec) -> Array:
    """Return the numbers of the file, upright: (H, W), or (H, W, C) if it has colors; palette indices, not colors.

    uint8; int32 for files of 16 bits or more, float32 for those of floats. A bit is 0 or 1, two or four bits are 0 to 3
    or 15, and those of a PGM are up to its maxval, all of which Pillow stretches to 255 or 65535.
    """
    data = as_bytes(data)
    with open_by_plugin(data, _type(data)) as opened:
        stretch = _stretch(data, opened)
        opened.load()
        mask = np.asarray(opened)
        mask = mask[..., 0] if opened.mode in _BANDS else mask
        mask = np.rint(mask / stretch) if stretch != 1 else mask
    if mask.shape[:2] != (spec.height, spec.width) or mask.shape[2:] != spec.shape[2:]:
        raise JpegError(f"Pillow decodes the mask to {mask.shape}, not {spec.shape}")
    numbers = mask.astype(spec.dtype, copy=False).reshape(spec.height, spec.width, -1)
    return apply_orientation(numbers, spec.orientation).reshape(spec.shape)


def place_mask(mask: Array, placement: Placement, out: Array) -> None:
    """Fill the target in `out` with the box of the mask, each pixel with the nearest one; the rest with pad_value."""
    (top, left, height, width), target, pad_value = placement
    if target[2:] != out.shape[:2]:
        out[...] = pad_value
    rows = _nearest(top, height, target[2], mask.shape[0])
    columns = _nearest(left, width, target[3], mask.shape[1])
    out[target[0] : target[0] + target[2], target[1] : target[1] + target[3]] = mask[rows[:, np.newaxis], columns]


def _nearest(start: float, length: float, n: int, end: int) -> Array:
    centers = start + (np.arange(n) + 0.5) * (length / n)
    return np.minimum(centers.astype(np.int64), end - 1)


def _type(data: JpegData) -> FileType:
    return FileType("a JPEG", "JPEG") if data[:2] == START else file_type(data)


def _stretch(data: JpegData, opened: Any) -> float:
    """Return by how much Pillow multiplies the numbers of a gray PNG of few bits (PNG 3, 11.2.1), or of a PNM."""
    if opened.format == "PNG" and opened.mode == "L" and data[25] == 0:
        return {2: 85, 4: 17}.get(int(data[24]), 1)
    decoder, _, _, arguments = opened.tile[0] if opened.format == "PPM" else ("", 0, 0, ())
    if decoder in ("ppm", "ppm_plain") and isinstance(arguments, tuple):  # (mode, maxval)
        return (65535 if opened.mode == "I" else 255) / int(arguments[1])
    return 1
