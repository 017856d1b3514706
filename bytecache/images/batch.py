"""Many JPEG images into one array, on threads."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np

from ..system.arguments import check_threads
from ..system.threads import cpu_count, run_on_threads
from .jpeg import MAX_PIXELS, DecodeSpec, Image, JpegData, JpegDecoder, JpegError, check_out, check_size
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
    decoder = JpegDecoder(colorspace, sides, fast, strict, orient, max_pixels)
    # All headers first, in this thread: a call less per image in which threads would contend for the GIL.
    specs = _read_headers(decoder, datas)
    shape = (len(datas), *(sides or _common_size(specs)), decoder.channels)
    if out is None:
        out = np.empty(shape, np.uint8)
    else:
        check_out(out, shape)
    run_on_threads(partial(_decode_one, decoder, datas, specs, out), range(len(datas)), threads)
    return out


def decode_into(decoder: JpegDecoder, data: JpegData, spec: DecodeSpec, out: Image) -> None:
    """Decodes one image into `out`, shape (H, W, C), resized where its sides differ."""
    if spec.size == out.shape[:2]:
        decoder.decode(data, spec, out)
    else:
        resize(decoder.decode(data, spec), out)


def _read_headers(decoder: JpegDecoder, datas: Sequence[JpegData]) -> list[DecodeSpec]:
    specs = []
    for index, data in enumerate(datas):
        try:
            specs.append(decoder.spec(data))
        except (TypeError, ValueError) as exc:
            raise _with_index(exc, index) from None
    return specs


def _decode_one(
    decoder: JpegDecoder, datas: Sequence[JpegData], specs: Sequence[DecodeSpec], out: Image, index: int
) -> None:
    try:
        decode_into(decoder, datas[index], specs[index], out[index])
    except (TypeError, ValueError) as exc:
        raise _with_index(exc, index) from None


def _with_index(exc: TypeError | ValueError, index: int) -> Exception:
    """The same error with the image's place in the batch."""
    numbered = type(exc)(f"image {index}: {exc}")
    if isinstance(numbered, JpegError):
        numbered.index = index
    return numbered


def _common_size(specs: Sequence[DecodeSpec]) -> tuple[int, int]:
    if not specs:
        raise ValueError("datas is empty, so its images have no size: give size=(height, width)")
    height, width = specs[0].size
    for index, spec in enumerate(specs):
        if spec.size != (height, width):
            reason = f"{spec.size[0]} x {spec.size[1]} pixels, where image 0 has {height} x {width}"
            raise _with_index(JpegError(f"{reason}: give size=(height, width) to resize them all"), index)
    return height, width
