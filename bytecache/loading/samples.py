"""Samples: how the framework adapters read, decode and resize them, and what happens to those that fail."""

from __future__ import annotations

import inspect
import logging
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from ..images.arrays import Array, check_size
from ..images.batch import decode_into, decode_on_threads, map_indexed
from ..images.jpeg import DecodeSpec, JpegDecoder
from ..images.resize import resize

logger = logging.getLogger("bytecache")


class SampleError(RuntimeError):
    """Raised if a sample cannot be read, decoded or transformed; ``path`` names it, ``__cause__`` is the reason.

    From a torch DataLoader's worker it comes without ``__cause__``, and ``path`` is a str: torch re-creates it from
    the text of the worker's traceback, which is then its message.
    """

    def __init__(self, path: Any, reason: str | None = None) -> None:
        if reason is None:  # re-created by torch, from the text alone
            super().__init__(path)
            self.path, self.reason = _parse_message(path)
        else:
            super().__init__(path, reason)
            self.path, self.reason = path, reason

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}" if len(self.args) == 2 else str(self.args[0])


def _parse_message(text: str) -> tuple[str, str]:
    """Return path and reason of the last SampleError in a printed traceback."""
    *_, last = re.split(r"^(?:[\w.]+\.)?SampleError: ", str(text), flags=re.MULTILINE)
    path, _, reason = last.rstrip().partition(": ")
    return path, reason


class SampleSpec(NamedTuple):
    """A sample once decoded and resized: its shape (H, W, C), dtype, and how to decode it (None for an array)."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    decode: DecodeSpec | None


class SampleLoader:
    """A reader of samples by the user's `load`, and their decoder. Picklable if `load` is. Safe for threads.

    load: cached or not; returns JPEG bytes or an array (H, W, C). size: (height, width) in pixels to resize to, None to
    keep each sample's own. decode_options: colorspace, fast, strict, orient and max_pixels of JpegDecoder.
    """

    def __init__(self, load: Callable[[Any], Any], size: tuple[int, int] | None, **decode_options: Any) -> None:
        self._load = load
        self.size = None if size is None else check_size(size, "size")
        self._decoder = JpegDecoder(min_size=self.size, **decode_options)

    def load(self, paths: Sequence[Any]) -> tuple[dict[int, Any], dict[int, Exception]]:
        """Return what `load` returns and what it raises, both by index of the path.

        A cached function reads its misses on threads; bytes of a shared store come as views of it, so that they are
        decoded without a copy.
        """
        if not hasattr(self._load, "cache_stats") or inspect.ismethod(self._load):
            failed: dict[int, Exception] = {}
            return map_indexed(self._load, dict(enumerate(paths)), failed), failed
        values = self._load.map(paths, return_exceptions=True, copy=False)  # type: ignore[attr-defined]
        failed = {index: value for index, value in enumerate(values) if isinstance(value, Exception)}
        samples = {index: value for index, value in enumerate(values) if index not in failed}
        values.clear()  # the exceptions' tracebacks refer to this frame
        return samples, failed

    def spec(self, sample: Any) -> SampleSpec:
        """Return the sample's spec, from its header alone; raise JpegError or TypeError if it is not an image."""
        if isinstance(sample, np.ndarray):
            shape = (*self.size, sample.shape[2]) if self.size and sample.ndim == 3 else sample.shape
            return SampleSpec(shape, sample.dtype, None)
        decode = self._decoder.spec(sample)
        return SampleSpec((*(self.size or decode.size), self._decoder.channels), np.dtype(np.uint8), decode)

    def decode_one(self, sample: Any, spec: SampleSpec, out: Array | None = None) -> Array:
        """Return the decoded and resized sample, in `out` if that has the spec's shape and dtype.

        A loaded array that needs no resizing is returned as it is: the caller copies it.
        """
        if spec.decode is None and sample.shape == spec.shape:
            return sample  # type: ignore[no-any-return]
        if out is None or out.shape != spec.shape or out.dtype != spec.dtype:
            out = np.empty(spec.shape, spec.dtype)
        if spec.decode is None:
            resize(sample, out)
        else:
            decode_into(self._decoder, sample, spec.decode, out)
        return out

    def decode_all(
        self,
        samples: Mapping[int, Any],
        failed: dict[int, Exception],
        borrow: Callable[[tuple[int, ...], np.dtype[Any]], Array],
        threads: int,
    ) -> tuple[dict[int, Array], Array | None]:
        """Return the images by index, and the array (n, H, W, C) that contains them, from ``borrow(shape, dtype)``.

        If they differ in shape or dtype, each has an array of its own and the second result is None. Exceptions go
        into `failed`; the image of such an index is missing or has arbitrary pixels.
        """
        specs = map_indexed(self._image_spec, samples, failed)
        batch = None
        if len({(spec.shape, spec.dtype) for spec in specs.values()}) == 1:
            spec = next(iter(specs.values()))
            batch = borrow((len(specs), *spec.shape), spec.dtype)
        arrays = (np.empty(spec.shape, spec.dtype) for spec in specs.values()) if batch is None else batch
        images = dict(zip(specs, arrays, strict=True))
        decode_on_threads(self._write, samples, specs, images, threads, failed)
        return images, batch

    def _image_spec(self, sample: Any) -> SampleSpec:
        spec = self.spec(sample)
        if len(spec.shape) != 3:
            raise ValueError(f"an array must have the shape (height, width, channels), got {spec.shape}")
        return spec

    def _write(self, sample: Any, spec: SampleSpec, out: Array) -> None:
        image = self.decode_one(sample, spec, out)
        if image is not out:
            out[...] = image


def check_samples(paths: Sequence[Any], targets: Any, load: Any, transform: Any, on_error: str) -> None:
    """Raise TypeError or ValueError if no dataset can be made of these; targets: anything with a length, or None."""
    if not paths:
        raise ValueError("paths is empty: pass at least one")
    if targets is not None and len(targets) != len(paths):
        raise ValueError(f"targets must have one entry per path, got {len(targets)} for {len(paths)}")
    if on_error not in ("raise", "skip"):
        raise ValueError(f'on_error must be "raise" or "skip", got {on_error!r}')
    if not callable(load) or not (transform is None or callable(transform)):
        raise TypeError(f"load and transform must be functions, got {load!r} and {transform!r}")


def check_skipped(paths: Sequence[Any], failed: Mapping[int, Exception], skip: bool) -> list[tuple[Any, str]]:
    """Return (path, reason) of each failed sample of a batch; raise SampleError if none may fail, or all did.

    paths: those of the batch. failed: by index of the path. A missing package is not the sample's fault: it is always
    raised.
    """
    skipped = [(paths[index], f"{type(exc).__name__}: {exc}") for index, exc in sorted(failed.items())]
    missing_package = any(isinstance(exc, ImportError) for exc in failed.values())
    if skipped and (not skip or missing_package or len(skipped) == len(paths)):
        path, reason = skipped[0]
        if skip and not missing_package:
            reason = f"every sample of this batch failed, this one first: {reason}"
        raise SampleError(path, reason) from failed[min(failed)]
    return skipped


def log_skipped(skipped: Sequence[tuple[Any, str]], logged: set[Any]) -> None:
    """Log one warning for each path that is not in `logged` yet, and add it there."""
    for path, reason in skipped:
        if path not in logged:
            logged.add(path)
            logger.warning("skipped %s: %s", path, reason)
