"""bytecache for PyTorch: a dataset for any ``DataLoader``, a collate function, a sampler, and a report of the cache."""

from __future__ import annotations

import operator
import os
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset, Sampler, default_collate, get_worker_info

from .cache.cached_function import CachedFunction
from .images.arrays import Array
from .images.batch import map_indexed
from .images.crops import CROP_RATIO, CROP_SCALE, DRAWS, make_fit
from .images.jpeg import MAX_PIXELS
from .loading.buffers import BufferPool
from .loading.epoch_stats import EpochStats
from .loading.epochs import epoch_order
from .loading.samples import SampleError, SampleLoader, check_samples, check_skipped, log_skipped
from .system.arguments import check_int
from .system.threads import cpu_count

__all__ = ["CacheReport", "EpochSampler", "ImageDataset", "SampleError", "collate"]


class ImageDataset(Dataset[Any]):
    """A map-style dataset of samples ``(image, target)``, or of images alone if `targets` is None.

    image: a uint8 tensor of shape (C, H, W) in channels-last memory, a view of the decoded array (of `load`'s dtype if
    that returns arrays). A batch is one cache look-up and is decoded on threads into one array, which lives
    as long as any of its samples; without `size`, samples of different shapes get an array each. target: a tensor.

    paths: the arguments of `load`, one per sample. targets: array-like with one entry per path, or None. load: the read
    function, cached or not; returns JPEG bytes, which are decoded here, or an array (H, W, C). If it is cached, a
    batch's misses are read on threads. size: (height, width) in pixels to resize images to, with
    ``bytecache[images]``. colorspace, fast, strict, orient, max_pixels: of the JPEG decode, as for
    :func:`bytecache.decode_jpeg`. transform: a function of one image (C, H, W), as in torchvision; its result replaces
    the image.
    on_error: "raise" raises SampleError, which names the path; "skip" leaves the sample out of its batch, counts it in
    ``skipped`` and logs its path once per process. A batch without a single good sample raises nevertheless, and so
    does a sample that is requested alone: ``data[i]``, ``batch_size=None``, ``ConcatDataset``.

    For any DataLoader; ``collate_fn=bytecache.torch.collate`` makes channels-last batches without a copy. Pickles as
    its arguments. A worker process decodes on its share of the processors, and has a cache of its own unless
    `load`'s is shared. Safe for threads if `load` and `transform` are.
    """

    def __init__(
        self,
        paths: Sequence[Any],
        targets: Any,
        *,
        load: Callable[[Any], Any],
        size: tuple[int, int] | None = None,
        resize: str = "stretch",
        pad_value: int | tuple[int, int, int] = 0,
        crop_scale: tuple[float, float] = CROP_SCALE,
        crop_ratio: tuple[float, float] = CROP_RATIO,
        transform: Callable[[Tensor], Any] | None = None,
        on_error: str = "raise",
        colorspace: str = "RGB",
        fast: bool = False,
        strict: bool = True,
        orient: bool = False,
        max_pixels: int | None = MAX_PIXELS,
    ) -> None:
        self._paths, self._targets = list(paths), None if targets is None else _as_tensor(targets)
        check_samples(self._paths, self._targets, load, transform, on_error)
        fit = make_fit(size, resize, pad_value, crop_scale, crop_ratio)
        self._samples = SampleLoader(
            load, fit, colorspace=colorspace, fast=fast, strict=strict, orient=orient, max_pixels=max_pixels
        )
        self._transform = transform
        self._skips = _SkipCounter() if on_error == "skip" else None
        self._buffers, self._pid = BufferPool(), os.getpid()

    def __len__(self) -> int:
        """The number of samples."""
        return len(self._paths)

    @property
    def skipped(self) -> int:
        """How many times a sample was skipped, in this process and in all workers of its DataLoaders."""
        return 0 if self._skips is None else self._skips.total()

    def __getitem__(self, index: int) -> Any:
        return self._get([index], skip=False)[0]

    def __getitems__(self, indices: Sequence[int]) -> list[Any]:
        """Return the samples at these indices without the skipped ones; DataLoader and Subset call this for a batch."""
        return self._get(indices, skip=self._skips is not None)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_buffers": None, "_pid": None}

    def _get(self, indices: Sequence[int], skip: bool) -> list[Any]:
        indices = [self._check_index(index) for index in indices]
        paths = [self._paths[index] for index in indices]
        samples, failed = self._samples.load(paths)
        try:
            images = self._images(samples, failed)
            skipped = check_skipped(paths, failed, skip)
        finally:  # the exceptions' tracebacks refer to frames that refer to these: break the cycle
            samples.clear()
            failed.clear()
        if skipped and self._skips is not None:
            self._skips.record(skipped)
        if self._targets is None:
            return list(images.values())
        targets = self._targets[[indices[position] for position in images]].unbind()
        return list(zip(images.values(), targets, strict=True))

    def _check_index(self, index: int) -> int:
        try:
            i = operator.index(index)
        except TypeError:
            hint = ": pass a sampler that yields lists as batch_sampler=" if isinstance(index, (list, tuple)) else ""
            raise TypeError(f"a sample's index must be an int, got {index!r}{hint}") from None
        if not -len(self) <= i < len(self):
            raise IndexError(f"sample {i} is out of range: the dataset has {len(self)} samples")
        return i % len(self)

    def _images(self, samples: dict[int, Any], failed: dict[int, Exception]) -> dict[int, Any]:
        """Return the decoded and transformed samples by position in the batch; exceptions go into `failed`."""
        n, fit = len(samples) + len(failed), self._samples.fit
        # From this process's generator, which torch seeds in each worker, one row for each sample, failed or not.
        draws = torch.rand(n, DRAWS, dtype=torch.float64).numpy() if fit and fit.resize == "random_crop" else None
        decoded, batch = self._samples.decode_all(samples, failed, self._batch_buffer, _decode_threads(), draws)
        if batch is None:
            images: dict[int, Any] = {i: torch.from_numpy(image).permute(2, 0, 1) for i, image in decoded.items()}
        else:
            images = dict(zip(decoded, torch.from_numpy(batch).permute(0, 3, 1, 2).unbind(), strict=True))
        images = {i: image for i, image in images.items() if i not in failed}
        return images if self._transform is None else map_indexed(self._transform, images, failed)

    def _batch_buffer(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
        """Return an array that is reused later; each process has its own."""
        if self._pid != os.getpid():
            self._buffers, self._pid = BufferPool(), os.getpid()
        return self._buffers.borrow(shape, dtype)


class _SkipCounter:
    """A counter of skipped samples, common to all worker processes; it logs each path once per process."""

    def __init__(self) -> None:
        # A slot for this process and one for each worker, so that none overwrites another's.
        self._counts = torch.zeros(1024, dtype=torch.int64).share_memory_()  # type: ignore[no-untyped-call]
        self._logged: set[Any] = set()

    def record(self, skipped: list[tuple[Any, str]]) -> None:
        worker = get_worker_info()
        self._counts[0 if worker is None else 1 + worker.id % 1023] += len(skipped)
        log_skipped(skipped, self._logged)

    def total(self) -> int:
        return int(self._counts.sum())


def collate(samples: Sequence[Any]) -> Any:
    """Return a batch of ImageDataset's samples: images (N, C, H, W) in channels-last memory, and targets (N, ...).

    A ``collate_fn`` that copies nothing if the samples are consecutive in one array, as ImageDataset's are unless its
    transform made new ones; ``default_collate`` transposes all pixels into another memory format. Apart from that the
    results are equal, and anything but tensors and tuples of them is passed to ``default_collate``.
    """
    first = samples[0]
    if isinstance(first, tuple) and not hasattr(first, "_fields"):
        return [collate(parts) for parts in zip(*samples, strict=True)]
    if isinstance(first, Tensor):
        channels_last = first.dim() == 3 and first.permute(1, 2, 0).is_contiguous()
        step, start = first.numel(), int(first.storage_offset())
        consecutive = (_is_at(start + i * step, sample, first) for i, sample in enumerate(samples))
        if (channels_last or first.is_contiguous()) and all(consecutive):
            return first.as_strided((len(samples), *first.shape), (step, *first.stride()), start)
        if channels_last and not first.is_contiguous():
            return default_collate([sample.permute(1, 2, 0) for sample in samples]).permute(0, 3, 1, 2)
    return default_collate(samples)  # type: ignore[arg-type]  # it accepts any sequence


def _is_at(offset: int, sample: Tensor, first: Tensor) -> bool:
    """Return whether a sample is at this offset of the first one's memory, in the same layout."""
    return (
        sample.storage_offset() == offset
        and sample.untyped_storage().data_ptr() == first.untyped_storage().data_ptr()
        and (sample.dtype, sample.shape, sample.stride()) == (first.dtype, first.shape, first.stride())
    )


class EpochSampler(Sampler[int]):
    """A sampler of the indices 0 to n - 1, in an order that is a pure function of (seed, epoch).

    Call ``set_epoch(epoch)`` before each epoch; otherwise the order is that of the last one. world, rank: as with
    DistributedSampler, each of `world` processes gets every `world`-th index, starting with the `rank`-th; if they
    cannot be divided evenly, the first ones come twice. Raises TypeError or ValueError if a number is out of range.
    """

    def __init__(self, n: int, *, seed: int, rank: int = 0, world: int = 1, shuffle: bool = True) -> None:
        self._n, self._seed = check_int(n, "n", 1), check_int(seed, "seed", 0)
        self._rank, self._world = check_int(rank, "rank", 0), check_int(world, "world", 1)
        if self._rank >= self._world:
            raise ValueError(f"rank must be an int from 0 to world - 1 = {self._world - 1}, got {rank}")
        self._shuffle, self._epoch = shuffle, 0

    def __len__(self) -> int:
        """Return how many indices this rank gets, the same number as every other."""
        return -(-self._n // self._world)

    def __iter__(self) -> Iterator[int]:
        order = epoch_order(self._n, self._seed, self._epoch, self._shuffle)
        padded = np.resize(order, len(self) * self._world)
        return iter(padded[self._rank :: self._world].tolist())

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch, from 0, whose order the next iteration follows."""
        self._epoch = check_int(epoch, "epoch", 0)


class CacheReport:
    """A report of the cache's counters per epoch, for a training loop; raises TypeError if the function is not cached.

    read: the cached function. prefix: put before each name, to distinguish several reports. The first epoch counts
    from the creation of the report.
    """

    def __init__(self, read: CachedFunction[Any, Any], prefix: str = "") -> None:
        self._epoch_stats = EpochStats(read, prefix)

    def end_epoch(self) -> dict[str, float]:
        """Return the counters since the last call; call it once at the end of each epoch.

        hit_rate: hits per call, 0 to 1. hits: calls answered from the cache. misses: calls that ran the function.
        load_s: seconds spent in it, summed over threads and processes. currbytes: bytes in the cache now (0 if no
        sizes are measured). maxbytes: their limit (0 if there is none). With a shared store the counters are those of
        all processes together; any other cache is private to its process, and the counters are those of this process.
        """
        return self._epoch_stats.since_last()


def _decode_threads() -> int:
    """Return how many threads decode: in a worker process, its share of the processors."""
    worker = get_worker_info()
    return cpu_count() if worker is None else max(1, cpu_count() // worker.num_workers)


def _as_tensor(targets: Any) -> Tensor:
    if isinstance(targets, np.ndarray) and not targets.flags.writeable:
        targets = targets.copy()  # torch warns about read-only arrays
    try:
        return torch.as_tensor(targets)
    except (TypeError, ValueError) as exc:
        raise TypeError(
            f"targets must be numbers, of the same shape for every path, got what torch cannot convert ({exc}): for "
            "other targets pass targets=range(len(paths)) and look them up in collate_fn"
        ) from None
