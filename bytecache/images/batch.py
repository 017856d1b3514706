"""Many images into one array, on threads: the batch decoder behind ``decode_batch`` and both datasets."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, TypeVar

import numpy as np

from ..system.arguments import check_threads
from ..system.threads import cpu_count, run_on_threads
from .arrays import Array, Image, check_out, check_size
from .jpeg import MAX_PIXELS, DecodeSpec, JpegDecoder
from .resize import resize
from .segments import JpegData, JpegError

T = TypeVar("T")
Spec = TypeVar("Spec")


def decode_batch(
    images: Sequence[JpegData],
    *,
    size: tuple[int, int] | None = None,
    out: Image | None = None,
    threads: int | None = None,
    colorspace: str = "RGB",
    fast: bool = False,
    strict: bool = True,
    orient: bool = False,
    max_pixels: int | None = MAX_PIXELS,
) -> Image:
    """Return the pixels of N JPEG images as one uint8 array of shape (N, H, W, C).

    size: (height, width) in pixels to resize each image to, antialiased, from the smallest scaled decode that is
    large enough (needs ``bytecache[images]``). Without it all images must have the same size.
    out: a writable C-contiguous uint8 array of that shape, which is filled and returned. Without it each call
    allocates one, which takes time: keep a few and rotate them. threads: the number of threads that decode, including
    the calling one (default: the processors this process may use). The other options are those of :func:`decode_jpeg`.

    Raises JpegError with ``index`` set, and the index in its message, for the first bad image; ValueError if the
    images differ in size and `size` is not given. No thread writes to `out` after the call has returned or raised.
    Safe for threads; all calls share the helper threads, and a forked child starts its own.
    """
    encoded = dict(enumerate(images))
    threads = check_threads(threads, cpu_count())
    image_size = None if size is None else check_size(size, "size")
    decoder = JpegDecoder(colorspace, image_size, fast, strict, orient, max_pixels)
    # All headers first, in this thread: one call less per image for which threads would contend for the GIL.
    specs = map_indexed(decoder.spec, encoded)
    shape = (len(encoded), *(image_size or _common_size(specs)), decoder.channels)
    if out is None:
        out = np.empty(shape, np.uint8)
    else:
        check_out(out, shape)
    decode_on_threads(partial(decode_into, decoder), encoded, specs, out, threads)
    return out


def decode_into(decoder: JpegDecoder, data: JpegData, spec: DecodeSpec, out: Image) -> None:
    """Decode one image into `out`, shape (H, W, C), and resize it if its size differs."""
    if spec.size == out.shape[:2]:
        decoder.decode(data, spec, out)
    else:
        resize(decoder.decode(data, spec), out)


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


def _common_size(specs: Mapping[int, DecodeSpec]) -> tuple[int, int]:
    if not specs:
        raise ValueError("images is empty, so the size of its images is unknown: pass size=(height, width)")
    height, width = specs[0].size
    for index, spec in specs.items():
        if spec.size != (height, width):
            reason = f"{spec.size[0]} x {spec.size[1]} pixels, but image 0 has {height} x {width}"
            raise _with_index(JpegError(f"{reason}: pass size=(height, width) to resize them all"), index)
    return height, width
