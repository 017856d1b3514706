"""bytecache for PyTorch: a dataset for any ``DataLoader``, its collate function, a sampler, the cache's figures."""

from __future__ import annotations

import operator
import os
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset, Sampler, default_collate, get_worker_info

from .cache.function import CachedFunction
from .loading.buffers import Array, BufferPool
from .loading.epoch_stats import EpochStats
from .loading.epochs import epoch_order
from .loading.samples import (
    SampleError,
    SampleLoader,
    check_samples,
    check_skipped,
    log_skipped,
    map_collecting_errors,
)
from .system.arguments import check_int
from .system.threads import cpu_count

__all__ = ["CacheReport", "EpochSampler", "ImageDataset", "SampleError", "collate"]


class ImageDataset(Dataset[Any]):
    """A map-style dataset of samples ``(image, target)``, or of images alone where `targets` is None.

    image: a uint8 tensor of shape (C, H, W) in channels-last memory, being a view of the decoded array (of `load`'s
    dtype where that gives arrays). A batch takes one look-up, and is decoded on threads into one array, which lives
    as long as any of its samples; samples of unequal shape, without `size`, get an array each. target: a tensor.

    paths: what `load` takes, one per sample. targets: array-like with one entry per path, or None. load: the read
    function, cached or not; gives JPEG bytes, decoded here, or an array (H, W, C). Where it is cached, a batch's
    misses are read on threads. size: (height, width) in pixels that images are resized to (needs Pillow).
    transform: a function of one image (C, H, W), as torchvision's are; what it returns takes the image's place.
    on_error: "raise" raises SampleError, which names the path; "skip" leaves the sample out of its batch, counts it in
    ``skipped`` and logs its path once per process. A batch of which no sample is left raises all the same, and so does
    a sample that is asked for alone: ``data[i]``, ``batch_size=None``, ``ConcatDataset``.

    For any DataLoader; ``collate_fn=bytecache.torch.collate`` makes channels-last batches without a copy. Pickles as
    its arguments. A worker process decodes on its share of the processors, and has a cache of its own unless
    `load`'s is shared. Safe for threads where `load` and `transform` are.
    """

    def __init__(
        self,
        paths: Sequence[Any],
        targets: Any,
        *,
        load: Callable[[Any], Any],
        size: tuple[int, int] | None = None,
        transform: Callable[[Tensor], Any] | None = None,
        on_error: str = "raise",
    ) -> None:
        self._paths, self._targets = list(paths), None if targets is None else _as_tensor(targets)
        check_samples(self._paths, self._targets, load, transform, on_error)
        self._samples, self._transform = SampleLoader(load, size), transform
        self._skips = _SkipCounter() if on_error == "skip" else None
        self._buffers, self._pid = BufferPool(), os.getpid()

    def __len__(self) -> int:
        """The number of samples."""
        return len(self._paths)

    @property
    def skipped(self) -> int:
        """How often a sample was left out, in this process and in all workers of its DataLoaders."""
        return 0 if self._skips is None else self._skips.total()

    def __getitem__(self, index: int) -> Any:
        return self._get([index], skip=False)[0]

    def __getitems__(self, indices: Sequence[int]) -> list[Any]:
        """The samples at these places but those left out; what a DataLoader and a Subset call for a batch."""
        return self._get(indices, skip=self._skips is not None)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_buffers": None, "_pid": None}

    def _get(self, indices: Sequence[int], skip: bool) -> list[Any]:
        places = [self._check_index(index) for index in indices]
        paths = [self._paths[place] for place in places]
        samples = self._samples.load(paths)
        failed: dict[int, Exception] = {}
        try:
            images = self._images(samples, failed)
            left = check_skipped(paths, failed, skip)
        finally:  # the tracebacks in these hold the frames that hold these
            samples.clear()
            failed.clear()
        if left and self._skips is not None:
            self._skips.record(left)
        if self._targets is None:
            return list(images.values())
        targets = self._targets[[places[number] for number in images]].unbind()
        return list(zip(images.values(), targets, strict=True))

    def _check_index(self, index: int) -> int:
        try:
            place = operator.index(index)
        except TypeError:
            hint = ": pass a sampler that gives lists as batch_sampler=" if isinstance(index, (list, tuple)) else ""
            raise TypeError(f"a sample's index must be an int, got {index!r}{hint}") from None
        if not -len(self) <= place < len(self):
            raise IndexError(f"sample {place} of a dataset of {len(self)} samples")
        return place % len(self)

    def _images(self, samples: list[Any], failed: dict[int, Exception]) -> dict[int, Any]:
        """What becomes of each sample, by its number in the batch; those that fail are put into `failed`."""
        rows, batch = self._samples.decode(samples, failed, self._batch_buffer, _decode_threads())
        if batch is None:
            images: dict[int, Any] = {number: torch.from_numpy(row).permute(2, 0, 1) for number, row in rows.items()}
        else:
            images = dict(zip(rows, torch.from_numpy(batch).permute(0, 3, 1, 2).unbind(), strict=True))
        images = {number: image for number, image in images.items() if number not in failed}
        return images if self._transform is None else map_collecting_errors(self._transform, images, failed)

    def _batch_buffer(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
        """An array that is used again later; each process has its own."""
        if self._pid != os.getpid():
            self._buffers, self._pid = BufferPool(), os.getpid()
        return self._buffers.borrow(shape, dtype)


class _SkipCounter:
    """Counts the samples left out, for all worker processes together, and logs each path once per process."""

    def __init__(self) -> None:
        # One for this process and each worker, so that none overwrites another's.
        self._counts = torch.zeros(1024, dtype=torch.int64).share_memory_()  # type: ignore[no-untyped-call]
        self._logged: set[Any] = set()

    def record(self, left: list[tuple[Any, str]]) -> None:
        worker = get_worker_info()
        self._counts[0 if worker is None else 1 + worker.id % 1023] += len(left)
        log_skipped(left, self._logged)

    def total(self) -> int:
        return int(self._counts.sum())


def collate(samples: Sequence[Any]) -> Any:
    """A batch of ImageDataset's samples: images (N, C, H, W) in channels-last memory, and targets (N, ...).

    A ``collate_fn`` that copies nothing where the samples are rows of one array, as ImageDataset's are unless its
    transform made others; ``default_collate`` transposes all pixels into another memory format. What are no tensors or
    tuples of them is left to ``default_collate``, whose results it gives in all else.
    """
    first = samples[0]
    if isinstance(first, tuple) and not hasattr(first, "_fields"):
        return [collate(parts) for parts in zip(*samples, strict=True)]
    if isinstance(first, Tensor):
        channels_last = first.dim() == 3 and first.permute(1, 2, 0).is_contiguous()
        step, start = first.numel(), int(first.storage_offset())
        rows = (_is_row(row, first, start + place * step) for place, row in enumerate(samples))
        if (channels_last or first.is_contiguous()) and all(rows):
            return first.as_strided((len(samples), *first.shape), (step, *first.stride()), start)
        if channels_last and not first.is_contiguous():
            return default_collate([row.permute(1, 2, 0) for row in samples]).permute(0, 3, 1, 2)
    return default_collate(samples)  # type: ignore[arg-type]  # which takes any sequence


def _is_row(row: Tensor, first: Tensor, offset: int) -> bool:
    return (
        row.storage_offset() == offset
        and row.untyped_storage().data_ptr() == first.untyped_storage().data_ptr()
        and (row.dtype, row.shape, row.stride()) == (first.dtype, first.shape, first.stride())
    )


class EpochSampler(Sampler[int]):
    """The indices 0 to n - 1 of an epoch, in an order that is a pure function of (seed, epoch).

    Call ``set_epoch(epoch)`` before each epoch; without it, the same order comes again. world, rank: as with
    DistributedSampler, each of `world` processes gets every `world`-th index, beginning with the `rank`-th, and where
    they do not come out even the first ones come twice. Raises TypeError or ValueError for what is no such number.
    """

    def __init__(self, n: int, *, seed: int, rank: int = 0, world: int = 1, shuffle: bool = True) -> None:
        self._n, self._seed = check_int(n, "n", 1), check_int(seed, "seed", 0)
        self._rank, self._world = check_int(rank, "rank", 0), check_int(world, "world", 1)
        if self._rank >= self._world:
            raise ValueError(f"rank must be an int from 0 to world - 1 = {self._world - 1}, got {rank}")
        self._shuffle, self._epoch = shuffle, 0

    def __len__(self) -> int:
        """How many indices this rank gets, as many as any other."""
        return -(-self._n // self._world)

    def __iter__(self) -> Iterator[int]:
        order = epoch_order(self._n, self._seed, self._epoch, self._shuffle)
        padded = np.resize(order, len(self) * self._world)
        return iter(padded[self._rank :: self._world].tolist())

    def set_epoch(self, epoch: int) -> None:
        """The epoch whose order the next iteration gives, from 0."""
        self._epoch = check_int(epoch, "epoch", 0)


class CacheReport:
    """The cache's figures of each epoch of a plain loop; raises TypeError for a function that is not cached.

    read: the cached function. prefix: put before the names, to tell several reports apart. The first epoch counts
    from when this is made.
    """

    def __init__(self, read: CachedFunction[Any, Any], prefix: str = "") -> None:
        self._figures = EpochStats(read, prefix)

    def epoch(self) -> dict[str, float]:
        """The figures since the last call; call it once at the end of each epoch.

        hit_rate: hits per call, 0 to 1. reads: runs of the function. read_s: seconds spent in it, added over threads
        and processes. held_bytes: bytes held now (0 where none are measured). With a shared store they are those of
        all processes together; another cache is one per process, and its figures are those of this one.
        """
        return self._figures.since_last()


def _decode_threads() -> int:
    """How many threads decode: in a worker process, its share of the processors."""
    worker = get_worker_info()
    return cpu_count() if worker is None else max(1, cpu_count() // worker.num_workers)


def _as_tensor(targets: Any) -> Tensor:
    if isinstance(targets, np.ndarray) and not targets.flags.writeable:
        targets = targets.copy()  # torch warns of others
    try:
        return torch.as_tensor(targets)
    except (TypeError, ValueError) as exc:
        raise TypeError(
            f"targets must be numbers, of one shape for all paths, got what makes no tensor ({exc}): for others pass "
            "targets=range(len(paths)), and look them up in collate_fn"
        ) from None
