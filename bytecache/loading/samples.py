"""Samples: how the framework adapters read, decode and resize them, and what happens to those that fail."""

from __future__ import annotations

import copy
import inspect
import logging
import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, TypeAlias

import numpy as np

from ..images.arrays import Array
from ..images.batch import decode_on_threads, map_indexed
from ..images.crops import Fit
from .pictures import PictureDecoder, SampleSpec, check_masks, check_shape, fit_picture, fit_pictures, split_pictures

logger = logging.getLogger("bytecache")

Loaded: TypeAlias = tuple[dict[int, Any], dict[int, Exception]]  # what `load` returned and raised, by index of the path


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


class SampleLoader:
    """A reader of samples by the user's `load`, and their decoder. Picklable if `load` is. Safe for threads.

    load: cached or not; returns a picture, the bytes of an image or an array (H, W, C), or a tuple of pictures. masks:
    the positions in it of those whose pixels are class numbers, arrays (H, W) or (H, W, C). fit: how to resize to one
    size, None to keep each picture's own. decode_options: those of ImageDecoder.
    """

    def __init__(self, load: Callable[[Any], Any], fit: Fit | None, masks: Any = (), **decode_options: Any) -> None:
        self.function = load
        self.fit, self.masks, self.options = fit, check_masks(masks), decode_options
        self._decoder = PictureDecoder(**decode_options)

    def reading_by(self, load: Callable[[Any], Any]) -> SampleLoader:
        """Return a loader that differs in nothing but its function."""
        other = copy.copy(self)
        other.function = load
        return other

    @property
    def crops_at_random(self) -> bool:
        """Whether ``specs`` needs random numbers."""
        return self.fit is not None and self.fit.resize == "random_crop"

    @property
    def is_cached(self) -> bool:
        """Whether `load` is cached, and so reads the misses of many keys on threads."""
        return hasattr(self.function, "cache_stats") and not inspect.ismethod(self.function)

    def load(self, paths: Sequence[Any]) -> Loaded:
        """Return what `load` returns and what it raises, both by index of the path.

        A cached function reads its misses on threads; bytes of a shared store come as views of it, so that they are
        decoded without a copy.
        """
        if not self.is_cached:
            failed: dict[int, Exception] = {}
            return map_indexed(self.function, dict(enumerate(paths)), failed), failed
        values = self.function.map(paths, return_exceptions=True, copy=False)  # type: ignore[attr-defined]
        failed = {index: value for index, value in enumerate(values) if isinstance(value, Exception)}
        samples = {index: value for index, value in enumerate(values) if index not in failed}
        values.clear()  # the exceptions' tracebacks refer to this frame
        return samples, failed

    def pictures(self, samples: Mapping[int, Any], failed: dict[int, Exception]) -> list[dict[int, Any]]:
        """Return the first picture of each sample by its index, then the second ones; exceptions go into `failed`."""
        return split_pictures(samples, self.masks, failed)

    def specs(
        self, pictures: list[dict[int, Any]], failed: dict[int, Exception], draws: Array | None = None
    ) -> list[dict[int, SampleSpec]]:
        """Return the specs of all ``pictures``, from their headers alone; exceptions go into `failed`.

        Samples that fail are in none. draws: if they are cropped at random, random numbers, float64 (n, crops.DRAWS);
        a sample's index is its row.
        """
        specs = [map_indexed(self._decoder.spec, pictures[0], failed)]
        for position, column in enumerate(pictures[1:], 1):
            of_mask, column = position in self.masks, {i: column[i] for i in column if i not in failed}
            items = {i: (picture, specs[0][i]) for i, picture in column.items()}
            read = (
                (lambda item: self._decoder.mask_spec(*item)) if of_mask else lambda item: self._decoder.spec(item[0])
            )
            specs.append(map_indexed(read, items, failed))
        if self.fit is not None and specs[0]:
            specs = fit_pictures(specs, self.fit, draws, failed)
        return [{i: spec for i, spec in column.items() if i not in failed} for column in specs]

    def decode_alone(self, picture: Any) -> Array:
        """Return a sample's only picture, an image that is not cropped at random, decoded and resized."""
        spec = self._decoder.spec(picture)
        return self._decoder.decode(picture, spec if self.fit is None else fit_picture(spec, self.fit))

    def decode_one(self, picture: Any, spec: SampleSpec, out: Array | None = None) -> Array:
        """Return the decoded and resized picture, in `out` if that has the spec's shape and dtype.

        A loaded array that needs no resizing is returned as it is: the caller copies it.
        """
        return self._decoder.decode(picture, spec, out)

    def decode_all(
        self,
        samples: Mapping[int, Any],
        failed: dict[int, Exception],
        borrow: Callable[[int, tuple[int, ...], np.dtype[Any]], Array],
        threads: int,
        draws: Array | None = None,
    ) -> list[tuple[dict[int, Array], Array | None]]:
        """Return, for each position in the samples' tuples, the pictures by index, and the array that contains them.

        The array, (n, H, W, C) or (n, H, W), is from ``borrow(position, shape, dtype)``. If the pictures differ in
        shape or dtype, each has an array of its own and the second result is None. Exceptions go into `failed`; the
        picture of such an index is missing or has arbitrary pixels. draws: as for ``specs``.
        """
        pictures = self.pictures(samples, failed)
        specs = self.specs(pictures, failed, draws)
        for column in specs:
            map_indexed(check_shape, {i: spec for i, spec in column.items() if len(spec.shape) != 3}, failed)
        results = []
        for position, (column, column_specs) in enumerate(zip(pictures, specs, strict=True)):
            good = {i: spec for i, spec in column_specs.items() if i not in failed}
            images, batch = _allocate(good, partial(borrow, position))
            decode_on_threads(self._write, column, good, images, threads, failed)
            results.append((images, batch))
        return results

    def _write(self, picture: Any, spec: SampleSpec, out: Array) -> None:
        image = self.decode_one(picture, spec, out)
        if image is not out:
            out[...] = image


def _allocate(
    specs: dict[int, SampleSpec], borrow: Callable[[tuple[int, ...], np.dtype[Any]], Array]
) -> tuple[dict[int, Array], Array | None]:
    batch = None
    if len({(spec.shape, spec.dtype) for spec in specs.values()}) == 1:
        spec = next(iter(specs.values()))
        batch = borrow((len(specs), *spec.shape), spec.dtype)
    arrays = (np.empty(spec.shape, spec.dtype) for spec in specs.values()) if batch is None else batch
    return dict(zip(specs, arrays, strict=True)), batch


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
