"""Many images into one array, on threads: the batch decoder behind ``decode_batch`` and both datasets."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

import numpy as np

from ..system.arguments import check_threads
from ..system.threads import cpu_count, run_on_threads
from .arrays import Array, Image, check_out
from .crops import Box, Fit, Placement, check_crops, make_fit
from .formats import ImageDecoder, ImageSpec, decoded
from .jpeg import MAX_PIXELS
from .resize import resize as resize_box
from .segments import JpegData, JpegError

T = TypeVar("T")
Spec = TypeVar("Spec")


class FitSpec(NamedTuple):
    """How to decode an image, and which part of that fills which part of the result."""

    decode: ImageSpec
    placement: Placement


def decode_batch(
    images: Sequence[JpegData],
    *,
    size: tuple[int, int] | None = None,
    resize: str = "stretch",
    pad_value: int | tuple[int, int, int] = 0,
    crops: Any = None,
    out: Image | None = None,
    threads: int | None = None,
    colorspace: str = "RGB",
    fast: bool = False,
    strict: bool = True,
    orient: bool = False,
    max_pixels: int | None = MAX_PIXELS,
) -> Image:
    """Return the pixels of N images as one uint8 array of shape (N, H, W, C).

    images: the bytes of JPEG files, or of other formats that ``decode_image`` takes.
    size: (height, width) in pixels to resize each image to, antialiased, from the smallest scaled decode that is
    large enough (needs ``bytecache[images]``). Without it all images must have the same size. resize: "stretch" changes
    the proportions; "crop" takes the largest part of the new proportions, in the centre; "pad" keeps all of the image
    and its proportions, with `pad_value` (0 to 255, or one for each channel) on two sides. crops: int (N, 4), the box
    of each image to resize instead: top, left, height, width in pixels, of the upright image if `orient`; see
    ``random_crops``.
    out: a writable C-contiguous uint8 array of that shape, which is filled and returned. Without it each call
    allocates one, which takes time: keep a few and rotate them. threads: the number of threads that decode, including
    the calling one (default: the processors this process may use). The other options are those of :func:`decode_jpeg`.

    Raises JpegError with ``index`` set, and the index in its message, for the first bad image; ValueError if the
    images differ in size and `size` is not given, or an option is out of range. No thread writes to `out` after the
    call has returned or raised. Safe for threads; all calls share the helper threads, a forked child starts its own.
    """
    encoded = dict(enumerate(images))
    threads = check_threads(threads, cpu_count())
    decoder = ImageDecoder(colorspace, fast, strict, orient, max_pixels)
    fit = make_fit(size, resize, pad_value)
    if fit is not None:
        fit.check_channels(decoder.channels)
    _check_crops_option(size, resize, crops)
    # All headers first, in this thread: one call less per image for which threads would contend for the GIL.
    specs = map_indexed(decoder.spec, encoded)
    shape = (len(encoded), *(fit.size if fit else _common_size(specs)), decoder.channels)
    if out is None:
        out = np.empty(shape, np.uint8)
    else:
        check_out(out, shape)
    if fit is None:
        decode_on_threads(decoder.decode, encoded, specs, out, threads)
    else:
        boxes: list[Any] = check_crops(crops, [spec.size for spec in specs.values()]) if crops is not None else []
        fitted = {i: fit_spec(fit, specs[i], boxes[i] if boxes else None) for i in specs}
        decode_on_threads(lambda data, spec, out: decode_into(decoder, data, *spec, out), encoded, fitted, out, threads)
    return out


def _check_crops_option(size: Any, resize: str, crops: Any) -> None:
    if crops is None and resize == "random_crop":
        raise ValueError(
            'resize="random_crop" needs the boxes: pass crops=bytecache.random_crops(sides), of sides from image_size'
        )
    if crops is not None and size is None:
        raise ValueError("crops needs size=(height, width), the size of the result")
    if crops is not None and resize not in ("stretch", "random_crop"):
        raise ValueError(f"crops are stretched to size: pass them without resize={resize!r}")


def fit_spec(fit: Fit, spec: ImageSpec, crop: Box | None = None) -> FitSpec:
    """Return the smallest decode that is large enough for the fit, and the placement in its pixels."""
    return place_spec(spec, fit.place(*spec.size, crop))


def place_spec(spec: ImageSpec, placement: Placement) -> FitSpec:
    """Return the same for a placement in the pixels of the whole image."""
    (height, width), ((_, _, box_height, box_width), (_, _, new_height, new_width), _) = spec.size, placement
    scaled = spec.scaled(
        math.ceil(new_height * height / box_height - _ROUNDING), math.ceil(new_width * width / box_width - _ROUNDING)
    )
    return FitSpec(scaled, placement._replace(box=scaled.scaled_box(placement.box)))


_ROUNDING = 1e-6  # of proportions that are floats


def decode_into(
    decoder: ImageDecoder, data: JpegData, spec: ImageSpec, placement: Placement | None, out: Image
) -> None:
    """Decode one image into `out`, shape (H, W, C): all of it, or its part as ``fit_spec`` has it."""
    if placement is None or placement.box == (0, 0, *out.shape[:2]) == (0, 0, *spec.size):
        decoder.decode(data, spec, out)
    else:
        with decoded(decoder, data, spec) as (image, pixels):
            place(image, placement, out, pixels)


def place(image: Array, placement: Placement, out: Array, pixels: bytes | None = None) -> None:
    """Resize the box of `image` into the target in `out`, both of shape (H, W, C), and pad the rest.

    pixels: as for resize.
    """
    top, left, height, width = placement.target
    if (height, width) != out.shape[:2]:
        out[...] = placement.pad_value
    resize_box(image, out[top : top + height, left : left + width], placement.box, pixels)


def map_indexed(
    function: Callable[[Any], T], items: Mapping[int, Any], failed: dict[int, Exception] | None = None
) -> dict[int, T]:
    """Return ``function(item)`` of each item by its index, called in this thread.

    failed: the dict that collects exceptions by index; without it the first is raised, with the index in its message.
    """
    results: dict[int, T] = {}
    for index, item in items.items():
        try:
            results[index] = function(item)
        except Exception as exc:
            if failed is None:
                raise _with_index(exc, index) from None
            failed[index] = exc
    return results


def decode_on_threads(
    decode: Callable[[Any, Spec, Array], object],
    images: Mapping[int, Any],
    specs: Mapping[int, Spec],
    out: Mapping[int, Array] | Array,
    threads: int,
    failed: dict[int, Exception] | None = None,
) -> None:
    """Call ``decode(images[i], specs[i], out[i])`` for each index i of `specs`, on up to `threads` threads.

    failed: the dict that collects exceptions by index; without it that of the lowest index is raised, with the index
    in its message. No thread is at work any more after the call has returned or raised.
    """

    def decode_one(index: int) -> None:
        try:
            decode(images[index], specs[index], out[index])
        except Exception as exc:
            if failed is None:
                raise _with_index(exc, index) from None
            failed[index] = exc

    run_on_threads(decode_one, specs, min(threads, max(1, len(specs))))


def _with_index(exc: Exception, index: int) -> Exception:
    """Return the same error with the image's index in its message; one whose arguments may differ as it is."""
    if type(exc) not in (TypeError, ValueError) and not isinstance(exc, JpegError):
        return exc
    indexed = type(exc)(f"image {index}: {exc}")
    if isinstance(indexed, JpegError):
        indexed.index = index
    return indexed


def _common_size(specs: Mapping[int, ImageSpec]) -> tuple[int, int]:
    if not specs:
        raise ValueError("images is empty, so the size of its images is unknown: pass size=(height, width)")
    height, width = specs[0].size
    for index, spec in specs.items():
        if spec.size != (height, width):
            reason = f"{spec.size[0]} x {spec.size[1]} pixels, but image 0 has {height} x {width}"
            raise _with_index(JpegError(f"{reason}: pass size=(height, width) to resize them all"), index)
    return height, width
