"""Which part of an image fills which part of the result: stretched, cropped, padded, or a random crop."""

from __future__ import annotations

import math
from operator import index
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from .arrays import Array, check_size

Box: TypeAlias = tuple[float, float, float, float]  # top, left, height, width
IntBox: TypeAlias = tuple[int, int, int, int]

RESIZE_MODES = ("stretch", "crop", "pad", "random_crop")
CROP_SCALE, CROP_RATIO = (0.08, 1.0), (3 / 4, 4 / 3)
_ATTEMPTS = 10
DRAWS = 2 * _ATTEMPTS + 2  # random numbers for one random crop


class Placement(NamedTuple):
    """Which part of an image fills which part of the result, in pixels: (top, left, height, width) of each.

    pad_value: of the rest of the result.
    """

    box: Box
    target: IntBox
    pad_value: int | tuple[int, ...] = 0


class Fit:
    """How images of any size are made to have one. Safe for threads.

    size: (height, width). resize: "stretch" takes all of the image, "crop" the largest box of the result's proportions
    in its centre, "pad" all of it in its own proportions, with `pad_value` (one, or one per channel) on both sides,
    "random_crop" the box that is given for each. crop_scale, crop_ratio: of random boxes, see ``random_crops``.
    Raises TypeError or ValueError if an option is out of range.
    """

    def __init__(
        self,
        size: tuple[int, int],
        resize: str = "stretch",
        pad_value: Any = 0,
        crop_scale: tuple[float, float] = CROP_SCALE,
        crop_ratio: tuple[float, float] = CROP_RATIO,
    ) -> None:
        self.size = check_size(size, "size")
        if resize not in RESIZE_MODES:
            raise ValueError(f"resize must be one of {RESIZE_MODES}, got {resize!r}")
        self.resize = resize
        self.pad_value = _check_pad_value(pad_value)
        self.crop_scale = check_range(crop_scale, "crop_scale", 1.0)
        self.crop_ratio = check_range(crop_ratio, "crop_ratio")

    def check_channels(self, channels: int) -> None:
        """Raise ValueError if there is a `pad_value` for each of another number of channels."""
        if isinstance(self.pad_value, tuple) and len(self.pad_value) != channels:
            raise ValueError(f"pad_value must be one int for images of {channels} channels, got {self.pad_value}")

    def place(self, height: int, width: int, crop: Box | None = None) -> Placement:
        """Return the placement of an upright image of this size; crop: the box to take, as given or drawn."""
        to_height, to_width = self.size
        whole, target = (0, 0, height, width), (0, 0, to_height, to_width)
        if crop is not None:
            return Placement(crop, target)
        if self.resize == "crop":
            scale = min(height / to_height, width / to_width)
            box_height, box_width = min(height, to_height * scale), min(width, to_width * scale)
            return Placement(((height - box_height) / 2, (width - box_width) / 2, box_height, box_width), target)
        if self.resize == "pad":
            scale = min(to_height / height, to_width / width)
            inner = max(1, round(height * scale)), max(1, round(width * scale))
            corner = (to_height - inner[0]) // 2, (to_width - inner[1]) // 2
            return Placement(whole, (*corner, *inner), self.pad_value)
        return Placement(whole, target)


def make_fit(
    size: tuple[int, int] | None,
    resize: str = "stretch",
    pad_value: Any = 0,
    crop_scale: tuple[float, float] = CROP_SCALE,
    crop_ratio: tuple[float, float] = CROP_RATIO,
) -> Fit | None:
    """Return the fit, None without `size`; raise ValueError if an option is out of range or needs `size`."""
    fit = Fit((1, 1) if size is None else size, resize, pad_value, crop_scale, crop_ratio)
    if size is None and resize != "stretch":
        raise ValueError(f"resize={resize!r} needs size=(height, width), the size of the result")
    if fit.pad_value != 0 and resize != "pad":
        raise ValueError(f'pad_value is for resize="pad", got {pad_value!r} with resize={resize!r}')
    if (fit.crop_scale, fit.crop_ratio) != (CROP_SCALE, CROP_RATIO) and resize != "random_crop":
        raise ValueError(f'crop_scale and crop_ratio are for resize="random_crop", got them with resize={resize!r}')
    return None if size is None else fit


def random_crops(
    sides: Any,
    scale: tuple[float, float] = CROP_SCALE,
    ratio: tuple[float, float] = CROP_RATIO,
    rng: np.random.Generator | None = None,
) -> Array:
    """Return a random box in each of N images, int64 (N, 4): top, left, height, width in pixels.

    sides: int (N, 2), height and width of each image. scale: the least and the most of the image's area that a box has.
    ratio: the least and the greatest width / height, drawn evenly on a logarithmic scale. rng: the source of
    randomness, by default a new one. Of up to ten boxes the first that fits is taken, and if none does the largest one
    in the centre: Inception's augmentation (Szegedy et al., 2014), as torchvision's RandomResizedCrop has it.

    Raises ValueError if an argument is out of range. For ``decode_batch(crops=)``.
    """
    sides = np.asarray(sides)
    if sides.ndim != 2 or sides.shape[1] != 2 or sides.dtype.kind not in "iu" or (sides < 1).any():
        raise ValueError(f"sides must be positive ints (N, 2), height and width of each, got {sides!r}")
    scale, ratio = check_range(scale, "scale", 1.0), check_range(ratio, "ratio")
    return place_crops(sides, scale, ratio, (rng or np.random.default_rng()).random((len(sides), DRAWS)))


def place_crops(sides: Array, scale: tuple[float, float], ratio: tuple[float, float], draws: Array) -> Array:
    """Return ``random_crops`` from random numbers in [0, 1), float64 (N, DRAWS)."""
    height, width = sides[:, :1].astype(np.int64), sides[:, 1:].astype(np.int64)
    areas = height * width * (scale[0] + (scale[1] - scale[0]) * draws[:, :_ATTEMPTS])
    low, high = math.log(ratio[0]), math.log(ratio[1])
    ratios = np.exp(low + (high - low) * draws[:, _ATTEMPTS:-2])
    heights, widths = (np.rint(np.sqrt(area)).astype(np.int64) for area in (areas / ratios, areas * ratios))
    fits = (heights >= 1) & (heights <= height) & (widths >= 1) & (widths <= width)
    any_fits, first = fits.any(axis=1, keepdims=True), fits.argmax(axis=1, keepdims=True)
    drawn = np.concatenate([np.take_along_axis(each, first, axis=1) for each in (heights, widths)], axis=1)
    largest = np.concatenate([np.minimum(height, width / ratio[0]), np.minimum(width, height * ratio[1])], axis=1)
    boxes = np.where(any_fits, drawn, np.rint(largest).astype(np.int64).clip(1))
    room = np.concatenate([height, width], axis=1) - boxes
    corners = np.where(any_fits, np.floor(draws[:, -2:] * (room + 1)).astype(np.int64), room // 2)
    return np.concatenate([corners, boxes], axis=1)


def draws_of_samples(seed: int, epoch: int, samples: Array) -> Array:
    """Return random numbers in [0, 1), float64 (N, DRAWS), a pure function of (seed, epoch, sample) for each sample.

    Source: SplitMix64 (Steele, Lea and Flood, 2014), one stream for each sample.
    """
    state = np.zeros(len(samples), np.uint64)
    for part in (np.uint64(seed % 2**64), np.uint64(epoch % 2**64), samples.astype(np.uint64)):
        state = _mix(state + part + _GOLDEN)
    steps = np.arange(1, DRAWS + 1, dtype=np.uint64) * _GOLDEN
    draws: Array = (_mix(state[:, np.newaxis] + steps) >> np.uint64(11)) * 2.0**-53
    return draws


_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def _mix(state: Array) -> Array:
    state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed: Array = state ^ (state >> np.uint64(31))
    return mixed


def check_crops(crops: Any, sizes: list[tuple[int, int]]) -> list[IntBox]:
    """Return boxes (N, 4) as tuples; raise ValueError unless there is one in each of N images of these sizes."""
    boxes = np.asarray(crops) if len(sizes) else np.empty((0, 4), int)
    if boxes.shape != (len(sizes), 4) or boxes.dtype.kind not in "iu":
        raise ValueError(
            f"crops must be ints of shape ({len(sizes)}, 4): top, left, height, width in pixels of each image; "
            f"got {boxes.dtype} {boxes.shape}"
        )
    checked = [(top, left, height, width) for top, left, height, width in boxes.tolist()]
    for i, ((top, left, height, width), size) in enumerate(zip(checked, sizes, strict=True)):
        if min(top, left) < 0 or min(height, width) < 1 or top + height > size[0] or left + width > size[1]:
            raise ValueError(f"crops[{i}] is not within the image of {size[0]} x {size[1]} pixels: {checked[i]}")
    return checked


def check_range(bounds: Any, name: str, most: float = math.inf) -> tuple[float, float]:
    """Return a range as two floats; raise ValueError unless 0 < low <= high <= most."""
    try:
        low, high = map(float, bounds)
        if 0 < low <= high <= most and math.isfinite(high):
            return low, high
    except (TypeError, ValueError):
        pass
    limits = f"0 < low <= high <= {most:g}" if math.isfinite(most) else "0 < low <= high"
    raise ValueError(f"{name} must be (low, high) with {limits}, got {bounds!r}")


def _check_pad_value(value: Any) -> int | tuple[int, ...]:
    try:
        values = (index(value),) if np.ndim(value) == 0 else tuple(map(index, value))
        if len(values) in (1, 3) and all(0 <= one <= 255 for one in values):
            return values if len(values) == 3 else values[0]
    except (TypeError, ValueError):
        pass
    raise ValueError(f"pad_value must be an int from 0 to 255, or one for each of 3 channels, got {value!r}")
