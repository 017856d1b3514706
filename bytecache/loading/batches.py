"""Batches of samples in reused arrays, the core of the Keras dataset."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from ..images.arrays import Array
from ..images.batch import decode_on_threads
from ..images.crops import CROP_RATIO, CROP_SCALE, draws_of_samples, make_fit
from ..system.arguments import check_int
from ..system.threads import cpu_count
from .buffers import BufferPool
from .epochs import epoch_order
from .samples import SampleLoader, SampleSpec, check_samples, check_skipped


class Batch(NamedTuple):
    """A batch: images (n, H, W, C), targets (n, ...) or None, and (path, reason) of each sample that was skipped."""

    images: Array
    targets: Array | None
    skipped: list[tuple[Any, str]]


class BatchLoader:
    """A loader of the batches of an epoch, by position. Its options are those of ``bytecache.keras.ImageDataset``.

    Picklable. Safe for threads.
    """

    def __init__(
        self,
        paths: Sequence[Any],
        targets: Any,
        *,
        batch_size: int,
        load: Callable[[Any], Any],
        size: tuple[int, int] | None = None,
        resize: str = "stretch",
        pad_value: int | tuple[int, int, int] = 0,
        crop_scale: tuple[float, float] = CROP_SCALE,
        crop_ratio: tuple[float, float] = CROP_RATIO,
        shuffle: bool = True,
        seed: int = 0,
        dtype: str = "uint8",
        transform: Callable[[Array], Array] | None = None,
        on_error: str = "raise",
        **decode_options: Any,
    ) -> None:
        self.paths, self.targets = list(paths), None if targets is None else np.asarray(targets)
        check_samples(self.paths, self.targets, load, transform, on_error)
        self.batch_size, self.seed = check_int(batch_size, "batch_size", 1), check_int(seed, "seed", 0)
        self.transform, self.on_error, self.shuffle = transform, on_error, shuffle
        self.dtype = np.dtype(dtype)
        self._samples = SampleLoader(load, make_fit(size, resize, pad_value, crop_scale, crop_ratio), **decode_options)
        self._shape: tuple[int, ...] | None = None  # of a sample; set by the first batch
        self._buffers = BufferPool()

    @property
    def shape_known(self) -> bool:
        """Whether the shape of a sample is known: until then, two loaders of a dataset might choose different ones."""
        return self._shape is not None

    def __len__(self) -> int:
        return math.ceil(len(self.paths) / self.batch_size)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_buffers": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _buffers=BufferPool())

    def load(self, epoch: int, position: int) -> Batch:
        """Return the batch, its images in an array of the pool; raise SampleError if a sample fails and none may."""
        order = epoch_order(len(self.paths), self.seed, epoch, self.shuffle)
        indices = order[position * self.batch_size : (position + 1) * self.batch_size]
        if not len(indices):
            raise IndexError(f"position must be from 0 to {len(self) - 1}, the last batch, got {position}")
        paths = [self.paths[i] for i in indices]
        samples, failed = self._samples.load(paths)
        try:
            images = self._decode(samples, failed, epoch, indices)
            skipped = check_skipped(paths, failed, self.on_error == "skip")
            good = [i for i in range(len(paths)) if i not in failed]
        finally:  # the exceptions' tracebacks refer to frames that refer to these: break the cycle
            samples.clear()
            failed.clear()
        _close_gaps(images, good)
        targets = None if self.targets is None else self.targets[indices[good]]
        return Batch(images[: len(good)], targets, skipped)

    def _decode(self, samples: dict[int, Any], failed: dict[int, Exception], epoch: int, indices: Array) -> Array:
        """Return the images by position, with arbitrary pixels for samples that fail; exceptions go into `failed`."""
        draws = draws_of_samples(self.seed, epoch, indices) if self._samples.crops_at_random else None
        specs = self._samples.specs(samples, failed, draws)
        if self._shape is None:
            self._shape = self._common_shape(samples, specs)
        images = self._buffers.borrow((len(indices), *(self._shape or ())), self.dtype)
        decode_on_threads(self._write, samples, specs, images, cpu_count(), failed)
        return images

    def _common_shape(self, samples: dict[int, Any], specs: dict[int, SampleSpec]) -> tuple[int, ...] | None:
        """Return the shape of most samples, so that one odd sample does not make all others odd."""
        shapes: Counter[tuple[int, ...]] = Counter()
        for position, spec in specs.items():
            try:
                shapes[spec.shape if self.transform is None else self._image(samples[position], spec).shape] += 1
            except Exception:  # raised again, and reported, when the sample is written into its batch
                continue
        return shapes.most_common(1)[0][0] if shapes else None

    def _image(self, sample: Any, spec: SampleSpec, out: Array | None = None) -> Array:
        if self.transform is None:
            return self._samples.decode_one(sample, spec, out)
        image = self._samples.decode_one(sample, spec)
        # Not a stored array itself: torch.from_numpy, for one, does not mind that it is read-only.
        return np.asarray(self.transform(image if image.flags.writeable else image.copy()))

    def _write(self, sample: Any, spec: SampleSpec, out: Array) -> None:
        image = self._image(sample, spec, out)
        if image is out:
            return
        if image.shape != out.shape:
            hint = "" if self._samples.fit else ": pass size=(height, width) to resize them all"
            raise ValueError(f"the sample has shape {image.shape}, most of the first batch had {out.shape}{hint}")
        if not np.can_cast(image.dtype, out.dtype, "same_kind"):
            raise TypeError(f"the sample is {image.dtype}, which does not fit dtype={out.dtype.name!r}: pass dtype=")
        out[...] = image


def _close_gaps(images: Array, good: list[int]) -> None:
    """Move the images at the positions `good`, in ascending order, to the front, in place."""
    for target, source in enumerate(good):
        if target != source:
            images[target] = images[source]
