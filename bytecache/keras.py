"""bytecache for Keras 3: a dataset for ``fit``, and a callback that reports the cache per epoch."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from typing import Any

import keras

from .cache.cached_function import CachedFunction
from .cache.stats import CacheStats
from .images.arrays import Array
from .images.crops import CROP_RATIO, CROP_SCALE
from .images.jpeg import MAX_PIXELS
from .loading.batches import Batch, BatchLoader
from .loading.epoch_stats import EpochStats
from .loading.epochs import EpochTracker
from .loading.prefetching.prefetch import FirstBatches, Prefetcher
from .loading.prefetching.read_ahead import check_read_ahead
from .loading.sample_cache import PlanPrinter
from .loading.samples import SampleError, log_skipped
from .stores.tiered.store import Stores
from .system.arguments import check_int

if tuple(int(part) for part in keras.__version__.split(".")[:2]) < (3, 6):
    raise ImportError(
        f"bytecache.keras needs Keras 3.6 or later, this is {keras.__version__}, which repeats, drops or reorders the "
        "batches of a dataset: pip install --upgrade keras"
    )

__all__ = ["CacheReport", "ImageDataset", "SampleError"]

_WORKER_OPTIONS = ("workers", "use_multiprocessing", "max_queue_size", "read_ahead")


class ImageDataset(keras.utils.PyDataset):  # type: ignore[misc]
    """A dataset of batches for ``model.fit``, ``evaluate``, ``predict``: ``(images, targets)`` or ``(images,)``.

    If `load` returns several pictures, the last are the targets, and the images a tuple if more than one is left; with
    `targets`, the images are the tuple of all. Masks are arrays (n, H, W).

    paths: the arguments of `load`, one per sample: a list, an array of numpy or Arrow, any sequence. Lists of str or
    paths are packed, so that a worker copies none.
    targets: anything with one entry per path, or None; a dict of such fields, or a tuple of arrays, makes a batch's
    targets a dict or a tuple. Numbers, dicts and tuples are batched to arrays (n, ...) field by field. What has no
    common shape in a batch, such as the boxes of each image, is a list of n, for a loop of your own: ``fit`` takes
    arrays alone, so pad it in `transforms`.
    sample_weight: one per path; a batch is ``(images, targets, weights)`` then.
    load: the read function, cached or not; returns the bytes of an image of any format, which are decoded here, an
    array (H, W, C), or a tuple of such pictures. If it is cached, a batch's misses are read on threads.
    maxbytes: the budget of a cache of a `load` that is not cached: ``data.load`` is then its :func:`bytecache.staged`
    function, for ``data.load.plan()`` and ``CacheReport(data.load)``. It keeps each sample as `load` returns it, or
    decoded and resized, before anything random, whichever saves most; with "random_crop" as `load` returns it. All
    pixels are those without it. `load` is called on threads; what it returns must not change later, and its arrays
    become read-only. shared: whether all processes of the run have one cache, such as a machine's ranks. By default
    they do with worker processes, unless the system has no shared stores or the paths cannot be their keys: then, as
    without worker processes, each process has one, whose hits cost less. store: a store that has the budget, or a list
    of stores, instead of `maxbytes`. batched: `load` takes a list of paths, see :func:`bytecache.fill_once`. verbose:
    print the plan after the first epoch.
    masks: the position in that tuple, or several, of pictures whose pixels are class numbers, which are kept as the
    file has them (palette indices, or gray of up to 16 bits): resized to the nearest pixel in the image's box, padded
    with 0, turned as the image is unless they have the sides of the upright one.
    size: (height, width) in pixels to resize images to, with ``bytecache[images]``; without it they must all have the
    same size. resize, pad_value: "stretch", "crop" or "pad", as for :func:`bytecache.decode_batch`, or "random_crop", a
    box for each sample as ``random_crops`` draws them with crop_scale and crop_ratio, which is a pure function of
    (seed, epoch, sample). Boxes of objects in `targets` are not moved.
    colorspace, fast, strict, orient, max_pixels: as for :func:`bytecache.decode_image`. dtype: of the images; uint8
    keeps batches small, so scale in the model; masks have their own.
    transform: a function from one image (H, W, C) to another, applied before it is written into the batch. transforms:
    a function of (image, target) that returns both, after that. Both work on copies, on several threads; in a worker
    process the generators of random, numpy and torch are seeded with (seed, epoch, batch).
    on_error: "raise" raises SampleError, which names the path; "skip" leaves the sample out of its batch, counts it in
    ``skipped`` and logs its path once; a batch without a single good sample raises nevertheless.

    shuffle, seed: each pass over the data is an epoch, whose order is a pure function of (seed, epoch), the same on
    every backend and with any number of workers; each sample comes once. With `shuffle`, batches come in that order
    whatever order they are requested in, so ``fit(shuffle=...)`` has no effect. For ``predict``, and wherever results
    are matched with paths, pass ``shuffle=False``. ``epoch`` is the epoch of the current pass, from 0; set it before a
    fit that continues an earlier one. (If there are only one or two batches, the batches that Keras requests ahead of
    training already complete a pass.) endless: for ``fit(steps_per_epoch=)``: one pass follows another, each in an
    order of its own, wherever Keras's epochs end. A fit that ends within a pass is followed by one that
    starts this pass over. (Keras 3.6 leaves out the first batch on the torch backend, later ones do not.)

    workers, use_multiprocessing, max_queue_size: as in PyDataset. One worker, the default, makes one batch ahead, on
    threads, while the last one is used; 0 makes each when it is requested. The workers belong to this dataset and stay
    for all epochs, because Keras restarts its own each epoch, and they may deliver batches of an interrupted pass. A
    worker process has a copy of `load` and of its cache, unless the cache is shared.
    read_ahead: how many batches' reads each worker may have under way beyond the batch that it makes, on threads, so
    that slow storage delays none; 0 for none. By default as many as keep the reads ahead, by their measured time, at
    most 16 and 256 MiB of all workers, and more than two only within an eighth of the free memory; none while all are
    quick, as hits are, or if `load` is not cached, since it may not be safe for threads: a number says that it is. What
    was read for an interrupted pass is dropped.

    Batch arrays are reused once nothing refers to them. Pickles as its arguments.
    """

    def __init__(
        self, paths: Any, targets: Any = None, *, batch_size: int, load: Callable[[Any], Any],
        maxbytes: int | str | None = None, store: Stores | None = None, shared: bool | None = None,
        batched: bool = False,
        size: tuple[int, int] | None = None, resize: str = "stretch", pad_value: int | tuple[int, int, int] = 0,
        crop_scale: tuple[float, float] = CROP_SCALE, crop_ratio: tuple[float, float] = CROP_RATIO,
        shuffle: bool = True, seed: int = 0, endless: bool = False, dtype: str = "uint8", sample_weight: Any = None,
        transform: Callable[[Array], Array] | None = None, transforms: Callable[[Any, Any], Any] | None = None,
        masks: int | Sequence[int] = (), on_error: str = "raise",
        colorspace: str = "RGB", fast: bool = False, strict: bool = True, orient: bool = False,
        max_pixels: int | None = MAX_PIXELS,
        workers: int = 1, use_multiprocessing: bool = False, max_queue_size: int = 10,
        read_ahead: int | None = None, verbose: bool = False,
    ) -> None:  # fmt: skip
        self._arguments = _without(locals(), "self", "__class__")
        # With one worker, Keras requests one batch after the other; the actual workers run here.
        super().__init__(workers=1, use_multiprocessing=False, max_queue_size=max_queue_size)
        options = _without(self._arguments, "endless", "verbose", *_WORKER_OPTIONS)
        if maxbytes is not None and shared is None and not (workers and use_multiprocessing):
            options["shared"] = False
        self._loader = BatchLoader(**options)
        self._epochs = EpochTracker(len(self._loader), in_request_order=shuffle)
        self._prefetcher = self._make_prefetcher(workers, use_multiprocessing, max_queue_size, read_ahead)
        self._endless, self._first, self._skipped_paths = endless, FirstBatches(), set[Any]()
        self._plan = PlanPrinter(self.load, len(self._loader.paths), [False]) if verbose else None
        self.skipped = 0
        self.error: BaseException | None = None

    def _make_prefetcher(
        self, workers: int, processes: bool, max_queue_size: int, read_ahead: int | None
    ) -> Prefetcher | None:
        depth = check_int(max_queue_size, "max_queue_size", 1)
        batches = check_read_ahead(read_ahead, self._loader.is_cached)
        if check_int(workers, "workers", 0) == 0:
            return None
        prefetcher = Prefetcher(
            self._loader, workers, processes, 1 if workers == 1 and not processes else depth, batches
        )
        weakref.finalize(self, prefetcher.close)
        return prefetcher

    def __len__(self) -> int:
        """The number of batches of a pass over the data; the last one may be smaller."""
        return len(self._loader)

    @property
    def load(self) -> Any:
        """The function that samples are read by: `load` as it was given, or with `maxbytes` or `store` its cache."""
        return self._loader.function

    @property
    def num_batches(self) -> int | None:
        """The number of batches, None if endless. Reading it STARTS A PASS, as Keras reads it before each one.

        ``len()`` does not.
        """
        self.error = None
        if self._endless:
            return None
        self._epochs.start_pass()
        return len(self._loader)

    @property
    def epoch(self) -> int:
        """The epoch of the current pass, from 0; may be set."""
        return self._epochs.epoch

    @epoch.setter
    def epoch(self, epoch: int) -> None:
        self._epochs.epoch = epoch

    def __getitem__(self, index: int) -> tuple[Any, ...]:
        if not self._endless and not -len(self) <= index < len(self):
            raise IndexError(f"batch {index} is out of range: the dataset has {len(self)} batches")
        epoch, position = self._epochs.locate(index % len(self))
        batch = self._first.take(epoch, position) or self._load(epoch, position)
        parts = (batch.images, batch.targets, batch.weights)
        return parts[: 1 if batch.targets is None else 2 if batch.weights is None else 3]

    def _load(self, epoch: int, position: int) -> Batch:
        load = self._prefetcher.get if self._prefetcher is not None else self._loader.load
        try:
            batch = load(epoch, position)
        except BaseException as exc:
            self.error = exc  # TensorFlow raises an error of its own instead
            raise
        self._first.keep(epoch, position, batch)
        self.skipped += len(batch.skipped)
        log_skipped(batch.skipped, self._skipped_paths)
        if self._plan is not None:
            self._plan.after_batch()
        return batch

    def __reduce__(self) -> Any:
        return _rebuild, (type(self), self._arguments)


def _without(arguments: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in arguments.items() if name not in names}


def _rebuild(kind: type[ImageDataset], arguments: dict[str, Any]) -> ImageDataset:
    return kind(**arguments)


class CacheReport(keras.callbacks.Callback):  # type: ignore[misc]
    """A callback that adds the cache's counters to each epoch's ``logs``, for History, CSVLogger, TensorBoard etc.

    read: the cached function. prefix: put before each name, to distinguish several reports. Place the report before the
    callbacks that use its values. The first epoch counts from the creation of the report, because Keras reads
    some batches before it announces that training begins. For the training part of each epoch:

    hit_rate: hits per call, 0 to 1. hits: calls answered from the cache. misses: calls that ran the function.
    load_s: seconds spent in it, summed over threads. And when the epoch ends, currbytes: bytes in the cache (0 if no
    sizes are measured), and maxbytes: their limit (0 if there is none).

    Validation that reads through the same function is not counted; give it a function of its own, so that it does not
    use space that training needs. With a shared store the counters are those of all processes together; any other
    cache is private to its process, and the counters are those of this process.
    """

    def __init__(self, read: CachedFunction[Any, Any], prefix: str = "") -> None:
        super().__init__()
        self._epoch_stats = EpochStats(read, prefix)
        self._at_test_begin: CacheStats | None = None

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        self._at_test_begin = None  # set by an evaluate() before this fit

    def on_test_begin(self, logs: dict[str, Any] | None = None) -> None:
        self._at_test_begin = self._epoch_stats.stats()

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        stats = self._epoch_stats.since_last(until=self._at_test_begin)
        self._at_test_begin = None
        if logs is not None:
            logs.update(stats)
