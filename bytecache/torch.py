"""bytecache for PyTorch: a dataset for any ``DataLoader``, a collate function, a sampler, and a report of the cache."""

from __future__ import annotations

import gc
import os
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset, get_worker_info

from .cache.cached_function import CachedFunction
from .images.batch import map_indexed
from .images.crops import CROP_RATIO, CROP_SCALE, make_fit
from .images.jpeg import MAX_PIXELS
from .loading.augmentation import Augmentation
from .loading.collate import collate
from .loading.epoch_stats import EpochStats
from .loading.paths import check_index, check_paths
from .loading.prefetching.ahead import Ahead
from .loading.prefetching.read_ahead import check_read_ahead
from .loading.sample_cache import CacheOptions, PlanPrinter, with_cache
from .loading.sampler import EpochSampler, Key, SharedOrder
from .loading.samples import SampleError, SampleLoader, check_skipped, log_skipped
from .loading.targets import as_targets
from .loading.tensors import BatchDecoder, Decoded, TypedPictures, as_tensors, take_tensors
from .stores.tiered.store import Stores

__all__ = ["CacheReport", "EpochSampler", "ImageDataset", "SampleError", "collate"]


class ImageDataset(Dataset[Any]):
    """A map-style dataset of samples ``(image, target)``, or of images alone if there is no target.

    image: a uint8 tensor of shape (C, H, W) in channels-last memory, a view of the decoded array (of `load`'s dtype if
    that returns arrays). A batch is one cache look-up and is decoded on threads into one array, which lives
    as long as any of its samples; without `size`, samples of different shapes get an array each. If `load` returns
    several pictures, the last is the target, and the image a tuple if more than one is left; with `targets`, the image
    is the tuple of all. A mask is a tensor (H, W).

    paths: the arguments of `load`, one per sample: a list, an array of numpy or Arrow, any sequence. Lists of str or
    paths are packed, so that a worker copies none.
    targets: anything with one entry per path, or None; a dict of such fields makes each target a dict, a tuple of
    arrays a tuple. Numbers and arrays of numbers, of any shape each, come as tensors, None, str, dicts and ints beyond
    int64 as they are. All but objects of a class of your own are copies. Fields are held in few arrays, which workers
    share; of a list of dicts each worker copies the pages that it reads, and a spawned one opens a file for each tensor
    in it.
    load: the read function, cached or not; returns the bytes of an image of any format, which are decoded here, an
    array (H, W, C), or a tuple of such pictures. If it is cached, a batch's misses are read on threads.
    maxbytes: the budget of a cache of a `load` that is not cached: ``data.load`` is then its :func:`bytecache.staged`
    function, for ``data.load.plan()`` and ``CacheReport(data.load)``. It keeps each sample as `load` returns it, or
    decoded and resized, before anything random, whichever saves most; with "random_crop" as `load` returns it. All
    pixels are those without it. `load` is called on threads; what it returns must not change later, and its arrays
    become read-only. shared: whether all processes of the run have one cache. By default they do, unless the system has
    no shared stores or the paths cannot be their keys: then, as with False, each process has one, worker processes too.
    Without workers that is right, and its hits cost less. store: a store that has the budget, or a list of stores,
    instead of `maxbytes`. batched: `load` takes a list of paths, see :func:`bytecache.fill_once`. verbose: print the
    plan after the first epoch.
    masks: the position in that tuple, or several, of pictures whose pixels are class numbers, which are kept as the
    file has them (palette indices, or gray of up to 16 bits): resized to the nearest pixel in the image's box, padded
    with 0, turned as the image is unless they have the sides of the upright one.
    size: (height, width) in pixels to resize images to, with ``bytecache[images]``. resize, pad_value: "stretch",
    "crop" or "pad", as for :func:`bytecache.decode_batch`, or "random_crop", a new box for each sample as
    ``random_crops`` draws them with crop_scale and crop_ratio, from torch's generator of the process. Boxes of objects
    in `targets` are not moved.
    colorspace, fast, strict, orient, max_pixels: as for :func:`bytecache.decode_image`.
    transform: a function of one image (C, H, W), as in torchvision; its result replaces the image. transforms: a
    function of (image, target) that returns both, as in torchvision, after that; if torchvision is imported, it gets
    images and masks as its tv_tensors, so that v2 transforms treat each as what it is. Both work on copies, and draw
    from generators that torch seeds in each worker.
    on_error: "raise" raises SampleError, which names the path; "skip" leaves the sample out of its batch, counts it in
    ``skipped`` and logs its path once per process. A batch without a single good sample raises nevertheless, and so
    does a sample that is requested alone: ``data[i]``, ``batch_size=None``, ``ConcatDataset``.

    read_ahead: how many batches' reads may be under way beyond the batch that is made, on threads, in each worker, so
    that slow storage delays none; 0 for none. It takes an ``EpochSampler`` of this dataset, whose order is known. By
    default as many as keep the reads ahead, by their measured time, at most 16 and 256 MiB of all workers, and more
    than two only within an eighth of the free memory; none while all are quick, as hits are, or if `load` is not
    cached, since it may not be safe for threads: a number says that it is. What was read for an epoch that was broken
    off is dropped.

    For any DataLoader; ``collate_fn=bytecache.torch.collate`` makes channels-last batches without a copy, and lists of
    targets of unequal shape. Pickles as its arguments. A worker process decodes on its share of the processors, and has
    a cache of its own unless `load`'s is shared. With ``num_workers=0`` and an ``EpochSampler`` of this dataset, the
    next batch is made while the last one is used; its transforms are then applied when it is requested. Safe for
    threads if `load` and the transforms are.
    """

    def __init__(
        self, paths: Any, targets: Any = None, *, load: Callable[[Any], Any],
        maxbytes: int | str | None = None, store: Stores | None = None, shared: bool | None = None,
        batched: bool = False,
        size: tuple[int, int] | None = None, resize: str = "stretch", pad_value: int | tuple[int, int, int] = 0,
        crop_scale: tuple[float, float] = CROP_SCALE, crop_ratio: tuple[float, float] = CROP_RATIO,
        transform: Callable[[Tensor], Any] | None = None, transforms: Callable[[Any, Any], Any] | None = None,
        masks: int | Sequence[int] = (), on_error: str = "raise",
        colorspace: str = "RGB", fast: bool = False, strict: bool = True, orient: bool = False,
        max_pixels: int | None = MAX_PIXELS,
        read_ahead: int | None = None, verbose: bool = False,
    ) -> None:  # fmt: skip
        self._paths = check_paths(paths, load, on_error)
        self._targets = as_tensors(as_targets(targets, len(self._paths)))
        fit = make_fit(size, resize, pad_value, crop_scale, crop_ratio)
        samples = SampleLoader(
            load, fit, masks, colorspace=colorspace, fast=fast, strict=strict, orient=orient, max_pixels=max_pixels
        )
        self._samples = with_cache(samples, self._paths, CacheOptions(maxbytes, store, shared, batched))
        self._augment = Augmentation(transform, transforms, targets is not None, self._samples.masks)
        if transforms is not None:
            self._augment.transforms = TypedPictures(transforms, self._samples.masks, targets is not None)
        self._skips = _SkipCounter() if on_error == "skip" else None
        self._plan = PlanPrinter(self.load, len(self), _shared_counts(1)) if verbose else None
        self._order: SharedOrder | None = None
        self._read_ahead = check_read_ahead(read_ahead, self._samples.is_cached)
        self._pid: int | None = None
        self._start_process()

    def _start_process(self) -> None:
        """Have buffers and threads of this process's own, in a child or a pickled copy as well."""
        if self._pid == os.getpid():
            return
        if get_worker_info() is not None:
            gc.freeze()  # a collection would write to all objects that a forked worker shares, and so copy them
        self._decoder = BatchDecoder(self._samples, self._paths, self._read_ahead)
        self._decoded: Ahead[Key, Decoded] = Ahead(1)
        self._pid = os.getpid()  # last: another thread that sees it uses the new ones

    def __len__(self) -> int:
        """The number of samples."""
        return len(self._paths)

    @property
    def skipped(self) -> int:
        """How many times a sample was skipped, in this process and in all workers of its DataLoaders."""
        return 0 if self._skips is None else self._skips.total()

    @property
    def load(self) -> Any:
        """The function that samples are read by: `load` as it was given, or with `maxbytes` or `store` its cache."""
        return self._samples.function

    def __getitem__(self, index: int) -> Any:
        key = self._key([index])
        return self._samples_of(key, self._decoder.prepare(key)(), skip=False)[0]

    def __getitems__(self, indices: Sequence[int]) -> list[Any]:
        """Return the samples at these indices without the skipped ones; DataLoader and Subset call this for a batch."""
        key, prepare = self._key(indices), self._decoder.prepare
        worker = get_worker_info()
        place = (0, 1) if worker is None else (worker.id, worker.num_workers)
        following = None if self._order is None else self._order.following(key, *place)
        if worker is not None:
            return self._samples_of(key, prepare(key, following)(), skip=self._skips is not None)
        decoded = self._decoded.get(key, prepare)
        if following is not None:  # begun only now, so that batches are read one after the other, in their order
            self._decoded.begin(following, 1, lambda upcoming: prepare(upcoming, following))
        return self._samples_of(key, decoded, skip=self._skips is not None)

    def share_order(self) -> SharedOrder:
        """Return what tells this dataset, and its workers that start from now on, the order of an epoch."""
        if self._order is None:
            self._order = SharedOrder(len(self))
        return self._order

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_pid": None, "_decoder": None, "_decoded": None}

    def _key(self, indices: Sequence[int]) -> Key:
        self._start_process()
        n = len(self)
        return tuple(check_index(index, n) for index in indices)

    def _samples_of(self, key: Key, decoded: Decoded, skip: bool) -> list[Any]:
        pictures, failed = decoded
        targets = [None] * len(key) if self._targets is None else take_tensors(self._targets, key)
        try:
            samples = map_indexed(lambda i: self._augment(pictures[i], targets[i]), {i: i for i in pictures}, failed)
            skipped = check_skipped([self._paths[i] for i in key], failed, skip) if failed else []
        finally:  # the exceptions' tracebacks refer to frames that refer to these: break the cycle
            failed.clear()
        if skipped and self._skips is not None:
            self._skips.record(skipped)
        if self._plan is not None and _worker_id() <= 0:
            self._plan.after_batch()
        return [sample if len(sample) == 2 else sample[0] for sample in samples.values()]


def _worker_id() -> int:
    """Return the number of this worker process, -1 in any other."""
    worker = get_worker_info()
    return -1 if worker is None else worker.id


def _shared_counts(n: int) -> Tensor:
    """Return n zeros, int64, that all worker processes see."""
    return torch.zeros(n, dtype=torch.int64).share_memory_()  # type: ignore[no-untyped-call, no-any-return]


class _SkipCounter:
    """A counter of skipped samples, common to all worker processes; it logs each path once per process."""

    def __init__(self) -> None:
        # A slot for this process and one for each worker, so that none overwrites another's.
        self._counts = _shared_counts(1024)
        self._logged: set[Any] = set()

    def record(self, skipped: list[tuple[Any, str]]) -> None:
        """Count samples, given as (path, reason), and log them."""
        self._counts[(1 + _worker_id()) % 1024] += len(skipped)
        log_skipped(skipped, self._logged)

    def total(self) -> int:
        """Return how many times a sample was skipped, in all processes."""
        return int(self._counts.sum())


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
