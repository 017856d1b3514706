"""The pictures of a sample: an image, or an image with its mask, or several images; how each is decoded and resized."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from operator import index
from typing import Any, NamedTuple

import numpy as np

from ..images.arrays import Array, is_numeric
from ..images.batch import decode_into, map_indexed, place, place_spec
from ..images.crops import Box, Fit, Placement, place_crops
from ..images.exif import swaps_axes
from ..images.formats import ImageDecoder, ImageSpec
from ..images.jpeg import MAX_PIXELS
from ..images.masks import MaskSpec, decode_mask, place_mask, read_mask


class SampleSpec(NamedTuple):
    """A picture once decoded and resized: its shape (H, W, C), or (H, W) for a mask, its dtype, and how to make it.

    decode: None for an array. placement: None if it is not resized. mask: whether its pixels are class numbers.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    decode: ImageSpec | MaskSpec | None
    placement: Placement | None = None
    mask: bool = False


class PictureDecoder:
    """A decoder of pictures that come as bytes or arrays, with the options of ImageDecoder. Safe for threads."""

    def __init__(self, *, orient: bool = False, max_pixels: int | None = MAX_PIXELS, **decode_options: Any) -> None:
        self._orient, self._max_pixels = orient, max_pixels
        self._decoder = ImageDecoder(orient=orient, max_pixels=max_pixels, **decode_options)

    def spec(self, picture: Any) -> SampleSpec:
        """Return the spec of an image before resizing; raise JpegError or TypeError if it is not an image."""
        if isinstance(picture, np.ndarray):
            return _array_spec(picture)
        decode = self._decoder.spec(_check_bytes(picture))
        return SampleSpec((*decode.size, self._decoder.channels), np.dtype(np.uint8), decode)

    def mask_spec(self, picture: Any, image: SampleSpec) -> SampleSpec:
        """Return the spec of a mask before resizing, turned as its image is; raise ValueError if it lies crosswise."""
        spec = self._mask_spec(picture, image)
        if spec.shape[:2] == image.shape[1::-1] != image.shape[:2]:
            raise ValueError(
                f"the mask has {_sides(spec)} pixels, its image {_sides(image)}: pass orient=True if the image's file "
                "has an Exif orientation, or turn the mask in load"
            )
        return spec

    def _mask_spec(self, picture: Any, image: SampleSpec) -> SampleSpec:
        if isinstance(picture, np.ndarray):
            return _array_spec(picture)._replace(mask=True)
        decode = read_mask(_check_bytes(picture), self._orient, self._max_pixels)
        if image.decode is not None and decode.orientation == 1 and not _is_upright(decode, image):
            decode = decode._replace(orientation=image.decode.orientation)
        return SampleSpec(decode.shape, decode.dtype, decode, mask=True)

    def decode(self, picture: Any, spec: SampleSpec, out: Array | None = None) -> Array:
        """Return the decoded and resized picture, in `out` if that has the spec's shape and dtype.

        A loaded array that needs no resizing is returned as it is: the caller copies it.
        """
        if spec.decode is None and spec.placement is None:
            return picture  # type: ignore[no-any-return]
        if isinstance(spec.decode, MaskSpec):
            picture = decode_mask(picture, spec.decode)
            if spec.placement is None:
                return picture  # type: ignore[no-any-return]
        if out is None or out.shape != spec.shape or out.dtype != spec.dtype:
            out = np.empty(spec.shape, spec.dtype)
        if spec.mask and spec.placement is not None:
            place_mask(picture, spec.placement, out)
        elif spec.decode is not None and not isinstance(spec.decode, MaskSpec):
            decode_into(self._decoder, picture, spec.decode, spec.placement, out)
        elif spec.placement is not None:
            place(picture, spec.placement, out)
        return out


def check_shape(spec: SampleSpec) -> None:
    """Raise ValueError unless the picture has the shape of an image, or of a mask."""
    if len(spec.shape) != 3 and not (spec.mask and len(spec.shape) == 2):
        expected = "(height, width)" if spec.mask else "(height, width, channels)"
        raise ValueError(f"an array must have the shape {expected}, got {spec.shape}")


def check_masks(masks: Any) -> tuple[int, ...]:
    """Return the positions of masks as a tuple; raise ValueError unless it is ints from 1, or one."""
    try:
        positions = (index(masks),) if isinstance(masks, int) else tuple(map(index, masks))
        if all(position >= 1 for position in positions) and not isinstance(masks, bool):
            return positions
    except TypeError:
        pass
    raise ValueError(
        "masks must be positions in the tuple that load returns, from 1 on, as 0 is the image: for (image, mask) pass "
        f"masks=1, got {masks!r}"
    )


def split_pictures(
    samples: Mapping[int, Any], masks: Sequence[int], failed: dict[int, Exception]
) -> list[dict[int, Any]]:
    """Return the first picture of each sample by its index, the second ones, and so on; exceptions go into `failed`."""
    tuples = {i: sample if isinstance(sample, tuple) else (sample,) for i, sample in samples.items()}
    last = max(masks, default=0)
    for i, pictures in tuples.items():
        if len(pictures) <= last:
            positions = f" at each position of masks={tuple(masks)}" if masks else ""
            failed[i] = ValueError(f"load must return a tuple with a picture{positions}, got {len(pictures)} in all")
    n = max((len(pictures) for pictures in tuples.values()), default=1)
    whole = {i: pictures for i, pictures in tuples.items() if i not in failed}
    return [{i: pictures[p] for i, pictures in whole.items() if p < len(pictures)} for p in range(max(n, 1))]


def fit_pictures(
    columns: list[dict[int, SampleSpec]], fit: Fit, draws: Array | None, failed: dict[int, Exception]
) -> list[dict[int, SampleSpec]]:
    """Return the specs once resized. A mask, and another picture of the image's proportions, get the image's box.

    draws: if images are cropped at random, random numbers, float64 (n, crops.DRAWS); a sample's index is its row.
    """
    crops = [{} if draws is None else _random_boxes(column, fit, draws) for column in columns]

    def fitted(item: tuple[int, int]) -> SampleSpec:
        p, i = item
        spec, image = columns[p][i], columns[0][i]
        check_shape(image)
        check_shape(spec)
        if spec.mask or (p > 0 and _proportional(spec, image)):
            placement = fit.place(image.shape[0], image.shape[1], crops[0].get(i))
            return _placed(spec, fit, _scaled(placement, image, spec))
        return fit_picture(spec, fit, crops[p].get(i))

    items = [{i: (p, i) for i in column if i not in failed} for p, column in enumerate(columns)]
    return [map_indexed(fitted, column, failed) for column in items]


def fit_picture(spec: SampleSpec, fit: Fit, crop: Box | None = None) -> SampleSpec:
    """Return the spec of an image once resized; raise ValueError if it has not the shape of one."""
    check_shape(spec)
    return _placed(spec, fit, fit.place(spec.shape[0], spec.shape[1], crop))


def _random_boxes(specs: Mapping[int, SampleSpec], fit: Fit, draws: Array) -> dict[int, Box]:
    images = [i for i, spec in specs.items() if len(spec.shape) == 3]
    sides = np.array([specs[i].shape[:2] for i in images]).reshape(-1, 2)
    crops = place_crops(sides, fit.crop_scale, fit.crop_ratio, draws[images]).tolist()
    return {i: tuple(crop) for i, crop in zip(images, crops, strict=True)}


def _proportional(spec: SampleSpec, image: SampleSpec) -> bool:
    return spec.shape[0] * image.shape[1] == spec.shape[1] * image.shape[0]


def _scaled(placement: Placement, image: SampleSpec, spec: SampleSpec) -> Placement:
    """Return the placement of the image for another picture of the sample, whose padding is 0 if it is a mask."""
    top, left, height, width = placement.box
    top, height = top * spec.shape[0] / image.shape[0], height * spec.shape[0] / image.shape[0]
    left, width = left * spec.shape[1] / image.shape[1], width * spec.shape[1] / image.shape[1]
    within = top, left, min(height, spec.shape[0] - top), min(width, spec.shape[1] - left)  # not outside by rounding
    return placement._replace(box=within, pad_value=0 if spec.mask else placement.pad_value)


def _placed(spec: SampleSpec, fit: Fit, placement: Placement) -> SampleSpec:
    shape = (*fit.size, *spec.shape[2:])
    if not spec.mask:
        fit.check_channels(spec.shape[2])
    if spec.decode is None or isinstance(spec.decode, MaskSpec):
        as_it_is = placement.box == (0, 0, *fit.size) == (0, 0, *spec.shape[:2])
        return spec._replace(shape=shape, placement=None if as_it_is else placement)
    decode, placement = place_spec(spec.decode, placement)
    return spec._replace(shape=shape, decode=decode, placement=placement)


def _is_upright(mask: MaskSpec, image: SampleSpec) -> bool:
    """Return whether the file of a mask has the sides of the upright image, not those of the stored one."""
    turned = image.decode is not None and swaps_axes(image.decode.orientation)
    return turned and mask.size == image.shape[:2] != image.shape[1::-1]


def _sides(spec: SampleSpec) -> str:
    return " x ".join(map(str, spec.shape[:2]))


def _array_spec(array: Array) -> SampleSpec:
    if not array.size:
        raise ValueError(f"an array must have pixels, got shape {array.shape}")
    if not is_numeric(array):
        raise TypeError(f"an array must have pixels that are numbers, got dtype {array.dtype}")
    return SampleSpec(array.shape, array.dtype.newbyteorder("="), None)


def _check_bytes(picture: Any) -> Any:
    """Return what may be the bytes of an image; raise TypeError for what certainly is not."""
    if isinstance(picture, (bytes, memoryview)):
        return picture
    try:
        return memoryview(picture)
    except TypeError:
        raise TypeError(
            "load must return the bytes of an image, a numpy array (height, width, channels), or a tuple of such "
            f"pictures, got {type(picture).__name__}"
        ) from None
