"""Batches of samples in reused arrays, the core of the Keras dataset."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from ..images.arrays import Array
from ..images.crops import CROP_RATIO, CROP_SCALE, draws_of_samples, make_fit
from ..stores.tiered.store import Stores
from ..system.arguments import check_int
from .augmentation import Augmentation
from .batch_writer import BatchWriter
from .epochs import epoch_order
from .paths import PackedStrings, check_paths
from .sample_cache import CacheOptions, with_cache
from .samples import Loaded, SampleLoader, check_skipped
from .targets import Chosen, as_targets, batched, take_batch


class Batch(NamedTuple):
    """A batch of n samples.

    images: an array (n, H, W, C), or a tuple of such if a sample has several inputs. targets: an array (n, ...), or
    dicts and tuples of them, or a list of n; None if there are none. skipped: (path, reason) of each sample that was
    skipped. weights: the sample weights (n,), or None.
    """

    images: Any
    targets: Any
    skipped: list[tuple[Any, str]]
    weights: Any = None


class BatchLoader:
    """A loader of the batches of an epoch, by position. Its options are those of ``bytecache.keras.ImageDataset``.

    Picklable. Safe for threads.
    """

    def __init__(
        self,
        paths: Any,
        targets: Any,
        *,
        batch_size: int,
        load: Callable[[Any], Any],
        maxbytes: int | str | None = None,
        store: Stores | None = None,
        shared: bool | None = None,
        batched: bool = False,
        size: tuple[int, int] | None = None,
        resize: str = "stretch",
        pad_value: int | tuple[int, int, int] = 0,
        crop_scale: tuple[float, float] = CROP_SCALE,
        crop_ratio: tuple[float, float] = CROP_RATIO,
        shuffle: bool = True,
        seed: int = 0,
        dtype: str = "uint8",
        sample_weight: Any = None,
        transform: Callable[[Array], Array] | None = None,
        transforms: Callable[[Any, Any], Any] | None = None,
        masks: int | Sequence[int] = (),
        on_error: str = "raise",
        **decode_options: Any,
    ) -> None:
        self.paths = check_paths(paths, load, on_error)
        self.targets = as_targets(targets, len(self.paths))
        self.weights = as_targets(sample_weight, len(self.paths), "sample_weight")
        if isinstance(self.weights, (list, PackedStrings)):  # what as_targets leaves of anything but numbers
            odd = next((weight for weight in self.weights if not isinstance(weight, (int, float))), self.weights[0])
            raise TypeError(f"sample_weight must have one number per path, got {odd!r} among them")
        self.batch_size, self.seed = check_int(batch_size, "batch_size", 1), check_int(seed, "seed", 0)
        self.on_error, self.shuffle = on_error, shuffle
        fit = make_fit(size, resize, pad_value, crop_scale, crop_ratio)
        samples = SampleLoader(load, fit, masks, **decode_options)
        self._samples = with_cache(samples, self.paths, CacheOptions(maxbytes, store, shared, batched))
        augment = Augmentation(transform, transforms, targets is not None, self._samples.masks)
        self._writer = BatchWriter(self._samples, augment, np.dtype(dtype))
        self._order: tuple[int, Array] | None = None  # the last epoch's

    @property
    def shape_known(self) -> bool:
        """Whether the shape of a sample is known: until then, two loaders of a dataset might choose different ones."""
        return self._writer.shape_known

    def __getstate__(self) -> dict[str, Any]:
        # A copy of the loader has buffers of its own.
        return {**self.__dict__, "_writer": copy.copy(self._writer), "_order": None}

    def __len__(self) -> int:
        return math.ceil(len(self.paths) / self.batch_size)

    @property
    def function(self) -> Any:
        """The function that samples are read by: `load`, or its cache."""
        return self._samples.function

    @property
    def is_cached(self) -> bool:
        """Whether `load` is cached."""
        return self._samples.is_cached

    def load(self, epoch: int, position: int) -> Batch:
        """Return the batch, its images in arrays of the pool; raise SampleError if a sample fails and none may."""
        return self.make(epoch, position, self.read((epoch, position)))

    def read(self, at: tuple[int, int]) -> Loaded:
        """Return the samples of the batch at (epoch, position), not decoded; raise IndexError if there is none."""
        return self._samples.load([self.paths[i] for i in self._indices(*at)])

    def make(self, epoch: int, position: int, loaded: Loaded) -> Batch:
        """Return the batch of samples that were read, as ``load`` does; `loaded` is empty after it."""
        indices, (samples, failed) = self._indices(epoch, position), loaded
        draws = draws_of_samples(self.seed, epoch, indices) if self._samples.crops_at_random else None
        try:
            arrays, targets = self._writer.write(samples, failed, Chosen(self.targets, indices), draws)
            paths = [self.paths[i] for i in indices] if failed else []
            skipped = check_skipped(paths, failed, self.on_error == "skip")
            good = [i for i in range(len(indices)) if i not in failed]
        finally:  # the exceptions' tracebacks refer to frames that refer to these: break the cycle
            samples.clear()
            failed.clear()
        return self._batch(arrays, targets, indices, good, skipped)

    def _indices(self, epoch: int, position: int) -> Array:
        order = self._order  # read once: another thread may be in the next epoch
        if order is None or order[0] != epoch:
            self._order = order = epoch, epoch_order(len(self.paths), self.seed, epoch, self.shuffle)
        indices = order[1][position * self.batch_size : (position + 1) * self.batch_size]
        if not len(indices):
            raise IndexError(f"position must be from 0 to {len(self) - 1}, the last batch, got {position}")
        return indices

    def _batch(
        self, arrays: list[Array], targets: Any, indices: Array, good: list[int], skipped: list[tuple[Any, str]]
    ) -> Batch:
        for array in arrays:
            _close_gaps(array, good)
        images = [array[: len(good)] for array in arrays]
        if targets is not None:  # made by `transforms`
            targets = batched([targets[i] for i in good])
        elif self.targets is not None:
            targets = take_batch(self.targets, indices[good])
        elif len(images) > 1:
            targets = images.pop()
        weights = None if self.weights is None else take_batch(self.weights, indices[good])
        if weights is not None and targets is None:
            raise ValueError("sample_weight= weights targets, and there are none: pass targets=")
        return Batch(images[0] if len(images) == 1 else tuple(images), targets, skipped, weights)


def _close_gaps(images: Array, good: list[int]) -> None:
    """Move the images at the positions `good`, in ascending order, to the front, in place."""
    for target, source in enumerate(good):
        if target != source:
            images[target] = images[source]
