"""Samples: how the framework adapters read, decode and resize them, and what happens to those that fail."""

from __future__ import annotations

import inspect
import logging
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from ..images.arrays import Array
from ..images.batch import decode_into, decode_on_threads, fit_spec, map_indexed, place
from ..images.crops import Box, Fit, Placement, place_crops
from ..images.formats import ImageDecoder, ImageSpec

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
    """A sample once decoded and resized: its shape (H, W, C) and dtype, and how to make it.

    decode: None for an array. placement: None if it is not resized.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    decode: ImageSpec | None
    placement: Placement | None = None


class SampleLoader:
    """A reader of samples by the user's `load`, and their decoder. Picklable if `load` is. Safe for threads.

    load: cached or not; returns the bytes of an image or an array (H, W, C). fit: how to resize to one size, None to
    keep each sample's own. decode_options: colorspace, fast, strict, orient and max_pixels of ImageDecoder.
    """

    def __init__(self, load: Callable[[Any], Any], fit: Fit | None, **decode_options: Any) -> None:
        self._load = load
        self.fit = fit
        self._decoder = ImageDecoder(**decode_options)

    @property
    def crops_at_random(self) -> bool:
        """Whether ``specs`` needs random numbers."""
        return self.fit is not None and self.fit.resize == "random_crop"

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

    def specs(
        self, samples: Mapping[int, Any], failed: dict[int, Exception], draws: Array | None = None
    ) -> dict[int, SampleSpec]:
        """Return the samples' specs by index, from their headers alone; exceptions go into `failed`.

        draws: if they are cropped at random, random numbers, float64 (n, crops.DRAWS); a sample's index is its row.
        """
        specs = map_indexed(self._spec_as_loaded, samples, failed)
        fit = self.fit
        if fit is None or not specs:
            return specs
        boxes: dict[int, Box] = {}
        if draws is not None:
            images = [index for index, spec in specs.items() if len(spec.shape) == 3]
            sides = np.array([specs[index].shape[:2] for index in images]).reshape(-1, 2)
            crops = place_crops(sides, fit.crop_scale, fit.crop_ratio, draws[images]).tolist()
            boxes = {index: tuple(crop) for index, crop in zip(images, crops, strict=True)}
        fitted = {index: (spec, boxes.get(index)) for index, spec in specs.items()}
        return map_indexed(lambda item: _fitted(item[0], fit, item[1]), fitted, failed)

    def _spec_as_loaded(self, sample: Any) -> SampleSpec:
        """Return the spec before resizing; raise JpegError or TypeError if the sample is not an image."""
        if isinstance(sample, np.ndarray):
            if not sample.size:
                raise ValueError(f"an array must have pixels, got shape {sample.shape}")
            return SampleSpec(sample.shape, sample.dtype, None)
        decode = self._decoder.spec(sample)
        return SampleSpec((*decode.size, self._decoder.channels), np.dtype(np.uint8), decode)

    def decode_one(self, sample: Any, spec: SampleSpec, out: Array | None = None) -> Array:
        """Return the decoded and resized sample, in `out` if that has the spec's shape and dtype.

        A loaded array that needs no resizing is returned as it is: the caller copies it.
        """
        if spec.decode is None and spec.placement is None:
            return sample  # type: ignore[no-any-return]
        if out is None or out.shape != spec.shape or out.dtype != spec.dtype:
            out = np.empty(spec.shape, spec.dtype)
        if spec.decode is not None:
            decode_into(self._decoder, sample, spec.decode, spec.placement, out)
        elif spec.placement is not None:
            place(sample, spec.placement, out)
        return out

    def decode_all(
        self,
        samples: Mapping[int, Any],
        failed: dict[int, Exception],
        borrow: Callable[[tuple[int, ...], np.dtype[Any]], Array],
        threads: int,
        draws: Array | None = None,
    ) -> tuple[dict[int, Array], Array | None]:
        """Return the images by index, and the array (n, H, W, C) that contains them, from ``borrow(shape, dtype)``.

        If they differ in shape or dtype, each has an array of its own and the second result is None. Exceptions go
        into `failed`; the image of such an index is missing or has arbitrary pixels. draws: as for ``specs``.
        """
        specs = self._image_specs(samples, failed, draws)
        batch = None
        if len({(spec.shape, spec.dtype) for spec in specs.values()}) == 1:
            spec = next(iter(specs.values()))
            batch = borrow((len(specs), *spec.shape), spec.dtype)
        arrays = (np.empty(spec.shape, spec.dtype) for spec in specs.values()) if batch is None else batch
        images = dict(zip(specs, arrays, strict=True))
        decode_on_threads(self._write, samples, specs, images, threads, failed)
        return images, batch

    def _image_specs(
        self, samples: Mapping[int, Any], failed: dict[int, Exception], draws: Array | None
    ) -> dict[int, SampleSpec]:
        specs = self.specs(samples, failed, draws)
        for index, spec in list(specs.items()):
            if len(spec.shape) != 3:
                failed[index] = ValueError(f"an array must have the shape (height, width, channels), got {spec.shape}")
                del specs[index]
        return specs

    def _write(self, sample: Any, spec: SampleSpec, out: Array) -> None:
        image = self.decode_one(sample, spec, out)
        if image is not out:
            out[...] = image


def _fitted(spec: SampleSpec, fit: Fit, crop: Box | None) -> SampleSpec:
    if len(spec.shape) != 3:
        return spec
    shape = (*fit.size, spec.shape[2])
    fit.check_channels(spec.shape[2])
    if spec.decode is None:
        placement = fit.place(spec.shape[0], spec.shape[1], crop)
        as_it_is = placement.box == (0, 0, *fit.size) == (0, 0, *spec.shape[:2])
        return SampleSpec(shape, spec.dtype, None, None if as_it_is else placement)
    decode, placement = fit_spec(fit, spec.decode, crop)
    return SampleSpec(shape, spec.dtype, decode, placement)


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
