"""From paths to batches: read, decode, resize, transform; what both framework adapters are made of."""

from __future__ import annotations

import inspect
import logging
import math
import operator
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from .batch import decode_into
from .jpeg import Decoder, Plan, check_size
from .order import epoch_order
from .pool import cpu_count, run_shared
from .resize import resize
from .ring import Array, Ring

logger = logging.getLogger("bytecache")


class SampleError(RuntimeError):
    """A sample that could not be read, decoded or transformed; ``path`` names it, ``__cause__`` is why."""

    def __init__(self, path: Any, reason: str) -> None:
        super().__init__(path, reason)
        self.path, self.reason = path, reason

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}"


class Batch(NamedTuple):
    """images: (n, H, W, C); targets: (n, ...) or None; skipped: (path, reason) of each sample left out."""

    images: Array
    targets: Array | None
    skipped: list[tuple[Any, str]]


class BatchMaker:
    """Makes batch `position` of an epoch. Its options are those of ImageDataset. Picklable; safe for threads."""

    def __init__(
        self,
        paths: Sequence[Any],
        targets: Any,
        *,
        batch_size: int,
        load: Callable[[Any], Any],
        size: tuple[int, int] | None = None,
        shuffle: bool = True,
        seed: int = 0,
        dtype: str = "uint8",
        transform: Callable[[Array], Array] | None = None,
        on_error: str = "raise",
    ) -> None:
        self.paths, self.targets = list(paths), None if targets is None else np.asarray(targets)
        if not self.paths:
            raise ValueError("paths is empty: there is nothing to read")
        if self.targets is not None and len(self.targets) != len(self.paths):
            raise ValueError(f"targets must have one entry per path, got {len(self.targets)} for {len(self.paths)}")
        if on_error not in ("raise", "skip"):
            raise ValueError(f'on_error must be "raise" or "skip", got {on_error!r}')
        if not callable(load) or not (transform is None or callable(transform)):
            raise TypeError(f"load and transform must be functions, got {load!r} and {transform!r}")
        self.batch_size, self.seed = check_int(batch_size, "batch_size", 1), check_int(seed, "seed", 0)
        self.load, self.transform, self.on_error, self.shuffle = load, transform, on_error, shuffle
        self.size = None if size is None else check_size(size, "size")
        self.dtype = np.dtype(dtype)
        self._decoder = Decoder(min_size=self.size)
        self._shape: tuple[int, ...] | None = None  # of a sample, settled by the first batch made
        self._ring = Ring()

    @property
    def settled(self) -> bool:
        """Whether the shape of a sample is known: before that, two makers of one data set might settle on two."""
        return self._shape is not None

    def __len__(self) -> int:
        return math.ceil(len(self.paths) / self.batch_size)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_ring": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _ring=Ring())

    def make(self, epoch: int, position: int) -> Batch:
        """The batch, its images in an array of the ring; raises SampleError where a sample fails and none may."""
        order = epoch_order(len(self.paths), self.seed, epoch, self.shuffle)
        indices = order[position * self.batch_size : (position + 1) * self.batch_size]
        if not len(indices):
            raise IndexError(f"batch {position} of a dataset of {len(self)} batches")
        samples = self._load([self.paths[i] for i in indices])
        images, failed = self._decode(samples)
        try:
            return self._batch(indices, images, failed)
        finally:  # the tracebacks in these hold the frames that hold these
            samples.clear()
            failed.clear()

    def _batch(self, indices: Array, images: Array, failed: dict[int, Exception]) -> Batch:
        """The samples that did not fail, close together."""
        skipped = [(self.paths[indices[place]], _reason(exc)) for place, exc in sorted(failed.items())]
        missing_package = any(isinstance(exc, ImportError) for exc in failed.values())
        if skipped and (self.on_error == "raise" or missing_package or len(skipped) == len(indices)):
            path, reason = skipped[0]
            if self.on_error == "skip" and not missing_package:
                reason = f"every sample of this batch failed, this one first: {reason}"
            raise SampleError(path, reason) from failed[min(failed)]
        kept = [place for place in range(len(indices)) if place not in failed]
        for place, source in enumerate(kept):  # close the gaps, in place
            if place != source:
                images[place] = images[source]
        targets = None if self.targets is None else self.targets[indices[kept]]
        return Batch(images[: len(kept)], targets, skipped)

    def _load(self, paths: list[Any]) -> list[Any]:
        """What `load` gives for each path, or the exception it raised; a cached function reads misses on threads."""
        if hasattr(self.load, "cache_stats") and not inspect.ismethod(self.load):
            return self.load.map(paths, return_exceptions=True)  # type: ignore[attr-defined, no-any-return]
        samples: list[Any] = []
        for path in paths:
            try:
                samples.append(self.load(path))
            except Exception as exc:
                samples.append(exc)
        return samples

    def _decode(self, samples: list[Any]) -> tuple[Array, dict[int, Exception]]:
        failed = {place: sample for place, sample in enumerate(samples) if isinstance(sample, Exception)}
        todo = [place for place in range(len(samples)) if place not in failed]
        if self._shape is None:
            self._shape = self._common_shape([samples[place] for place in todo])
        images = self._ring.take((len(samples), *(self._shape or ())), self.dtype)

        def write(place: int) -> None:
            try:
                self._write(samples[place], images[place])
            except Exception as exc:
                failed[place] = exc

        run_shared(write, todo, min(cpu_count(), max(1, len(todo))))
        return images, failed

    def _common_shape(self, samples: list[Any]) -> tuple[int, ...] | None:
        """The shape that most samples will have, so that one odd sample does not make all others odd."""
        shapes: Counter[tuple[int, ...]] = Counter()
        for sample in samples:
            try:
                shapes[self._shape_of(sample)] += 1
            except Exception:  # it is reported when it is written into its batch
                continue
        return shapes.most_common(1)[0][0] if shapes else None

    def _shape_of(self, sample: Any) -> tuple[int, ...]:
        if self.transform is not None:
            return tuple(self._image(sample).shape)
        if isinstance(sample, np.ndarray):
            return (*self.size, *sample.shape[2:]) if self.size and sample.ndim == 3 else tuple(sample.shape)
        return self._decoded_shape(self._decoder.plan(sample))

    def _decoded_shape(self, plan: Plan) -> tuple[int, ...]:
        return (*(self.size or plan.sides), self._decoder.channels)

    def _write(self, sample: Any, row: Array) -> None:
        if self.transform is None and not isinstance(sample, np.ndarray) and row.dtype == np.uint8:
            plan = self._decoder.plan(sample)
            if self._decoded_shape(plan) == row.shape:
                decode_into(self._decoder, sample, plan, row)  # straight into the batch
                return
        image = self._image(sample)
        if image.shape != row.shape:
            hint = "" if self.size else ": give size=(height, width) to resize them all"
            raise ValueError(f"the sample has shape {image.shape}, most of the first batch had {row.shape}{hint}")
        if not np.can_cast(image.dtype, row.dtype, "same_kind"):
            raise TypeError(f"the sample is {image.dtype}, which does not fit dtype={row.dtype.name!r}: give dtype=")
        row[...] = image

    def _image(self, sample: Any) -> Array:
        """The sample as an array of its final shape."""
        if not isinstance(sample, np.ndarray):
            plan = self._decoder.plan(sample)
            image = np.empty(self._decoded_shape(plan), np.uint8)
            decode_into(self._decoder, sample, plan, image)
        elif sample.ndim == 3 and self.size and sample.shape[:2] != self.size:
            image = np.empty((*self.size, sample.shape[2]), sample.dtype)
            resize(sample, image)
        else:
            image = sample
        return image if self.transform is None else np.asarray(self.transform(image))


def check_int(value: Any, name: str, least: int) -> int:
    """`value` as an int; raises TypeError for another type, ValueError for less than `least`."""
    try:
        number = -1 if isinstance(value, bool) else operator.index(value)
    except TypeError:
        raise TypeError(f"{name} must be an int of {least} or more, got {value!r}") from None
    if number < least:
        raise ValueError(f"{name} must be an int of {least} or more, got {value!r}")
    return number


def _reason(exc: Exception) -> str:
    return f"{type(exc).__name__}: {exc}"
