"""Batches of samples in arrays that are used again: what the Keras adapter is made of."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from ..system.arguments import check_int
from ..system.threads import cpu_count, run_on_threads
from .buffers import Array, BufferPool
from .epochs import epoch_order
from .samples import SampleError as SampleError, SampleLoader, SampleSpec, check_samples, check_skipped


class Batch(NamedTuple):
    """images: (n, H, W, C); targets: (n, ...) or None; skipped: (path, reason) of each sample left out."""

    images: Array
    targets: Array | None
    skipped: list[tuple[Any, str]]


class BatchLoader:
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
        check_samples(self.paths, self.targets, load, transform, on_error)
        self.batch_size, self.seed = check_int(batch_size, "batch_size", 1), check_int(seed, "seed", 0)
        self.transform, self.on_error, self.shuffle = transform, on_error, shuffle
        self.dtype = np.dtype(dtype)
        self._samples = SampleLoader(load, size)
        self._shape: tuple[int, ...] | None = None  # of a sample, shape_known by the first batch made
        self._buffers = BufferPool()

    @property
    def shape_known(self) -> bool:
        """Whether the shape of a sample is known: before that, two makers of one data set might settle on two."""
        return self._shape is not None

    def __len__(self) -> int:
        return math.ceil(len(self.paths) / self.batch_size)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_buffers": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _buffers=BufferPool())

    def load(self, epoch: int, position: int) -> Batch:
        """The batch, its images in an array of the ring; raises SampleError where a sample fails and none may."""
        order = epoch_order(len(self.paths), self.seed, epoch, self.shuffle)
        indices = order[position * self.batch_size : (position + 1) * self.batch_size]
        if not len(indices):
            raise IndexError(f"batch {position} of a dataset of {len(self)} batches")
        samples = self._samples.load([self.paths[i] for i in indices])
        images, failed = self._decode(samples)
        try:
            return self._close_gaps(indices, images, failed)
        finally:  # the tracebacks in these hold the frames that hold these
            samples.clear()
            failed.clear()

    def _close_gaps(self, indices: Array, images: Array, failed: dict[int, Exception]) -> Batch:
        """The samples that did not fail, close together."""
        skipped = check_skipped([self.paths[i] for i in indices], failed, self.on_error == "skip")
        kept = [place for place in range(len(indices)) if place not in failed]
        for place, source in enumerate(kept):  # close the gaps, in place
            if place != source:
                images[place] = images[source]
        targets = None if self.targets is None else self.targets[indices[kept]]
        return Batch(images[: len(kept)], targets, skipped)

    def _decode(self, samples: list[Any]) -> tuple[Array, dict[int, Exception]]:
        failed = {place: sample for place, sample in enumerate(samples) if isinstance(sample, Exception)}
        todo = [place for place in range(len(samples)) if place not in failed]
        if self._shape is None:
            self._shape = self._common_shape([samples[place] for place in todo])
        images = self._buffers.borrow((len(samples), *(self._shape or ())), self.dtype)

        def write(place: int) -> None:
            try:
                self._write(samples[place], images[place])
            except Exception as exc:
                failed[place] = exc

        run_on_threads(write, todo, min(cpu_count(), max(1, len(todo))))
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
        form = self._samples.form(sample)
        return form.shape if self.transform is None else self._image(sample, form).shape

    def _image(self, sample: Any, form: SampleSpec, out: Array | None = None) -> Array:
        if self.transform is None:
            return self._samples.image(sample, form, out)
        return np.asarray(self.transform(self._samples.image(sample, form)))

    def _write(self, sample: Any, row: Array) -> None:
        image = self._image(sample, self._samples.form(sample), row)
        if image is row:
            return
        if image.shape != row.shape:
            hint = "" if self._samples.size else ": give size=(height, width) to resize them all"
            raise ValueError(f"the sample has shape {image.shape}, most of the first batch had {row.shape}{hint}")
        if not np.can_cast(image.dtype, row.dtype, "same_kind"):
            raise TypeError(f"the sample is {image.dtype}, which does not fit dtype={row.dtype.name!r}: give dtype=")
        row[...] = image
