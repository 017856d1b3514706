"""Many JPEG images into one array, on threads."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial

import numpy as np

from .jpeg import MAX_PIXELS, Decoder, Image, JpegData, JpegError, check_out, check_size
from .pool import check_threads, cpu_count, run_shared
from .resize import resize


def decode_batch(
    datas: Sequence[JpegData],
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
    """Decodes N JPEG images into one uint8 array of shape (N, H, W, C).

    size: (height, width) in pixels to resize each image to, antialiased, from the smallest scaled decode that is
    large enough (needs Pillow: ``bytecache[resize]``). Without it all images must have the same size.
    out: a writable C-contiguous uint8 array of that shape; a new one is made where it is not given, which costs time
    each step: keep a few and use them in turn. threads: how many threads decode, the calling one among them
    (default: the processors this process may use). The other options are those of :func:`decode_jpeg`.

    Raises JpegError with ``index`` set, and the index in its message, for the first bad image; ValueError for images
    of unequal size without `size`. No thread works on `out` after it has returned or raised.
    Safe for threads; the helper threads are shared by all calls, and made anew in a forked child.
    """
    datas = list(datas)
    threads = min(check_threads(threads, cpu_count()), max(1, len(datas)))
    sides = None if size is None else check_size(size, "size")
    decoder = Decoder(colorspace, sides, fast, strict, orient, max_pixels)
    if sides is None:
        sides = _common_sides(datas, decoder)
    shape = (len(datas), *sides, decoder.channels)
    if out is None:
        out = np.empty(shape, np.uint8)
    else:
        check_out(out, shape)
    run_shared(partial(_decode_one, decoder, datas, out), range(len(datas)), threads)
    return out


def _decode_one(decoder: Decoder, datas: Sequence[JpegData], out: Image, index: int) -> None:
    with _numbered(index):
        decode_into(decoder, datas[index], out[index])


def decode_into(decoder: Decoder, data: JpegData, out: Image) -> None:
    """Decodes one image into `out`, shape (H, W, C), resized where its sides differ."""
    plan = decoder.plan(data)
    if plan.sides == out.shape[:2]:
        decoder.decode(data, plan, out)
    else:
        resize(decoder.decode(data, plan), out)


def _common_sides(datas: Sequence[JpegData], decoder: Decoder) -> tuple[int, int]:
    common = None
    for index, data in enumerate(datas):
        with _numbered(index):
            height, width = decoder.plan(data).sides
            if common is None:
                common = height, width
            elif common != (height, width):
                raise JpegError(
                    f"{height} x {width} pixels, where image 0 has {common[0]} x {common[1]}: "
                    "give size=(height, width) to resize them all"
                )
    if common is None:
        raise ValueError("datas is empty, so its images have no size: give size=(height, width)")
    return common


@contextmanager
def _numbered(index: int) -> Iterator[None]:
    """Puts the image's place in the batch into what a bad image raises."""
    try:
        yield
    except (JpegError, TypeError, ValueError) as exc:
        raise _with_index(exc, index) from None


def _with_index(exc: JpegError | TypeError | ValueError, index: int) -> Exception:
    numbered = type(exc)(f"image {index}: {exc}")
    if isinstance(numbered, JpegError):
        numbered.index = index
    return numbered
